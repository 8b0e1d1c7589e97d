//! Shims with real containers: streams, logs, exits, and nothing left over.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use namespaces::{Mount, Process, Sandbox, WindowSize};
use skiff::shim::protocol::Attach;
use skiff::shim::{Cgroup, Client, Error, Exit, Log, Record, Spec, World};
use tempfile::TempDir;

const ALL: Attach = Attach { stdin: true, stdout: true, stderr: true };

/// A root directory out of the host's programs, and a container's files.
struct Bench {
    root: TempDir,
    dir: TempDir,
}

/// One file without end.
fn json_file(path: std::path::PathBuf) -> Log {
    Log::JsonFile {
        path,
        max_size: None,
        max_file: 1,
        compress: false,
        buffer: None,
        attrs: Default::default(),
    }
}

impl Bench {
    fn new() -> Bench {
        let root = tempfile::tempdir().unwrap();
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
        }
        Bench { root, dir: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("json.log")
    }

    fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::new(self.root.path());
        sandbox.mount(Mount::bind("/usr", "/usr").read_only());
        sandbox
    }

    fn spec(&self, script: &str) -> Spec {
        let name = self.dir.path().file_name().unwrap().to_str().unwrap();
        let world = World::New {
            sandbox: Box::new(self.sandbox()),
            cgroup: Some(Cgroup {
                parent: Some("skiff-test".to_owned()),
                name: name.trim_start_matches('.').to_owned(),
                limits: cgroups::Limits::default(),
            }),
        };
        let mut spec = Spec::new("box", self.dir.path(), world, sh(script));
        spec.log = json_file(self.log());
        spec
    }
}

fn sh(script: &str) -> Process {
    let mut process = Process::new(["sh", "-c", script]);
    process.env = vec!["PATH=/usr/bin:/bin:/usr/sbin".to_owned()];
    process
}

fn spawn(spec: &Spec) -> Result<Client, Error> {
    Client::spawn_with(Path::new(env!("CARGO_BIN_EXE_skiff")), spec)
}

/// Runs to the end.
fn run(spec: &Spec) -> Exit {
    let client = spawn(spec).unwrap_or_else(|error| panic!("{error}"));
    client.start().unwrap_or_else(|error| panic!("{error}"));
    client.wait().unwrap()
}

fn is_root(test: &str) -> bool {
    cli_api::testing::root_or_skip(test)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_exit_code_and_the_log_are_on_disk() {
    if !is_root("exit code") {
        return;
    }
    let bench = Bench::new();
    let exit = run(&bench.spec("echo out; echo err >&2; printf end; exit 7"));
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert_eq!(Exit::load(bench.dir.path()).unwrap(), Some(exit));
    let log = fs::read_to_string(bench.log()).unwrap();
    let mut lines: Vec<String> = log
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{} {}", line["stream"], line["log"])
        })
        .collect();
    lines.sort();
    insta::assert_debug_snapshot!(lines, @r#"
    [
        "\"stderr\" \"err\\n\"",
        "\"stdout\" \"end\"",
        "\"stdout\" \"out\\n\"",
    ]
    "#);
}

#[test]
fn nothing_is_executed_before_the_start() {
    if !is_root("gate") {
        return;
    }
    let bench = Bench::new();
    let client = spawn(&bench.spec("echo hi")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(fs::read_to_string(bench.log()).unwrap(), "");
    let record = client.status().unwrap().record;
    assert!(!record.started && record.pid > 1);
    assert_eq!(skiff::shim::start_ticks(record.pid), Some(record.start_ticks));
    client.start().unwrap();
    assert_eq!(client.wait().unwrap().code, 0);
    let record = Record::load(bench.dir.path()).unwrap();
    assert!(record.started && !record.started_at.is_empty());
    let steps: Vec<_> = record.steps.iter().map(|it| &it.step[..]).collect();
    for step in ["make cgroup", "clone", "pivot", "seccomp", "exec"] {
        assert!(steps.contains(&step), "{step} in {steps:?}");
    }
}

#[test]
fn a_missing_command_is_127_in_dockers_words() {
    if !is_root("127") {
        return;
    }
    let bench = Bench::new();
    let mut spec = bench.spec("");
    spec.process.args = vec!["nosuch".to_owned()];
    let client = spawn(&spec).unwrap();
    let error = client.start().unwrap_err();
    assert_eq!(error.exit_code(), 127);
    insta::assert_snapshot!(error, @r#"unable to start container process: exec: "nosuch": executable file not found in $PATH"#);
    let exit = client.wait().unwrap();
    assert_eq!((exit.code, exit.error), (127, error.to_string()));
}

#[test]
fn a_container_that_cannot_be_made_leaves_nothing() {
    if !is_root("refused") {
        return;
    }
    let bench = Bench::new();
    let mut spec = bench.spec("true");
    let World::New { sandbox, .. } = &mut spec.world else { return };
    sandbox.sysctls.insert("vm.swappiness".to_owned(), "1".to_owned());
    let error = spawn(&spec).unwrap_err();
    assert_eq!(error.exit_code(), 125);
    insta::assert_snapshot!(error, @r#"unable to start container process: sysctl "vm.swappiness" is not in a separate kernel namespace"#);
    assert!(!bench.dir.path().join("shim.sock").exists());
}

#[test]
fn input_goes_in_output_comes_out_and_half_closing_is_the_end() {
    if !is_root("attach") {
        return;
    }
    let bench = Bench::new();
    let mut spec = bench.spec("cat; echo done >&2");
    (spec.open_stdin, spec.stdin_once) = (true, true);
    let client = spawn(&spec).unwrap();
    let mut stream = client.attach(ALL).unwrap();
    client.start().unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sent = vec![b'x'; 3_000_000];
    let copy = sent.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    thread.join().unwrap();
    let mut decoder = cli_api::frames::Decoder::default();
    decoder.push(&received);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((stream, piece)) = decoder.next_piece().unwrap() {
        match stream {
            cli_api::frames::Stream::Stderr => err.extend_from_slice(&piece),
            _ => out.extend_from_slice(&piece),
        }
    }
    assert!(out == sent, "{} bytes came back", out.len());
    assert_eq!(err, b"done\n");
    assert_eq!(client.wait().unwrap().code, 0);
}

/// What a megabyte more than an attacher may be behind, and a shim's whole
/// output, comes to.
const BIG: usize = 20_000_000;

/// The process writes [`BIG`] bytes, and one attacher takes nothing yet.
fn held_up(bench: &Bench) -> (Client, UnixStream) {
    let line = format!("head -c {BIG} /dev/zero | tr '\\0' x");
    let client = spawn(&bench.spec(&line)).unwrap();
    let sleeper = client.attach(ALL).unwrap();
    client.start().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(client.status().unwrap().exit.is_none(), "it waits");
    (client, sleeper)
}

fn received(mut reader: UnixStream) -> usize {
    let mut buffer = Vec::new();
    reader.read_to_end(&mut buffer).unwrap();
    buffer.len()
}

#[test]
fn an_attacher_that_does_not_read_holds_the_process_up_and_gets_it_all() {
    if !is_root("slow attacher") {
        return;
    }
    let bench = Bench::new();
    let (client, sleeper) = held_up(&bench);
    assert!(received(sleeper) > BIG);
    assert_eq!(client.wait().unwrap().code, 0);
}

#[test]
fn an_attacher_that_goes_away_holds_up_nobody() {
    if !is_root("an attacher that goes away") {
        return;
    }
    let bench = Bench::new();
    let (client, sleeper) = held_up(&bench);
    let reader = client.attach(ALL).unwrap();
    drop(sleeper);
    assert!(received(reader) > BIG / 2);
    assert_eq!(client.wait().unwrap().code, 0);
}

#[test]
fn what_an_attacher_has_not_taken_at_the_end_does_not_delay_the_next_start() {
    if !is_root("late attacher") {
        return;
    }
    let bench = Bench::new();
    let client = spawn(&bench.spec("head -c 900000 /dev/zero")).unwrap();
    let late = client.attach(ALL).unwrap();
    client.start().unwrap();
    assert_eq!(client.wait().unwrap().code, 0);
    // Of the next process under the same name.
    fs::remove_file(bench.dir.path().join("exit.json")).unwrap();
    let client = spawn(&bench.spec("sleep 60")).unwrap();
    client.start().unwrap();
    assert!(received(late) > 900_000);
    std::thread::sleep(Duration::from_millis(50));
    client.kill(9).unwrap();
    assert_eq!(client.wait().unwrap().code, 137);
}

#[test]
fn a_terminal_has_its_size_and_follows_it() {
    if !is_root("terminal") {
        return;
    }
    let bench = Bench::new();
    let mut spec = bench.spec("tty; stty size; read line; stty size");
    spec.terminal = Some(WindowSize { rows: 24, cols: 80 });
    spec.open_stdin = true;
    let client = spawn(&spec).unwrap();
    let mut stream = client.attach(ALL).unwrap();
    client.start().unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 100];
    while !text.windows(5).any(|part| part == b"24 80") {
        let count = stream.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..count]);
    }
    client.resize(WindowSize { rows: 50, cols: 132 }).unwrap();
    stream.write_all(b"\n").unwrap();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("/dev/pts/0\r\n24 80\r\n"), "{text:?}");
    assert!(text.ends_with("50 132\r\n"), "{text:?}");
    assert_eq!(client.wait().unwrap().code, 0);
}

#[test]
fn an_exec_joins_and_its_end_is_not_the_containers() {
    if !is_root("exec") {
        return;
    }
    let bench = Bench::new();
    let client = spawn(&bench.spec("sleep 60")).unwrap();
    client.start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let world = World::Join { container: bench.dir.path().to_owned() };
    let script = "cat /proc/1/cmdline | tr '\\0' ' '; cat /proc/self/cgroup";
    let mut spec = Spec::new("exec", dir.path(), world, sh(script));
    spec.log = json_file(bench.log());
    assert_eq!(run(&spec).code, 0);
    let log = fs::read_to_string(bench.log()).unwrap();
    assert!(log.contains("sleep 60"), "{log}");
    assert!(!log.contains("skiff-test"), "own cgroup root: {log}");
    assert!(client.status().unwrap().exit.is_none());
    client.kill(libc::SIGKILL).unwrap();
    let exit = client.wait().unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let refused = spawn(&spec).unwrap_err().to_string();
    assert_eq!(refused, "the container is not running");
}

#[test]
fn an_exec_ends_though_what_it_left_in_the_background_goes_on_writing() {
    if !is_root("exec with a background process") {
        return;
    }
    let bench = Bench::new();
    let client = spawn(&bench.spec("sleep 60")).unwrap();
    client.start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let world = World::Join { container: bench.dir.path().to_owned() };
    let script = "yes & sleep 0.2; echo last >&2; exit 3";
    let exec = spawn(&Spec::new("exec", dir.path(), world, sh(script)));
    let exec = exec.unwrap();
    let mut stream = exec.attach(ALL).unwrap();
    exec.start().unwrap();
    let began = Instant::now();
    let (mut buffer, mut seen) = (vec![0; 1 << 20], false);
    loop {
        let count = stream.read(&mut buffer).unwrap();
        seen |= buffer[..count].windows(5).any(|part| part == b"last\n");
        if count == 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it never ends");
    }
    assert!(seen, "output from before the end is missing");
    assert_eq!(exec.wait().unwrap().code, 3);
    client.kill(libc::SIGKILL).unwrap();
    client.wait().unwrap();
}

#[test]
fn a_container_does_not_outlive_its_shim() {
    if !is_root("shim killed") {
        return;
    }
    let bench = Bench::new();
    let client = spawn(&bench.spec("sleep 100")).unwrap();
    client.start().unwrap();
    let record = client.status().unwrap().record;
    let shim = nix::unistd::Pid::from_raw(record.shim_pid);
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the container ends, too", || {
        skiff::shim::start_ticks(record.pid).is_none()
    });
    assert!(client.wait().is_err(), "nobody knows how it ended");
    let World::New { cgroup: Some(cgroup), .. } = bench.spec("").world else {
        return;
    };
    let hierarchy = cgroups::Hierarchy::detect().unwrap();
    let path = format!("skiff-test/{}", cgroup.name);
    let group = cgroups::Cgroup::open(&hierarchy, &path).unwrap();
    eventually("its cgroup can be removed", || group.remove().is_ok());
}

#[test]
fn fifty_containers_leave_no_process_cgroup_or_socket() {
    if !is_root("leak") {
        return;
    }
    for _ in 0..50 {
        let bench = Bench::new();
        let spec = bench.spec("sleep 100 & exit 0");
        let began = Instant::now();
        assert_eq!(run(&spec).code, 0);
        assert!(began.elapsed() < Duration::from_secs(5));
        let pid = Record::load(bench.dir.path()).unwrap().shim_pid;
        eventually("the shim ends", || skiff::shim::start_ticks(pid).is_none());
        assert!(!bench.dir.path().join("shim.sock").exists());
        let World::New { cgroup: Some(cgroup), .. } = &spec.world else {
            return;
        };
        let path = format!("skiff-test/{}", cgroup.name);
        let hierarchy = cgroups::Hierarchy::detect().unwrap();
        let group = cgroups::Cgroup::open(&hierarchy, &path).unwrap();
        assert_eq!(group.dirs().count(), 0, "{path} is left");
    }
}

#[test]
#[ignore = "prints a table; run with --release for numbers that count"]
fn what_a_start_costs() {
    let mut best: Option<(Duration, Record)> = None;
    for _ in 0..50 {
        let bench = Bench::new();
        let spec = bench.spec("exit 0");
        let began = Instant::now();
        let client = spawn(&spec).unwrap();
        client.start().unwrap();
        let took = began.elapsed();
        let record = Record::load(bench.dir.path()).unwrap();
        client.wait().unwrap();
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, record));
        }
    }
    let (took, record) = best.unwrap();
    println!("spawn to running: {took:?} (best of 50)");
    for step in record.steps {
        println!("{:6} µs  +{:5} µs  {}", step.at_us, step.took_us, step.step);
    }
}
