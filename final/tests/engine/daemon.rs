//! A daemon on a data root of its own, and an image to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::*;
use cli_api::testing;
use futures_util::{StreamExt, TryStreamExt};

use crate::common::DaemonProcess;

/// A daemon; it and everything that it made go with the value.
pub(crate) struct Daemon {
    process: DaemonProcess,
    pub(crate) docker: Docker,
}

/// What a shell line is run with.
pub(crate) fn sh(line: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

impl Daemon {
    /// A daemon with the image `busybox`; `None`, and the reason, where it
    /// cannot run.
    pub(crate) async fn start(test: &str) -> Option<Daemon> {
        Daemon::start_with(test, Vec::new()).await
    }

    /// The same, with further flags.
    pub(crate) async fn start_with(
        test: &str,
        flags: Vec<String>,
    ) -> Option<Daemon> {
        if !testing::root_or_skip(test) {
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            testing::skip(test, "there is no /bin/busybox");
            return None;
        }
        let process = DaemonProcess::start(flags);
        let docker = connect(&process.socket());
        let daemon = Daemon { process, docker };
        daemon.import().await;
        Some(daemon)
    }

    /// The same in a network namespace that this thread stays in.
    #[allow(dead_code, reason = "not all test programs need it")]
    pub(crate) async fn start_in_own_network(test: &str) -> Option<Daemon> {
        if testing::root_or_skip(test) {
            let flags = rustix::thread::UnshareFlags::NEWNET;
            // SAFETY: the test's own thread; only its network changes.
            unsafe { rustix::thread::unshare_unsafe(flags) }.unwrap();
            let up = Command::new("/bin/busybox")
                .args(["ip", "link", "set", "lo", "up"])
                .status();
            up.unwrap();
        }
        Daemon::start(test).await
    }

    /// The daemon dies without a word and another one takes its place after
    /// `pause`.
    pub(crate) fn kill_and_restart(&mut self, pause: Duration) {
        self.kill();
        std::thread::sleep(pause);
        self.restart();
    }

    /// Without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// The next daemon on the same data root.
    pub(crate) fn restart(&mut self) {
        self.process.restart();
        self.docker = connect(&self.process.socket());
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        self.process.signal(signal);
    }

    /// What it has said on standard error.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.process.socket()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.process.root()
    }

    async fn import(&self) {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("busybox")
            .tag("latest")
            .changes(vec!["CMD [\"sh\"]".to_owned()])
            .build();
        let tar = bollard::body_full(root_file_system().into());
        let lines: Vec<_> = self
            .docker
            .create_image(Some(options), Some(tar), None)
            .try_collect()
            .await
            .unwrap();
        assert!(!lines.is_empty());
    }

    /// Creates and starts a container.
    pub(crate) async fn run(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> String {
        let id = self.create(name, body).await;
        self.docker.start_container(&id, None).await.unwrap();
        id
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> String {
        let options =
            CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker.create_container(Some(options), body);
        created.await.unwrap().id
    }

    /// Waits for the end; its exit code.
    pub(crate) async fn wait(&self, name: &str) -> i64 {
        let mut answers = std::pin::pin!(
            self.docker.wait_container(name, None::<WaitContainerOptions>)
        );
        match answers.next().await.unwrap() {
            Ok(answer) => answer.status_code,
            // bollard's word for a code that is not 0.
            Err(bollard::errors::Error::DockerContainerWaitError {
                code,
                ..
            }) => code,
            Err(error) => panic!("{error}"),
        }
    }

    /// All of the log, as text.
    pub(crate) async fn logs(&self, name: &str) -> String {
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let pieces: Vec<LogOutput> =
            self.docker.logs(name, Some(options)).try_collect().await.unwrap();
        pieces.iter().map(ToString::to_string).collect()
    }

    pub(crate) async fn status(&self, name: &str) -> String {
        let inspect = self.docker.inspect_container(name, None).await.unwrap();
        inspect.state.unwrap().status.unwrap().to_string()
    }

    pub(crate) async fn remove(&self, name: &str) {
        let force = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        self.docker.remove_container(name, Some(force)).await.unwrap();
    }

    /// Asks again until `done`, for what has no event to wait for.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut done: impl AsyncFnMut(&Daemon) -> bool,
    ) {
        let began = Instant::now();
        while !done(self).await {
            assert!(began.elapsed() < Duration::from_secs(30), "not: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn connect(socket: &Path) -> Docker {
    let path = socket.to_str().unwrap();
    Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap()
}

/// The host's static busybox, with a link for the commands that are used.
fn root_file_system() -> Vec<u8> {
    const COMMANDS: [&str; 20] = [
        "sh", "cat", "echo", "sleep", "true", "false", "id", "pwd", "env",
        "ls", "head", "mount", "test", "touch", "kill", "ps", "stty", "dd",
        "grep", "hostname",
    ];
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    };
    use tar::EntryType::{Directory, Regular};
    for dir in ["bin/", "etc/", "root/"] {
        put(dir, Directory, 0o755, b"");
    }
    put("tmp/", Directory, 0o1777, b"");
    let passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:7:8::/tmp:/bin/sh\n";
    put("etc/passwd", Regular, 0o644, passwd);
    put("etc/group", Regular, 0o644, b"root:x:0:\nweb:x:8:\n");
    let busybox = fs::read("/bin/busybox").unwrap();
    put("bin/busybox", Regular, 0o755, &busybox);
    for command in COMMANDS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        let path = format!("bin/{command}");
        tar.append_link(&mut header, path, "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}
