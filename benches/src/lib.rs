//! What the benches share: a data root with an image in it, and the same job
//! as each stage does it.
//!
//! ```sh
//! cargo build --release -p final && cargo bench -p benches
//! ```
//!
//! `cargo test -p benches --benches` runs each of them once and measures
//! nothing, which is what the tests do.
#![deny(missing_docs)]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cgroups::{Cgroup, Hierarchy, Limits, group_name};
use layers::build::{BuildOptions, Builder};
use layers::copy::CopySnapshots;
use layers::runner::NamespaceRunner;
use layers::stage::FromRegistry;
use layers::{DiffId, Snapshots, Store};
use namespaces::{CgroupEntry, Mount, Process, Sandbox};
use overlay_cow::{OverlaySnapshots, Volatile};
use tempfile::TempDir;
use volumes::{VolumeStore, parse_volume_flag};

/// A data root with the image `box`: busybox, and files that a base image
/// might have.
#[derive(Debug)]
pub struct Host {
    dir: TempDir,
    /// Its images.
    pub store: Arc<Store>,
    /// The layers of `box`.
    pub layers: Vec<DiffId>,
    /// Writable root file systems by a mount.
    pub overlay: OverlaySnapshots,
    copies: CopySnapshots,
    volumes: VolumeStore,
    hierarchy: Hierarchy,
}

/// How many files `box` has besides busybox: about as many as Debian's
/// smallest image has in `/usr`.
const FILES: usize = 2000;

impl Host {
    /// `None`, and a line that says why, where containers cannot be made.
    pub fn new(bench: &str) -> Option<Host> {
        if !cli_api::testing::root_or_skip(bench) {
            return None;
        }
        let Some(busybox) = busybox() else {
            cli_api::testing::skip(bench, "needs a static busybox");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        write_context(&dir.path().join("context"), &busybox);
        let store = Arc::new(Store::open(dir.path()).expect("the store"));
        let overlay = OverlaySnapshots::open(dir.path().join("overlay2"))
            .expect("overlayfs");
        let mut host = Host {
            copies: CopySnapshots::new(store.clone()),
            volumes: VolumeStore::open(dir.path()).expect("volumes"),
            hierarchy: Hierarchy::detect().expect("cgroups"),
            layers: Vec::new(),
            store,
            overlay,
            dir,
        };
        host.build();
        let image = host.store.resolve("box").expect("the image");
        host.layers = image.layers().to_vec();
        Some(host)
    }

    /// The directory that `box` is built from.
    pub fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    /// Builds `box`; all but the first time nothing is run.
    pub fn build(&self) {
        let images = FromRegistry::new(self.store.clone());
        let builder = Builder {
            store: &self.store,
            snapshots: &Volatile(&self.overlay),
            runner: &NamespaceRunner,
            images: &images,
        };
        let tag = "box".parse().expect("a name");
        let options =
            BuildOptions { tags: vec![tag], ..BuildOptions::default() };
        builder.build(&self.context(), &options, &mut |_| ()).expect("build");
    }

    /// Stage 1: a process of the host.
    pub fn plain(&self) {
        let status = Command::new("/bin/true").status().expect("true");
        assert!(status.success());
    }

    /// Stage 2: with namespaces, over the host's files.
    pub fn isolated(&self) {
        run(&Sandbox::new("/"), CgroupEntry::default());
    }

    /// Stage 3: with limits.
    pub fn limited(&self) {
        self.in_group(&Sandbox::new("/"));
    }

    /// Stage 4: from an image whose every file is copied.
    pub fn copied(&self) {
        let id = cli_api::id::hex64();
        let rootfs = self.copies.prepare(&id, &self.layers).expect("copy");
        self.in_group(&Sandbox::new(rootfs));
        self.copies.remove(&id).expect("remove");
    }

    /// Stage 5: from a mount of its layers.
    pub fn layered(&self) {
        let id = cli_api::id::hex64();
        let rootfs = self.overlay.prepare(&id, &self.layers).expect("mount");
        self.in_group(&Sandbox::new(rootfs));
        self.overlay.remove(&id).expect("remove");
    }

    /// Stage 6: and with a volume.
    pub fn lasting(&self) {
        let id = cli_api::id::hex64();
        let rootfs = self.overlay.prepare(&id, &self.layers).expect("mount");
        let spec = parse_volume_flag("data:/data").expect("the flag");
        let claims = self.volumes.claim(&id, &[spec]).expect("the volume");
        let mounts = self
            .volumes
            .prepare(&id, &claims, &rootfs)
            .expect("the volume's mount");
        let mut sandbox = Sandbox::new(rootfs);
        mounts.into_iter().for_each(|mount: Mount| sandbox.mount(mount));
        self.in_group(&sandbox);
        self.overlay.remove(&id).expect("remove");
        self.volumes.release(&id, &claims, false).expect("release");
    }

    fn in_group(&self, sandbox: &Sandbox) {
        let name = group_name(&cli_api::id::hex64());
        let limits = Limits { pids: Some(64), ..Limits::default() };
        let group = Cgroup::create(&self.hierarchy, &name, &limits)
            .expect("the cgroup");
        let entry = group.entry().expect("the way in");
        run(sandbox, (&entry).into());
        group.remove().expect("remove the cgroup");
    }
}

/// Makes the container, runs `true` in it and waits for its end.
fn run(sandbox: &Sandbox, way_in: CgroupEntry<'_>) {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .expect("/dev/null");
    let stdio = namespaces::Stdio::Streams {
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        stderr: null.as_fd(),
    };
    let process = Process::new(["true"]);
    let mut created = namespaces::create(sandbox, &process, stdio, way_in)
        .expect("the container");
    created.start().expect("true");
    assert_eq!(created.wait().expect("its end").code, 0);
}

/// A static busybox of the host.
fn busybox() -> Option<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox"];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

fn write_context(context: &Path, busybox: &Path) {
    let files = context.join("files");
    fs::create_dir_all(&files).expect("the context");
    fs::copy(busybox, context.join("busybox")).expect("busybox");
    for n in 0..FILES {
        let text = format!("file {n}\n").repeat(100);
        fs::write(files.join(n.to_string()), text).expect("a file");
    }
    let dockerfile = "FROM scratch\n\
        COPY busybox /bin/busybox\n\
        RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
        COPY files /files\n\
        CMD [\"true\"]\n";
    fs::write(context.join("Dockerfile"), dockerfile).expect("Dockerfile");
}

/// The finished engine: its daemon with a data root of its own, and `box`.
#[derive(Debug)]
pub struct Engine {
    program: PathBuf,
    socket: String,
    daemon: Child,
    _dir: TempDir,
}

impl Engine {
    /// `None`, and a line that says why, if the program is not built.
    pub fn new(host: &Host, bench: &str) -> Option<Engine> {
        // This program is target/PROFILE/deps/NAME.
        let own = std::env::current_exe().expect("our own path");
        let program = own.ancestors().nth(2)?.join("skiff");
        if !program.exists() {
            let how = "needs skiff: cargo build --release -p final";
            cli_api::testing::skip(bench, how);
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let socket =
            format!("unix://{}", dir.path().join("skiff.sock").display());
        let daemon = Command::new(&program)
            .args(["daemon", "-H", &socket, "--data-root"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon");
        let engine = Engine { program, socket, daemon, _dir: dir };
        engine.wait_for_socket();
        let context = host.context().display().to_string();
        engine.command(&["build", "-q", "-t", "box", &context]);
        Some(engine)
    }

    fn wait_for_socket(&self) {
        for _ in 0..400 {
            let said = self.output(&["version"]);
            if said.status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("no daemon at {}", self.socket);
    }

    /// The same job by the command that a user types.
    pub fn run(&self) {
        let flags = ["run", "--rm", "--network", "none", "--pids-limit", "64"];
        self.command(&[&flags[..], &["box", "true"]].concat());
    }

    fn command(&self, args: &[&str]) {
        let output = self.output(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skiff {args:?}: {error}");
    }

    fn output(&self, args: &[&str]) -> std::process::Output {
        Command::new(&self.program)
            .args(["-H", &self.socket])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("skiff")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SIGTERM lets it remove its socket; std only knows SIGKILL.
        let pid = self.daemon.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.daemon.wait();
    }
}
