//! systemd opens the socket and waits until the daemon is ready.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing;

/// For whatever a daemon has to do here.
const LIMIT: Duration = Duration::from_secs(60);

/// As systemd does it, with a shell to give the daemon its own PID.
const START: &str = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; \
                     exec \"$0\" daemon --data-root \"$1\" -H \"$2\"";

/// A daemon that a failed test does not leave behind.
struct Guard(Child);

impl Guard {
    /// How it ends within a limit.
    fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < LIMIT, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(stdin: Stdio, root: &std::path::Path, host: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", START, env!("CARGO_BIN_EXE_skiff")]);
    command.arg(root).arg(host);
    command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_socket_that_systemd_has_opened_is_served_and_systemd_is_told() {
    if !testing::root_or_skip("socket activation") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(LIMIT)).unwrap();
    let root = dir.path().join("root");
    let daemon = start(OwnedFd::from(socket).into(), &root, "fd://")
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .spawn();
    let mut daemon = Guard(daemon.unwrap());
    let mut word = [0; 100];
    let length = notify.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"READY=1");
    let version = Command::new(env!("CARGO_BIN_EXE_skiff"))
        .arg(format!("--host=unix://{}", path.display()))
        .args(["version", "--format", "{{.Server.ApiVersion}}"])
        .output()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(daemon.end().success());
    assert!(version.status.success(), "{version:?}");
    assert!(path.exists(), "it is systemd's, and not removed");
}

#[test]
fn without_such_a_socket_the_daemon_says_so_in_dockers_words() {
    if !testing::root_or_skip("socket activation") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let refusal = |mut command: Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let pipe = refusal(start(Stdio::piped(), dir.path(), "fd://3"));
    assert!(pipe.contains("descriptor 3"), "{pipe}");
    let four = refusal(start(Stdio::piped(), dir.path(), "fd://4"));
    let want = "cannot listen on fd://4: systemd handed over the descriptors \
                3 to 3";
    assert!(four.contains(want), "{four}");
    let mut alone = Command::new(env!("CARGO_BIN_EXE_skiff"));
    alone.args(["daemon", "-H", "fd://", "--data-root"]).arg(dir.path());
    let none = refusal(alone);
    assert!(none.contains("no sockets found via socket activation"), "{none}");
}
