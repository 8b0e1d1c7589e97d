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

mod add;
mod cache;
mod copy;
mod explain;
mod link;
mod run;
mod said;
mod stages;

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
            .map_err(|error| Error::Outside(Box::new(error)))?;
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
        self.reports.iter().map(CacheReport::to_string).collect()
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
