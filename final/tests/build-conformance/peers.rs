//! The builders: ours and dockerd through the same API, buildah by its
//! command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::runtime::Runtime;

use crate::cases::Case;
use crate::image;

/// Something that builds images.
pub(crate) struct Builder {
    with: With,
    /// The base image, saved.
    base: Vec<u8>,
}

enum With {
    Api(Daemon),
    Buildah(PathBuf),
}

/// A daemon and a connection to it; it ends with the value.
struct Daemon {
    child: Child,
    docker: Docker,
    runtime: Runtime,
}

impl Builder {
    /// The engine under test.
    pub(crate) fn skiff(room: &Path) -> Builder {
        let socket = room.join("s.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(["daemon", "--offline", "never", "--data-root"]);
        command.arg(room.join("root")).arg("-H");
        command.arg(format!("unix://{}", socket.display()));
        Self::daemon(command, &socket, &room.join("skiff.log"))
    }

    /// dockerd, in namespaces of its own.
    pub(crate) fn dockerd(room: &Path) -> Builder {
        let socket = room.join("d.sock");
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \
                      dockerd --bridge none --iptables=false \
                      --exec-root \"$1/exec\" --pidfile \"$1/pid\" \
                      --data-root \"$1/docker\" -H \"unix://$2\"";
        command.args(["-m", "-n", "sh", "-c", script, "sh"]);
        command.arg(room).arg(&socket);
        Self::daemon(command, &socket, &room.join("dockerd.log"))
    }

    fn daemon(mut command: Command, socket: &Path, log: &Path) -> Builder {
        let child = command
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            let log = || fs::read_to_string(log).unwrap_or_default();
            assert!(began.elapsed().as_secs() < 60, "no daemon: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let path = socket.to_str().unwrap();
        let docker =
            Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION);
        let runtime = Runtime::new().unwrap();
        let docker = docker.unwrap();
        let docker = runtime.block_on(docker.negotiate_version()).unwrap();
        let daemon = Daemon { child, docker, runtime };
        daemon.import_base();
        let base = daemon.save("base");
        Builder { with: With::Api(daemon), base }
    }

    /// buildah, with its images in `room`.
    pub(crate) fn buildah(room: &Path) -> Builder {
        let root = room.join("buildah");
        fs::create_dir_all(&root).unwrap();
        let files = root.join("base.tar");
        fs::write(&files, base()).unwrap();
        // buildah leaves the places behind that it mounts something at.
        let mounted = root.join("mounted");
        for dir in ["dev", "proc", "sys", "run", "etc"] {
            fs::create_dir_all(mounted.join(dir)).unwrap();
        }
        for file in ["hostname", "hosts", "resolv.conf"] {
            fs::write(mounted.join("etc").join(file), "").unwrap();
        }
        let file = "FROM scratch\nADD base.tar /\nCOPY mounted /\n\
                    CMD [\"sh\"]\n";
        fs::write(root.join("Dockerfile"), file).unwrap();
        let arguments = ["bud", "-q", "-t", "localhost/base"];
        assert!(buildah(&root, &arguments, &root).success());
        let base = buildah_save(&root, "localhost/base");
        Builder { with: With::Buildah(root), base }
    }

    /// Builds it; what came out, or that nothing did.
    pub(crate) fn describe(&self, case: &Case) -> String {
        let saved = match &self.with {
            With::Api(daemon) => daemon.build(case),
            With::Buildah(root) => buildah_build(root, case),
        };
        match saved {
            Some(saved) => image::describe(&saved, &self.base),
            None => "fails\n".to_owned(),
        }
    }
}

impl Daemon {
    fn import_base(&self) {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("base")
            .tag("latest")
            .changes(vec!["CMD [\"sh\"]".to_owned()])
            .build();
        let tar = bollard::body_full(base().into());
        let stream = self.docker.create_image(Some(options), Some(tar), None);
        let lines: Result<Vec<_>, _> =
            self.runtime.block_on(stream.try_collect());
        lines.unwrap();
    }

    fn save(&self, name: &str) -> Vec<u8> {
        let stream = self.docker.export_image(name);
        let pieces: Result<Vec<_>, _> =
            self.runtime.block_on(stream.try_collect());
        pieces.unwrap().concat()
    }

    fn build(&self, case: &Case) -> Option<Vec<u8>> {
        if let Some(text) = &case.first {
            self.build_one("first", case, first_context(text))?;
        }
        self.build_one("case", case, case.context("first"))?;
        Some(self.save("case"))
    }

    fn build_one(&self, tag: &str, case: &Case, tar: Vec<u8>) -> Option<()> {
        let borrowed = |pairs: &[(String, String)]| {
            pairs.iter().cloned().collect::<std::collections::HashMap<_, _>>()
        };
        let mut options = BuildImageOptionsBuilder::default()
            .t(tag)
            .buildargs(&borrowed(&case.args))
            .labels(&borrowed(&case.labels))
            .networkmode("none");
        if !case.target.is_empty() && tag == "case" {
            options = options.target(&case.target);
        }
        let tar = bollard::body_full(tar.into());
        let stream = self.docker.build_image(options.build(), None, Some(tar));
        let lines: Vec<_> = self.runtime.block_on(stream.collect());
        let failed = lines.iter().any(|line| match line {
            Ok(line) => line.error_detail.is_some(),
            Err(_) => true,
        });
        (!failed).then_some(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let term = rustix::process::Signal::TERM;
        let _ = rustix::process::kill_process(pid, term);
        let _ = self.child.wait();
    }
}

/// A context with nothing but this Dockerfile.
fn first_context(text: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, "Dockerfile", text.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

fn buildah(
    root: &Path,
    arguments: &[&str],
    context: &Path,
) -> std::process::ExitStatus {
    let store = root.join("store");
    Command::new("buildah")
        .args(["--storage-driver", "vfs", "--root"])
        .arg(&store)
        .arg("--runroot")
        .arg(root.join("run"))
        .args(arguments)
        .arg(context)
        .env("BUILDAH_ISOLATION", "chroot")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

fn buildah_build(root: &Path, case: &Case) -> Option<Vec<u8>> {
    let context = root.join("context");
    let _ = fs::remove_dir_all(&context);
    tar::Archive::new(case.context("").as_slice()).unpack(&context).unwrap();
    let mut arguments = vec!["bud", "--layers", "-q", "-t", "case"];
    arguments.extend(["--format", "docker", "--pull-never"]);
    let args: Vec<String> =
        case.args.iter().map(|(n, v)| format!("--build-arg={n}={v}")).collect();
    arguments.extend(args.iter().map(String::as_str));
    let built = buildah(root, &arguments, &context);
    built.success().then(|| buildah_save(root, "case"))
}

fn buildah_save(root: &Path, name: &str) -> Vec<u8> {
    let file = root.join("saved.tar");
    let _ = fs::remove_file(&file);
    let to = format!("docker-archive:{}", file.display());
    assert!(buildah(root, &["push", "-q", name], Path::new(&to)).success());
    fs::read(file).unwrap()
}

/// A root file system: busybox under the names that the cases use, users,
/// and something to change.
fn base() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        let directory = path.ends_with('/');
        header.set_entry_type(match directory {
            true => tar::EntryType::Directory,
            false => tar::EntryType::Regular,
        });
        header.set_mode(mode);
        header.set_mtime(1_500_000_000);
        if path.starts_with("home/app") {
            header.set_uid(1000);
            header.set_gid(100);
        }
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    };
    for (path, mode) in [
        ("bin/", 0o755),
        ("etc/", 0o755),
        ("tmp/", 0o1777),
        ("home/", 0o755),
        ("home/app/", 0o755),
        ("data/", 0o755),
        ("opt/", 0o755),
    ] {
        add(path, mode, b"");
    }
    add("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap());
    let users =
        "root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n";
    add("etc/passwd", 0o644, users.as_bytes());
    add("etc/group", 0o644, b"root:x:0:\nusers:x:100:\n");
    add("data/file", 0o644, b"file\n");
    add("data/other", 0o640, b"other\n");
    let mut link = |path: String, target: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_mtime(1_500_000_000);
        header.set_size(0);
        tar.append_link(&mut header, path, target).unwrap();
    };
    for name in [
        "sh", "cat", "chmod", "chown", "dd", "echo", "env", "grep", "id", "ln",
        "ls", "mkdir", "mkfifo", "mv", "pwd", "rm", "sed", "sort", "test",
        "touch", "true", "false",
    ] {
        link(format!("bin/{name}"), "busybox");
    }
    link("link".to_owned(), "data");
    link("flink".to_owned(), "data/file");
    tar.into_inner().unwrap()
}
