//! Builds with a real store and real layers; only the process that a RUN
//! starts is the host's shell, standing in the new root file system.

use super::*;
use crate::diff::{self, Change};
use crate::merged::{Directory, Entry};
use crate::registry::Progress;
use crate::{
    DiffId, Error, Image, Lease, Platform, Reference, Result, RunRequest,
    Stream,
};
use std::io::Write;
use std::process::Command as Process;
use std::sync::Mutex;

mod link;

/// Copies every layer, as step 4 does.
struct Copies {
    root: PathBuf,
    store: std::sync::Arc<Store>,
    layers: Mutex<std::collections::HashMap<String, Vec<PathBuf>>>,
}

impl Copies {
    fn fill(directory: &Directory, to: &Path) {
        let entries = directory.entries().unwrap();
        for (name, entry) in &entries {
            let to = to.join(name);
            if let Entry::Directory(inner) = entry {
                fs::create_dir(&to).unwrap();
                Self::fill(inner, &to);
                shell(&format!(
                    "chmod --reference={0:?} {1:?}; chown --reference={0:?} \
                     {1:?}; touch -r {0:?} {1:?}",
                    entry.path(),
                    to
                ));
            } else {
                shell(&format!("cp -a {:?} {to:?}", entry.path()));
            }
        }
    }
}

fn shell(command: &str) {
    let done = Process::new("sh").arg("-ec").arg(command).status().unwrap();
    assert!(done.success(), "{command}");
}

impl Snapshots for Copies {
    fn prepare(&self, id: &str, layers: &[DiffId]) -> Result<PathBuf> {
        let path = self.root.join(id);
        fs::create_dir_all(&path).unwrap();
        let layers: Vec<PathBuf> =
            layers.iter().map(|l| self.store.layer_dir(l)).collect();
        Self::fill(&Directory::root(&layers), &path);
        self.layers.lock().unwrap().insert(id.to_owned(), layers);
        Ok(path)
    }

    fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let layers = self.layers.lock().unwrap()[id].clone();
        Ok(diff::changes(&self.root.join(id), &layers)?)
    }

    fn diff(&self, id: &str, out: &mut dyn Write) -> Result<()> {
        let changes = self.changes(id)?;
        Ok(diff::write_changes(&self.root.join(id), &changes, None, out)?)
    }

    fn unmount(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn remove(&self, id: &str) -> Result<()> {
        fs::remove_dir_all(self.root.join(id)).unwrap();
        Ok(())
    }
}

/// Runs the shell form with the host's shell and remembers that it did.
#[derive(Default)]
struct Host(Mutex<Vec<RunRequest>>);

impl RunStep for Host {
    fn run(
        &self,
        rootfs: &Path,
        step: &RunRequest,
        output: &mut dyn FnMut(Stream, &[u8]),
        _: &(dyn Fn() -> bool + Sync),
    ) -> Result<i32> {
        self.0.lock().unwrap().push(step.clone());
        let env = step.env.iter().filter_map(|line| line.split_once('='));
        let done = Process::new(&step.argv[0])
            .args(&step.argv[1..])
            .envs(env)
            .current_dir(rootfs)
            .output()
            .unwrap();
        output(Stream::Stdout, &done.stdout);
        output(Stream::Stderr, &done.stderr);
        Ok(done.status.code().unwrap_or(137))
    }
}

struct Nowhere;

impl ImageSource for Nowhere {
    fn fetch(
        &self,
        reference: &Reference,
        _: Option<&Platform>,
        _: bool,
        _: &(dyn Fn(Progress) + Sync),
    ) -> Result<ImageId> {
        Err(Error::NoSuchImage(reference.familiar()))
    }
}

/// A data root, a build context, and what the last build said.
struct Bench {
    _dir: tempfile::TempDir,
    store: std::sync::Arc<Store>,
    copies: Copies,
    host: Host,
    context: PathBuf,
    options: BuildOptions,
    said: String,
    reports: Vec<CacheReport>,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let store = std::sync::Arc::new(Store::open(&root).unwrap());
        let copies = Copies {
            root: dir.path().join("copies"),
            store: store.clone(),
            layers: Mutex::default(),
        };
        let context = dir.path().join("context");
        let tag = "built:latest".parse().unwrap();
        let options =
            BuildOptions { tags: vec![tag], ..BuildOptions::default() };
        let host = Host::default();
        let (said, reports) = (String::new(), Vec::new());
        let bench = Self {
            _dir: dir,
            store,
            copies,
            host,
            context,
            options,
            said,
            reports,
        };
        files.iter().for_each(|(name, text)| bench.write(name, text));
        bench
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.context.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn try_build(&mut self) -> std::result::Result<Image, BuildError> {
        let builder = Builder {
            store: &self.store,
            snapshots: &self.copies,
            runner: &self.host,
            images: &Nowhere,
        };
        let (said, reports) = (&mut self.said, &mut self.reports);
        said.clear();
        reports.clear();
        let id = builder.build(&self.context, &self.options, &mut |event| {
            match event {
                BuildEvent::Line(line) => said.push_str(&line),
                BuildEvent::Output(_, bytes) => {
                    said.push_str(&String::from_utf8_lossy(&bytes));
                }
                BuildEvent::Cache(report) => reports.push(report),
                _ => {}
            }
        })?;
        Ok(self.store.image(&id).unwrap())
    }

    fn build(&mut self) -> Image {
        self.try_build().unwrap_or_else(|e| panic!("{e}\n{}", self.said))
    }

    fn error(&mut self) -> String {
        self.try_build().unwrap_err().to_string()
    }

    /// A file of the finished image, or nothing.
    fn read(&self, image: &Image, path: &str) -> Option<String> {
        let rootfs = self.copies.prepare("look", image.layers()).unwrap();
        let text = fs::read_to_string(rootfs.join(path)).ok();
        self.copies.remove("look").unwrap();
        text
    }

    /// The whole tree, with modes and owners.
    fn tree(&self, image: &Image) -> String {
        let rootfs = self.copies.prepare("look", image.layers()).unwrap();
        let out = Process::new("find")
            .args([".", "-mindepth", "1", "-printf", "%M %U:%G %p %l\n"])
            .current_dir(&rootfs)
            .output()
            .unwrap();
        self.copies.remove("look").unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.sort_by_key(|line| line.split(' ').nth(2));
        lines.join("\n")
    }

    /// `HIT` or the reason, for each step of the last build.
    fn explained(&self) -> Vec<String> {
        let line = |r: &CacheReport| match r.hit {
            true => "HIT".to_owned(),
            false => format!("MISS: {}", r.reason),
        };
        self.reports.iter().map(line).collect()
    }

    fn ran(&self) -> usize {
        self.host.0.lock().unwrap().len()
    }
}

const MISSION: &str = "FROM scratch\n\
    RUN mkdir app && echo base > app/base\n\
    COPY requirements.txt /app/\n\
    RUN cp app/requirements.txt app/installed\n\
    COPY . /app/\n\
    CMD [\"/app/main\"]\n";

fn mission() -> Bench {
    Bench::new(&[
        ("Dockerfile", MISSION),
        ("requirements.txt", "flask\n"),
        ("src/main.py", "print(1)\n"),
    ])
}

#[test]
fn the_second_build_runs_nothing_and_gives_the_same_image() {
    let mut bench = mission();
    let first = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(bench.read(&first, "app/installed").as_deref(), Some("flask\n"));
    let second = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(first.id, second.id);
    assert_eq!(bench.explained(), ["HIT"; 6]);
    assert_eq!(bench.said.matches("Using cache").count(), 5);
    assert!(bench.said.ends_with("Successfully tagged built:latest\n"));
}

#[test]
fn a_change_to_the_source_runs_only_the_last_copy_again() {
    let mut bench = mission();
    bench.build();
    bench.write("src/main.py", "print(2)\n");
    bench.write("src/new.py", "");
    let image = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(
        bench.explained(),
        [
            "HIT",
            "HIT",
            "HIT",
            "HIT",
            "MISS: changed: src/main.py; added: src/new.py",
            "MISS: a step before it ran again",
        ]
    );
    assert_eq!(
        bench.read(&image, "app/src/main.py").as_deref(),
        Some("print(2)\n")
    );
}

#[test]
fn a_change_to_the_requirements_runs_everything_after_them_again() {
    let mut bench = mission();
    bench.build();
    bench.write("requirements.txt", "django\n");
    bench.build();
    assert_eq!(bench.ran(), 3);
    insta::assert_snapshot!(bench.explained().join("\n"));
}

#[test]
fn touching_a_file_or_moving_the_context_still_hits() {
    let mut bench = mission();
    bench.build();
    let moved = bench.context.with_file_name("elsewhere");
    fs::rename(&bench.context, &moved).unwrap();
    bench.context = moved;
    shell(&format!(
        "find {:?} -exec touch -d 2001-01-01 {{}} +",
        bench.context
    ));
    bench.build();
    assert_eq!(bench.explained(), ["HIT"; 6]);
}

#[test]
fn the_classic_lines_are_dockers() {
    let mut bench = Bench::new(&[(
        "Dockerfile",
        "FROM scratch\nENV A=1\nRUN echo out; echo err >&2\n\
         LABEL a=b\nCMD [\"sh\"]\n",
    )]);
    bench.build();
    let said = bench.said.clone();
    let hex = |c: char| c.is_ascii_hexdigit() && !c.is_ascii_uppercase();
    let redact = |word: &str| match word.len() == 12 && word.chars().all(hex) {
        true => "[id]".to_owned(),
        false => word.to_owned(),
    };
    let lines = said
        .lines()
        .map(|line| line.split(' ').map(redact).collect::<Vec<_>>().join(" "));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn copy_follows_dockers_rules_of_directories_and_slashes() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\n\
             COPY one /renamed\n\
             COPY one /into/\n\
             COPY dir /contents\n\
             COPY dir/sub dir/*.txt /many/\n\
             COPY --chown=5:6 --chmod=0600 one dir /owned/\n\
             COPY --parents dir/sub/deep /kept/\n\
             COPY --exclude=*.txt dir /without/\n\
             WORKDIR /work\n\
             COPY one here\n\
             COPY link /followed\n\
             COPY [\"with blank\", \"/with blank\"]\n\
             COPY <<A <<'B' /docs/\n$NAME ${NAME:-none}\nA\n$NAME\nB\n",
        ),
        ("one", "1"),
        ("dir/a.txt", "a"),
        ("dir/b.txt", "b"),
        ("dir/sub/deep", "d"),
        ("with blank", "b"),
    ]);
    std::os::unix::fs::symlink("/one", bench.context.join("link")).unwrap();
    shell(&format!("chmod -R u=rwX,go=rX {:?}", bench.context));
    let image = bench.build();
    insta::assert_snapshot!(bench.tree(&image));
    assert_eq!(bench.read(&image, "docs/A").as_deref(), Some(" none\n"));
    assert_eq!(bench.read(&image, "docs/B").as_deref(), Some("$NAME\n"));
    assert_eq!(bench.read(&image, "followed").as_deref(), Some("1"));
}

#[test]
fn ignored_files_are_neither_copied_nor_part_of_the_key() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nCOPY . /\n"),
        (".dockerignore", "*\n!keep\nkeep/*.log\n"),
        ("keep/a", "a"),
        ("keep/b.log", "b"),
        ("secret", "s"),
    ]);
    shell(&format!("chmod -R u=rwX,go=rX {:?}", bench.context));
    let image = bench.build();
    insta::assert_snapshot!(
        bench.tree(&image),
        @r"
    drwxr-xr-x 0:0 ./keep
    -rw-r--r-- 0:0 ./keep/a
    "
    );
    bench.write("secret", "another");
    bench.build();
    assert_eq!(bench.explained(), ["HIT", "HIT"]);
}

#[test]
fn stages_are_built_when_needed_and_copied_from() {
    let mut bench = Bench::new(&[(
        "Dockerfile",
        "ARG NAME=global\n\
         FROM scratch AS unneeded\nRUN exit 1\n\
         FROM scratch AS tools\nARG NAME\nENV WHO=$NAME\n\
         RUN mkdir out && echo $WHO > out/a && chown 7:8 out/a\n\
         FROM scratch\nCOPY --from=tools /out /\n",
    )]);
    let image = bench.build();
    assert_eq!(bench.read(&image, "a").as_deref(), Some("global\n"));
    assert!(bench.tree(&image).contains("7:8 ./a"));
    bench.build();
    assert_eq!(bench.explained(), ["HIT"; 6]);
    bench.options.args.insert("NAME".into(), "given".into());
    let image = bench.build();
    assert_eq!(bench.read(&image, "a").as_deref(), Some("given\n"));
    bench.options.target = Some("unneeded".into());
    assert!(bench.error().contains("returned a non-zero code: 1"));
}

#[test]
fn a_build_argument_that_changed_is_named() {
    let mut bench = Bench::new(&[(
        "Dockerfile",
        "FROM scratch\nARG V=1\nRUN echo $V > v\n",
    )]);
    bench.build();
    bench.options.args.insert("V".into(), "2".into());
    let image = bench.build();
    assert_eq!(bench.read(&image, "v").as_deref(), Some("2\n"));
    let why = bench.explained().pop().unwrap();
    assert_eq!(why, "MISS: build argument V changed from \"1\" to \"2\"");
    bench.options.args.insert("W".into(), "2".into());
    bench.build();
    assert!(bench.said.contains("build-args [W] were not consumed"));
}

#[test]
fn mistakes_while_building_point_at_the_line() {
    let cases = [
        "COPY missing /",
        "COPY a b /file",
        "COPY --chown=nobody a /",
        "COPY ../../etc/passwd /",
        "COPY none* /",
        "RUN exit 3",
        "ADD git@example.org:a/b /",
        "EXPOSE $NONE:x",
        "ENV A=${B:?set B}",
        "RUN --mount=type=secret,id=t,required true",
    ];
    let mut all = Vec::new();
    for line in cases {
        let text = format!("FROM scratch\n{line}\n");
        let mut bench =
            Bench::new(&[("Dockerfile", &text), ("a", ""), ("b", "")]);
        all.push(bench.error());
    }
    let mut empty = Bench::new(&[("a", "")]);
    all.push(empty.error());
    empty.options.squash = true;
    all.push(empty.error());
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_local_tar_unpacks_itself_with_add_and_not_with_copy() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\nADD a.tar.gz /added/\nCOPY a.tar.gz /copied/\n",
        ),
        ("src/file", "x"),
    ]);
    let context = bench.context.clone();
    shell(&format!("cd {context:?} && tar -czf a.tar.gz -C src file"));
    let image = bench.build();
    assert_eq!(bench.read(&image, "added/file").as_deref(), Some("x"));
    assert!(bench.tree(&image).contains("./copied/a.tar.gz"));
}

#[test]
fn nothing_that_is_lent_to_a_run_stays_in_the_layer() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\n\
             RUN --mount=type=bind,source=in,target=/in \
             --mount=type=cache,target=/var/cache/x \
             --mount=type=secret,id=t \
             --mount=type=tmpfs,target=/tmp/t,size=1m echo done > result\n",
        ),
        ("in/file", "1"),
    ]);
    bench.options.secrets.insert("t".into(), b"hidden".to_vec());
    let image = bench.build();
    assert_eq!(bench.tree(&image).matches("./").count(), 1);
    let lent = bench.host.0.lock().unwrap()[0].mounts.clone();
    let targets: Vec<&str> = lent.iter().map(|m| m.target.as_str()).collect();
    assert_eq!(targets, ["/in", "/var/cache/x", "/run/secrets/t", "/tmp/t"]);
    bench.write("in/file", "2");
    bench.build();
    assert_eq!(bench.explained(), ["HIT", "MISS: changed: in/file"]);
}

#[test]
fn triggers_of_the_base_image_run_first_and_once() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nONBUILD COPY a /a\nONBUILD RUN cp a b\n"),
        ("child", "FROM built\nRUN cp b c\n"),
        ("a", "1"),
    ]);
    let base = bench.build();
    assert_eq!(base.config.config.on_build.as_ref().unwrap().len(), 2);
    bench.options.dockerfile = "child".into();
    bench.options.tags = vec!["child:latest".parse().unwrap()];
    let image = bench.build();
    assert_eq!(bench.read(&image, "c").as_deref(), Some("1"));
    assert_eq!(image.config.config.on_build, None);
    assert!(bench.said.contains("# Executing 2 build triggers"));
}

#[test]
fn two_machines_build_the_same_image_from_the_same_sources() {
    let build = || {
        let mut bench = Bench::new(&[
            (
                "Dockerfile",
                "FROM scratch\nCOPY . /app/\nRUN date > now-ish; \
                 echo fixed > now-ish\nLABEL a=b\n",
            ),
            ("f", "1"),
        ]);
        bench.options.source_date_epoch = Some(1_000_000_000);
        bench.build().id
    };
    assert_eq!(build(), build());
}

#[test]
fn an_image_can_serve_as_cache_on_a_machine_that_has_none() {
    let mut bench = mission();
    let first = bench.build();
    // Keeps the layers that the forgotten cache named.
    let _lease: Lease = bench.store.lease().unwrap();
    prune_cache(bench.store.root()).unwrap();
    bench.options.cache_from = vec!["built:latest".into()];
    let second = bench.build();
    assert_eq!(bench.ran(), 2);
    assert_eq!(first.layers(), second.layers());
}

#[test]
fn images_that_serve_as_cache_take_the_place_of_the_own_one() {
    let mut bench = mission();
    bench.build();
    let ran = bench.ran();
    bench.options.cache_from = vec!["nosuch".into()];
    bench.build();
    assert_eq!(bench.ran(), 2 * ran);
}

#[test]
fn entrypoint_resets_an_inherited_cmd_but_not_its_own() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nCMD [\"a\"]\nENTRYPOINT [\"b\"]\n"),
        ("child", "FROM built\nENTRYPOINT [\"c\"]\n"),
    ]);
    let base = bench.build();
    assert_eq!(base.config.config.cmd, Some(vec!["a".to_owned()]));
    bench.options.dockerfile = "child".into();
    bench.options.tags.clear();
    assert_eq!(bench.build().config.config.cmd, None);
}

#[test]
fn a_step_that_changes_no_file_makes_no_layer() {
    let text = "FROM scratch\nRUN true\nWORKDIR /\n";
    let mut bench = Bench::new(&[("Dockerfile", text)]);
    let image = bench.build();
    assert_eq!(image.layers(), []);
    assert!(image.config.history.iter().all(|line| line.empty_layer));
    bench.write("Dockerfile", "FROM scratch\n");
    assert!(bench.error().contains("No image was generated"));
}

#[test]
fn a_destination_keeps_its_mode_and_what_is_below_takes_the_sources() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\nRUN mkdir -p t/sub; chmod 700 t t/sub; chown 5:5 t t/sub\n\
             COPY dir /t/\n",
        ),
        ("dir/sub/x", ""),
    ]);
    shell(&format!("chmod -R u=rwX,go=rX {:?}", bench.context));
    let image = bench.build();
    let tree = bench.tree(&image);
    assert!(tree.contains("drwx------ 5:5 ./t\n"), "{tree}");
    assert!(tree.contains("drwxr-xr-x 0:0 ./t/sub\n"), "{tree}");
}

#[test]
fn xz_and_bzip2_are_left_to_their_programs() {
    for program in ["xz", "bzip2"] {
        if Process::new(program).arg("--version").output().is_err() {
            println!("SKIP: xz_and_bzip2_are_left: no {program} here");
            return;
        }
    }
    let text = "FROM scratch\nADD b.tar.xz c.tar.bz2 /more/\n";
    let mut bench = Bench::new(&[("Dockerfile", text), ("src/file", "x")]);
    let context = bench.context.clone();
    shell(&format!(
        "cd {context:?}; tar -c src | xz > b.tar.xz
         tar -c Dockerfile | bzip2 > c.tar.bz2"
    ));
    let image = bench.build();
    let tree = bench.tree(&image);
    assert!(tree.contains("./more/src/file"), "{tree}");
    assert!(tree.contains("./more/Dockerfile"), "{tree}");
}

#[test]
fn pruning_forgets_the_steps_and_spares_a_mount_in_use() {
    let text = "FROM scratch\n\
        RUN --mount=type=cache,target=/c true\nRUN echo > x\n";
    let mut bench = Bench::new(&[("Dockerfile", text)]);
    bench.build();
    let root = bench.store.root().to_owned();
    let mounts = root.join("images/build-cache/mounts");
    let list = || {
        let entries = fs::read_dir(&mounts).unwrap().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.partition::<Vec<_>, _>(|path| path.is_dir())
    };
    let (directories, locks) = list();
    assert_eq!((directories.len(), locks.len()), (1, 1));
    let held = fs::File::open(&locks[0]).unwrap();
    held.lock_shared().unwrap();
    assert_eq!(prune_cache(&root).unwrap().len(), 2);
    assert_eq!(list().0.len(), 1);
    // Not by closing the file: a child that another thread has just forked
    // may still have it open (flock(2)).
    held.unlock().unwrap();
    assert_eq!(prune_cache(&root).unwrap(), [""; 0]);
    assert_eq!(list().0.len(), 0);
    assert_eq!(cached_layers(&root), []);
    bench.build();
    assert!(bench.explained()[2].contains("is gone"));
}

/// Two stages that each wait for the other's file: built one after the other
/// they would never end.
#[test]
fn independent_stages_run_at_the_same_time_and_are_told_in_order() {
    let meeting = tempfile::tempdir().unwrap();
    let at = meeting.path().display();
    let meet = |mine: &str, other: &str| {
        format!(
            "RUN touch {at}/{mine}; for i in $(seq 500); do [ -e {at}/{other} \
             ] && break; sleep 0.01; done; [ -e {at}/{other} ] && echo {mine} \
             > {mine}\n"
        )
    };
    let file = format!(
        "FROM scratch AS a\n{}FROM scratch AS b\n{}FROM scratch\n\
         COPY --from=b b /\nCOPY --from=a a /\n",
        meet("a", "b"),
        meet("b", "a")
    );
    let mut bench = Bench::new(&[("Dockerfile", &file)]);
    let image = bench.build();
    assert_eq!(bench.read(&image, "a").as_deref(), Some("a\n"));
    assert_eq!(bench.read(&image, "b").as_deref(), Some("b\n"));
    let steps: Vec<&str> = bench
        .said
        .lines()
        .filter_map(|line| line.strip_prefix("Step ")?.split(' ').next())
        .collect();
    assert_eq!(steps, ["1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"]);
}

#[test]
fn the_same_step_of_two_stages_runs_once() {
    let file = "FROM scratch AS a\nRUN sleep 0.1; echo x > x\n\
        FROM scratch AS b\nRUN sleep 0.1; echo x > x\n\
        FROM a\nCOPY --from=b x y\n";
    let mut bench = Bench::new(&[("Dockerfile", file)]);
    bench.build();
    assert_eq!(bench.ran(), 1);
}

#[test]
fn a_failed_stage_is_the_error_and_the_others_stop() {
    let file = "FROM scratch AS long\nRUN sleep 0.3\nRUN touch late\n\
        FROM scratch AS bad\nRUN exit 3\n\
        FROM long\nCOPY --from=bad x y\n";
    let mut bench = Bench::new(&[("Dockerfile", file)]);
    let error = bench.try_build().unwrap_err();
    assert_eq!(error.code(), 3, "{error}");
    assert!(error.to_string().contains("5 | RUN exit 3"), "{error}");
    assert!(!bench.said.contains("RUN touch late"), "{}", bench.said);
}
