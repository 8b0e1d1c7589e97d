//! The same image in the hands of others: what podman, buildah, umoci and
//! Docker make of ours is the tree that we make of it, and what they hand
//! back is as well.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use layers::archive::{load, load_dir, save, save_dir};
use layers::copy::CopySnapshots;
use layers::registry::{pull, push};
use layers::{ImageId, Snapshots, Store};

const NAME: &str = "team/app:1";

/// An image with everything that a layer can say, as a tar and as a
/// directory, and the tree that it stands for.
struct Ours {
    dir: tempfile::TempDir,
    tree: Vec<String>,
}

impl Ours {
    /// `None`, and the reason, for who is not root.
    fn make(test: &str) -> Option<Ours> {
        if !cli_api::testing::root_or_skip(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (_store, store) = store();
        let id = image(&store, NAME, &host(), &[bottom(), top()]);
        let file = File::create(dir.path().join("ours.tar"));
        save(&store, &[NAME], &mut file.unwrap()).unwrap();
        save_dir(&store, &[NAME], &dir.path().join("layout")).unwrap();
        let tree = tree_of(&store, &id);
        Some(Ours { dir, tree })
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What somebody handed back, seen by us.
    fn assert_same(&self, store: &Arc<Store>, id: &ImageId) {
        assert_eq!(tree_of(store, id), self.tree);
    }
}

/// Files of all kinds, with owners and modes.
fn bottom() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, owner, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner + 1);
        header.set_mtime(1_600_000_000);
        header.set_size(0);
        if !matches!(kind, tar::EntryType::Regular) && !content.is_empty() {
            tar.append_link(&mut header, path, content).unwrap();
            return;
        }
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    };
    use tar::EntryType::*;
    add("etc/", Directory, 0o755, 0, "");
    add("etc/base", Regular, 0o640, 5, "base");
    add("etc/gone", Regular, 0o644, 0, "gone");
    add("open/", Directory, 0o1777, 7, "");
    add("open/old", Regular, 0o644, 7, "old");
    add("bin/", Directory, 0o755, 0, "");
    add("bin/su", Regular, 0o4755, 0, "setuid");
    add("bin/twin", Link, 0o4755, 0, "bin/su");
    add("bin/soft", Symlink, 0o777, 0, "../etc/base");
    add("pipe", Fifo, 0o600, 3, "");
    add("full/", Directory, 0o755, 0, "");
    add("full/a", Regular, 0o644, 0, "a");
    let long = "deep/".repeat(40);
    for length in 1..=40 {
        add(&long[..5 * length], Directory, 0o711, 9, "");
    }
    let long = long + "file";
    add(&long, Regular, 0o600, 70_000, "deep");
    tar.into_inner().unwrap()
}

/// Changes on it; `open/` has no entry of its own.
fn top() -> Vec<u8> {
    tar(&[
        ("etc/.wh.gone", ""),
        ("open/new", "new"),
        ("full/.wh..wh..opq", ""),
        ("full/b", "b"),
    ])
}

fn tree_of(store: &Arc<Store>, id: &ImageId) -> Vec<String> {
    let snapshots = CopySnapshots::new(Arc::clone(store));
    let image = store.image(id).unwrap();
    let root = snapshots.prepare("tree", image.layers()).unwrap();
    let tree = tree(&root);
    snapshots.remove("tree").unwrap();
    tree
}

/// A line for each path. Not the root, whose mode everybody sets himself,
/// and not what engines put into every container.
fn tree(root: &Path) -> Vec<String> {
    let engines = ["dev", "proc", "run", "sys", ".dockerenv"];
    let engines = [&engines[..], &["etc/hosts", "etc/hostname"]].concat();
    let engines = [&engines[..], &["etc/resolv.conf", "etc/mtab"]].concat();
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let inner = path.strip_prefix(root).unwrap().to_owned();
            if engines.contains(&inner.to_str().unwrap()) {
                continue;
            }
            let meta = path.symlink_metadata().unwrap();
            let kind = meta.file_type();
            let content = match () {
                () if kind.is_file() => fs::read_to_string(&path).unwrap(),
                () if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().display().to_string()
                }
                () if kind.is_fifo() => "FIFO".to_owned(),
                () => String::new(),
            };
            let (links, time) = match kind.is_dir() {
                true => (0, 0),
                false => (meta.nlink(), meta.mtime()),
            };
            let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
            lines.push(format!(
                "{} {mode:o} {uid}:{gid} {links} {time} {content}",
                inner.display()
            ));
            if kind.is_dir() {
                todo.push(path);
            }
        }
    }
    lines.sort();
    lines
}

/// podman or buildah with a storage of its own.
struct Pods<'a> {
    test: &'a str,
    program: &'a str,
    dir: tempfile::TempDir,
}

impl<'a> Pods<'a> {
    fn new(test: &'a str, program: &'a str) -> Pods<'a> {
        Pods { test, program, dir: tempfile::tempdir().unwrap() }
    }

    /// Its output, without the line's end; `None` if it is not installed.
    fn run(&self, arguments: &[&str]) -> Option<String> {
        let path = |name| self.dir.path().join(name).display().to_string();
        let (root, run_root) = (path("root"), path("run"));
        let mut all =
            vec!["--root", &root, "--runroot", &run_root, "--storage-driver"];
        all.push("vfs");
        all.extend(arguments);
        let output = run(self.test, self.program, &all)?;
        Some(output.trim_end().to_owned())
    }
}

#[test]
fn podman_loads_and_mounts_ours_and_we_load_what_it_saves() {
    let test = "podman";
    let Some(ours) = Ours::make(test) else { return };
    let podman = Pods::new(test, "podman");
    let archive = ours.path("ours.tar");
    if podman.run(&["load", "-q", "-i", &archive]).is_none() {
        return;
    }
    let name = format!("docker.io/{NAME}");
    let root = podman.run(&["image", "mount", &name]).unwrap();
    assert_eq!(tree(Path::new(&root)), ours.tree);
    podman.run(&["image", "umount", &name]).unwrap();
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let to = ours.path(format);
        let arguments = ["save", "-q", "--format", format, "-o", &to, &name];
        podman.run(&arguments).unwrap();
        let (_dir, theirs) = store();
        let loaded = match format {
            "oci-dir" => load_dir(&theirs, Path::new(&to)).unwrap(),
            _ => load(&theirs, File::open(&to).unwrap()).unwrap(),
        };
        ours.assert_same(&theirs, &loaded[0].image);
    }
}

#[test]
fn buildah_starts_from_ours_and_we_load_what_it_commits() {
    let test = "buildah";
    let Some(ours) = Ours::make(test) else { return };
    let buildah = Pods::new(test, "buildah");
    let from = format!("docker-archive:{}", ours.path("ours.tar"));
    let Some(container) = buildah.run(&["from", &from]) else { return };
    let root = PathBuf::from(buildah.run(&["mount", &container]).unwrap());
    assert_eq!(tree(&root), ours.tree);
    fs::remove_file(root.join("etc/base")).unwrap();
    fs::write(root.join("open/more"), "more").unwrap();
    let after = tree(&root);
    for format in ["oci", "docker"] {
        let to = ours.path(&format!("{format}.tar"));
        let target = format!("{format}-archive:{to}:{NAME}");
        let arguments = ["commit", "-q", "-f", format, &container, &target];
        buildah.run(&arguments).unwrap();
        let (_dir, theirs) = store();
        let loaded = load(&theirs, File::open(&to).unwrap()).unwrap();
        assert_eq!(tree_of(&theirs, &loaded[0].image), after, "{format}");
    }
    buildah.run(&["umount", &container]).unwrap();
    buildah.run(&["rm", &container]).unwrap();
}

#[test]
fn umoci_unpacks_the_same_tree() {
    let test = "umoci";
    let Some(ours) = Ours::make(test) else { return };
    let image = format!("{}:1", ours.path("layout"));
    let bundle = ours.path("bundle");
    let arguments = ["unpack", "--image", &image, &bundle];
    if run(test, "umoci", &arguments).is_none() {
        return;
    }
    let root = PathBuf::from(bundle).join("rootfs");
    assert_eq!(tree(&root), ours.tree);
}

#[test]
fn skopeo_copies_all_from_the_registry_and_back() {
    let test = "skopeo copy --all";
    let Some(ours) = Ours::make(test) else { return };
    let Some(registry) = Registry::start(test) else { return };
    let (_dir, first) = store();
    load_dir(&first, Path::new(&ours.path("layout"))).unwrap();
    let there = registry.reference(NAME);
    let id = first.resolve(NAME).unwrap().id;
    first.tag(&there, &id).unwrap();
    push(&first, &there, &options(), &|_| {}).unwrap();
    let docker = |name: &str| format!("docker://{}", registry.name(name));
    let layout = format!("oci:{}:1", ours.path("copied"));
    let copy = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false"];
    let copy = [&copy[..], &["--dest-tls-verify=false"]].concat();
    let there = docker(NAME);
    let out = [&copy[..], &[&there, &layout]].concat();
    if run(test, "skopeo", &out).is_none() {
        return;
    }
    let again = docker("team/again:1");
    let back = [&copy[..], &["--format=v2s2", &layout, &again]].concat();
    run(test, "skopeo", &back).unwrap();
    let (_dir, theirs) = store();
    let again = registry.reference("team/again:1");
    let pulled = pull(&theirs, &again, &options(), &|_| {}).unwrap();
    ours.assert_same(&theirs, &pulled.image);
}

#[test]
fn podman_and_buildah_pull_from_the_registry_what_we_pushed_and_back() {
    let test = "podman and buildah at a registry";
    let Some(ours) = Ours::make(test) else { return };
    let Some(registry) = Registry::start(test) else { return };
    let (_dir, first) = store();
    load_dir(&first, Path::new(&ours.path("layout"))).unwrap();
    let there = registry.reference(NAME);
    first.tag(&there, &first.resolve(NAME).unwrap().id).unwrap();
    push(&first, &there, &options(), &|_| {}).unwrap();
    let pulled = |name: &str| {
        let (dir, theirs) = store();
        let name = registry.reference(name);
        let pulled = pull(&theirs, &name, &options(), &|_| {}).unwrap();
        (dir, theirs, pulled.image)
    };
    for program in ["podman", "buildah"] {
        let pods = Pods::new(test, program);
        let name = registry.name(NAME);
        let open = "--tls-verify=false";
        if pods.run(&["pull", "-q", open, &name]).is_none() {
            return;
        }
        for (format, packed) in
            [("oci", "gzip"), ("oci", "zstd"), ("v2s2", "gzip")]
        {
            let back = format!("team/{program}:{format}-{packed}");
            let to = format!("docker://{}", registry.name(&back));
            let format = format!("--format={format}");
            let packed = format!("--compression-format={packed}");
            let how = ["push", "-q", open];
            let how = [&how[..], &[&format, &packed, &name, &to]].concat();
            pods.run(&how).unwrap();
            let (_dir, theirs, image) = pulled(&back);
            ours.assert_same(&theirs, &image);
        }
        for kind in ["oci", "oci-archive", "docker-archive"] {
            let path = ours.path(&format!("{program}-{kind}"));
            let to = format!("{kind}:{path}:{NAME}");
            pods.run(&["push", "-q", &name, &to]).unwrap();
            let (_dir, theirs) = store();
            let loaded = match kind {
                "oci" => load_dir(&theirs, Path::new(&path)).unwrap(),
                _ => load(&theirs, File::open(&path).unwrap()).unwrap(),
            };
            ours.assert_same(&theirs, &loaded[0].image);
        }
    }
}

/// Docker's own daemon, in namespaces of its own.
struct Dockerd {
    child: Child,
    dir: tempfile::TempDir,
}

impl Dockerd {
    fn start(test: &str) -> Option<Dockerd> {
        Dockerd::start_beside(test, "true")
    }

    /// With something that its network shall have as well.
    fn start_beside(test: &str, other: &str) -> Option<Dockerd> {
        for program in ["dockerd", "docker"] {
            run(test, program, &["--version"])?;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs tmpfs /run && ip link set lo up && {{ {other} & \
             }} && exec dockerd --data-root \"$0/root\" -H \
             \"unix://$0/sock\" --bridge=none --iptables=false \
             --storage-driver vfs"
        );
        let child = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "sh", "-c", &script])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let docker = Dockerd { child, dir };
        let began = Instant::now();
        while docker.command(&["version"]).is_err() {
            if began.elapsed() > Duration::from_secs(30) {
                let why = "dockerd does not start on this machine";
                cli_api::testing::skip(test, why);
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(docker)
    }

    fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .arg("-H")
            .arg(format!("unix://{}/sock", self.dir.path().display()))
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // unshare's child is the namespace's PID 1: all go with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn docker_loads_and_exports_ours_and_we_load_what_it_saves() {
    let test = "dockerd";
    let Some(ours) = Ours::make(test) else { return };
    let Some(docker) = Dockerd::start(test) else { return };
    let archive = ours.path("ours.tar");
    let said = docker.command(&["load", "-i", &archive]).unwrap();
    assert_eq!(said, format!("Loaded image: {NAME}"));
    let container = docker.command(&["create", NAME, "x"]).unwrap();
    let (exported, root) = (ours.path("exported.tar"), ours.path("root"));
    docker.command(&["export", "-o", &exported, &container]).unwrap();
    fs::create_dir(&root).unwrap();
    let arguments = ["-xpf", &exported, "-C", &root, "--numeric-owner"];
    run(test, "tar", &arguments).unwrap();
    assert_eq!(tree(Path::new(&root)), ours.tree);
    let saved = ours.path("saved.tar");
    docker.command(&["save", "-o", &saved, NAME]).unwrap();
    let (_dir, theirs) = store();
    let loaded = load(&theirs, File::open(&saved).unwrap()).unwrap();
    assert_eq!(loaded[0].names, [NAME]);
    ours.assert_same(&theirs, &loaded[0].image);
}

#[test]
fn docker_pulls_from_the_registry_what_we_pushed_and_back() {
    let test = "dockerd at a registry";
    let Some(ours) = Ours::make(test) else { return };
    let Some(registry) = Registry::start(test) else { return };
    // The same files, served in Docker's own network.
    let config = registry.also_at("127.0.0.1:5000");
    let other = format!("docker-registry serve {}", config.display());
    let Some(docker) = Dockerd::start_beside(test, &other) else { return };
    let (_dir, first) = store();
    load_dir(&first, Path::new(&ours.path("layout"))).unwrap();
    let there = registry.reference(NAME);
    let id = first.resolve(NAME).unwrap().id;
    first.tag(&there, &id).unwrap();
    push(&first, &there, &options(), &|_| {}).unwrap();
    let name = format!("127.0.0.1:5000/{NAME}");
    docker.command(&["pull", "-q", &name]).unwrap();
    let format = "{{.Id}}";
    let theirs = docker.command(&["inspect", "--format", format, &name]);
    assert_eq!(theirs.unwrap(), id.to_string());
    let back = "127.0.0.1:5000/team/docker:1";
    docker.command(&["tag", &name, back]).unwrap();
    docker.command(&["push", "-q", back]).unwrap();
    let (_dir, theirs) = store();
    let back = registry.reference("team/docker:1");
    let pulled = pull(&theirs, &back, &options(), &|_| {}).unwrap();
    assert_eq!(pulled.image, id);
    ours.assert_same(&theirs, &pulled.image);
}
