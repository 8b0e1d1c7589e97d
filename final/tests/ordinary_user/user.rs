//! An ordinary user, who has a daemon by typing a command.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process};

/// An ordinary user.
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) home: PathBuf,
    pub(crate) skiff: PathBuf,
}

impl User {
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .uid(self.id)
            .gid(self.id)
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .env("XDG_DATA_HOME", self.home.join("data"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn skiff(&self, arguments: &[&str]) -> Output {
        self.command(&self.skiff).args(arguments).output().unwrap()
    }

    /// What a command prints that succeeds.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        text_of(arguments, self.skiff(arguments))
    }

    /// What a command complains that fails.
    pub(crate) fn complains(&self, arguments: &[&str]) -> String {
        let output = self.skiff(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().next().unwrap_or_default().to_owned()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("run/skiff.sock")
    }

    /// The daemon's PID, from the kernel.
    pub(crate) fn daemon(&self) -> Option<Pid> {
        let socket = UnixStream::connect(self.socket()).ok()?;
        Some(socket_peercred(&socket).unwrap().pid)
    }

    /// A process of this user by its command line.
    fn process(&self, start: &str) -> Option<Pid> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok())
            .find(|pid| {
                let read = |file| fs::read(format!("/proc/{pid}/{file}"));
                let line = read("cmdline").unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                let home = self.home.to_str().unwrap();
                line.starts_with(start) && line.contains(home)
            })
            .and_then(Pid::from_raw)
    }

    pub(crate) fn keeper(&self) -> Option<Pid> {
        self.process("skiff keeper")
    }

    /// SIGKILL, as from the kernel when memory is short.
    pub(crate) fn kill(&self, pid: Option<Pid>) {
        let pid = pid.expect("it runs");
        kill_process(pid, Signal::KILL).unwrap();
        let proc = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
        until("it is dead", || fs::read_link(&proc).is_err());
    }
}

pub(crate) fn text_of(arguments: &[&str], output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text.trim().to_owned()
}

/// The daemon ends, and with it everything: processes, mounts, files.
impl Drop for User {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log =
                fs::read_to_string(self.home.join("data/skiff/daemon.log"));
            println!("{}", log.unwrap_or_default());
        }
        let ids = self.skiff(&["ps", "-aq"]);
        let ids = String::from_utf8_lossy(&ids.stdout).into_owned();
        let mut remove = vec!["rm", "-f"];
        remove.extend(ids.split_whitespace());
        self.skiff(&remove);
        if let Some(daemon) = self.daemon() {
            let _ = kill_process(daemon, Signal::TERM);
        }
        let patience = Duration::from_secs(10);
        let home = self.home.to_str().unwrap();
        let left = testing::leftovers_after(patience, &[home]);
        if std::thread::panicking() {
            return;
        }
        assert!(left.is_empty(), "{left:#?}");
        let mut files: Vec<_> = names(&self.home.join("run"));
        files.extend(names(&self.home.join("run/skiff")));
        files.sort();
        let stay = ["keeper.lock", "netns", "outside.json", "skiff"];
        let stay = |it: &String| {
            stay.contains(&it.as_str()) || it == "skiff.sock.lock"
        };
        assert!(files.iter().all(stay), "{files:?}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|it| it.file_name().into_string().ok()).collect()
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until there is an answer: a server takes a moment to start.
pub(crate) fn fetch(address: &str) -> String {
    let mut answer = String::new();
    until(address, || {
        answer = fetch_once(address).unwrap_or_default();
        !answer.is_empty()
    });
    answer
}

pub(crate) fn fetch_once(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.trim().to_owned())
}

/// A web server that says its host name.
pub(crate) const WEB: &str = "mkdir /www; hostname > /www/index.html; echo serving; \
                   exec httpd -f -p 80 -h /www";
