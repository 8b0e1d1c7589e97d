//! The stage binary, from outside: what a person types and sees.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use cli_api::testing::leftovers_after;

/// A stage with a directory of its own, whose daemon ends with the test.
struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        Stage { dir: tempfile::tempdir().unwrap() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_step-01-cli-api");
        let mut command = Command::new(program);
        command.args(words).env("SKIFF_STEP_DIR", self.dir.path());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command that must succeed prints.
    fn say(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("01")
    }

    fn daemon_pid(&self) -> i32 {
        let socket = self.state().join("daemon.sock");
        let out = Command::new(env!("CARGO_BIN_EXE_step-01-cli-api"))
            .env("SKIFF_STEP_DIR", self.dir.path())
            .arg("ps")
            .output()
            .unwrap();
        assert!(out.status.success());
        let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
        peer.pid.as_raw_nonzero().get()
    }

    /// Ends the daemon, and checks that nothing of this stage is left.
    fn end(self) {
        let socket = self.state().join("daemon.sock");
        if socket.exists() {
            kill(self.daemon_pid(), rustix::process::Signal::TERM);
        }
        let marker = self.dir.path().to_string_lossy().into_owned();
        let left = leftovers_after(Duration::from_secs(5), &[&marker]);
        assert!(left.is_empty(), "left behind: {left:#?}");
        wait_until(|| !socket.exists());
    }
}

fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing happened for five seconds");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_streams_the_output_and_exits_with_the_status_of_the_command() {
    let stage = Stage::new();
    let output =
        stage.run(&["run", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(text(&output.stdout), "out\n");
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(3));
    let output = stage.run(&["run", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(137));
    stage.end();
}

#[test]
fn a_command_starts_in_the_callers_directory_with_the_variables_given() {
    let stage = Stage::new();
    let here = tempfile::tempdir().unwrap();
    let words = ["run", "--rm", "-e", "A=b", "sh", "-c", "pwd; echo $A"];
    let output =
        stage.command(&words).current_dir(here.path()).output().unwrap();
    let want = format!("{}\nb\n", here.path().display());
    assert_eq!(text(&output.stdout), want);
    stage.end();
}

#[test]
fn a_process_is_listed_logged_stopped_and_removed() {
    let stage = Stage::new();
    let script = "echo ready; exec sleep 1000";
    let id = stage.say(&["run", "-d", "--name", "web", "sh", "-c", script]);
    assert_eq!(id.trim().len(), 64);
    assert!(stage.say(&["ps"]).contains("web"));
    wait_until(|| stage.say(&["logs", "web"]) == "ready\n");
    let refused = stage.run(&["rm", "web"]);
    assert!(text(&refused.stderr).contains("container is running"));
    assert_eq!(stage.say(&["stop", &id[..6]]).trim(), &id[..6]);
    assert!(!stage.say(&["ps"]).contains("web"));
    assert!(stage.say(&["ps", "-a"]).contains("Exited (143)"));
    let record = stage.say(&["inspect", "web"]);
    assert!(record.contains("\"ExitCode\": 143"), "{record}");
    stage.say(&["rm", "web"]);
    assert_eq!(stage.say(&["ps", "-aq"]), "");
    assert!(!stage.state().join("containers").join(id.trim()).exists());
    stage.end();
}

#[test]
fn what_goes_wrong_is_said_in_dockers_words_with_dockers_codes() {
    let stage = Stage::new();
    let say = |words: &[&str]| {
        let output = stage.run(words);
        let code = output.status.code().unwrap();
        format!("{code}: {}", text(&output.stderr))
    };
    stage.say(&["run", "-d", "--name", "one", "sleep", "1000"]);
    let all: Vec<_> = [
        &["run", "--rm", "nosuch"][..],
        &["run", "--rm", "/etc"],
        &["run", "--name", "a/b", "true"],
        &["logs", "x"],
        &["exec", "one", "ls"],
    ]
    .into_iter()
    .map(say)
    .collect();
    insta::assert_snapshot!(all.concat());
    let taken = say(&["run", "--name", "one", "true"]);
    assert!(taken.contains("The container name \"/one\" is already in use"));
    stage.end();
}

#[test]
fn many_commands_at_once_start_one_daemon() {
    let stage = Stage::new();
    let running: Vec<_> = (0..8)
        .map(|number| {
            let number = number.to_string();
            let mut command = stage.command(&["run", "echo", &number]);
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, child) in running.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), format!("{number}\n"));
    }
    assert_eq!(stage.say(&["ps", "-aq"]).lines().count(), 8);
    stage.end();
}

#[test]
fn after_the_daemon_was_killed_the_next_one_ends_what_it_left() {
    let stage = Stage::new();
    stage.say(&["run", "-d", "--name", "web", "sleep", "1000"]);
    let record = stage.say(&["inspect", "web"]);
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let pid = record[0]["State"]["Pid"].as_i64().unwrap();
    let process = PathBuf::from(format!("/proc/{pid}/stat"));
    assert!(process.exists());
    kill(stage.daemon_pid(), rustix::process::Signal::KILL);
    wait_until(|| stage.say(&["ps", "-a"]).contains("Exited (137)"));
    wait_until(|| is_gone_or_zombie(&process));
    stage.end();
}

/// An orphan is reaped by whatever is PID 1 here, which may take its time.
fn is_gone_or_zombie(stat: &Path) -> bool {
    std::fs::read_to_string(stat).map_or(true, |it| it.contains(") Z "))
}

#[test]
fn help_names_the_commands() {
    let stage = Stage::new();
    insta::assert_snapshot!(stage.say(&["--help"]));
    stage.end();
}
