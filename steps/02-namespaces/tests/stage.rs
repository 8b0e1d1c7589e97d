//! Stage 2 as its user meets it.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use cli_api::testing::{leftovers_after, root_or_skip};
use rustix::process::{Pid, Signal, kill_process};

/// The stage with a directory of its own; its daemon ends with the test.
struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        Stage { dir: tempfile::tempdir().unwrap() }
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_step-02-namespaces"))
            .args(words)
            .env("SKIFF_STEP_DIR", self.dir.path())
            .output()
            .unwrap()
    }

    /// What a command that must succeed prints.
    fn say(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The PID that the API tells, as the host counts.
    fn pid(&self, name: &str) -> i32 {
        let text = self.say(&["inspect", name]);
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pid = list[0]["State"]["Pid"].as_i64().unwrap();
        i32::try_from(pid).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let socket = self.dir.path().join("02/daemon.sock");
        if let Ok(daemon) = std::os::unix::net::UnixStream::connect(socket) {
            let peer = rustix::net::sockopt::socket_peercred(&daemon).unwrap();
            kill_process(peer.pid, Signal::TERM).unwrap();
        }
        let marker = self.dir.path().to_string_lossy().into_owned();
        let left = leftovers_after(Duration::from_secs(5), &[&marker]);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

/// How wide ps(1) makes its columns depends on the machine's largest PID.
fn single_spaced(table: &str) -> String {
    let words =
        |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table.lines().map(words).collect::<Vec<_>>().join("\n")
}

#[test]
fn ps_shows_the_command_as_pid_1_and_nobody_else() {
    if !root_or_skip("stage ps") {
        return;
    }
    let stage = Stage::new();
    let said = stage.say(&["run", "ps", "-eo", "pid,ppid,comm"]);
    insta::assert_snapshot!(single_spaced(&said), @r"
    PID PPID COMMAND
    1 0 ps
    ");
}

#[test]
fn the_api_tells_the_hosts_pid_and_other_namespaces_than_the_hosts() {
    if !root_or_skip("stage inspect") {
        return;
    }
    let stage = Stage::new();
    stage.say(&["run", "-d", "--name", "nap", "sleep", "1000"]);
    let pid = stage.pid("nap");
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm, "sleep\n");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let numbers = format!("NSpid:\t{pid}\t1\n");
    assert!(status.contains(&numbers), "{status}");
    for kind in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
        let of = |who: &str| {
            fs::read_link(format!("/proc/{who}/ns/{kind}")).unwrap()
        };
        let theirs = of(&pid.to_string());
        assert_ne!(theirs, of("self"), "{kind}");
        let inspect = stage.say(&["inspect", "nap"]);
        assert!(inspect.contains(theirs.to_str().unwrap()), "{inspect}");
    }
    stage.say(&["rm", "-f", "nap"]);
}

#[test]
fn exec_joins_and_sees_the_first_process() {
    if !root_or_skip("stage exec") {
        return;
    }
    let stage = Stage::new();
    stage.say(&["run", "-d", "--name", "nap", "sleep", "1000"]);
    let said = stage.say(&["exec", "nap", "ps", "-eo", "pid,ppid,comm"]);
    insta::assert_snapshot!(single_spaced(&said), @r"
    PID PPID COMMAND
    1 0 sleep
    2 0 ps
    ");
    let output = stage.run(&["exec", "nap", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    // PID 1 has no handler for SIGTERM, so stop has to end it the hard way.
    stage.say(&["stop", "-t", "0", "nap"]);
    let gone = stage.run(&["exec", "nap", "true"]);
    assert!(!gone.status.success());
}

#[test]
fn commands_that_cannot_run_have_dockers_exit_codes() {
    if !root_or_skip("stage errors") {
        return;
    }
    let stage = Stage::new();
    let mut all = String::new();
    for command in ["nosuch", "/etc/passwd"] {
        let output = stage.run(&["run", command]);
        let code = output.status.code().unwrap();
        all += &format!("{code} {}", String::from_utf8_lossy(&output.stderr));
    }
    insta::assert_snapshot!(all, @r#"
    127 Error response from daemon: exec: "nosuch": executable file not found in $PATH
    126 Error response from daemon: exec: "/etc/passwd": permission denied
    "#);
}

#[test]
fn containers_end_with_their_daemon() {
    if !root_or_skip("stage daemon") {
        return;
    }
    let stage = Stage::new();
    stage.say(&["run", "-d", "--name", "nap", "sleep", "1000"]);
    let pid = stage.pid("nap");
    let socket = stage.dir.path().join("02/daemon.sock");
    let daemon = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let peer: Pid = rustix::net::sockopt::socket_peercred(&daemon).unwrap().pid;
    kill_process(peer, Signal::KILL).unwrap();
    for _ in 0..500 {
        if !fs::exists(format!("/proc/{pid}/ns/pid")).unwrap() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("PID {pid} lives on");
}
