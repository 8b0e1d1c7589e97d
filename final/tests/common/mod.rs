//! The process of a daemon on a data root of its own, which leaves nothing
//! on the machine, whatever becomes of the test.

#![allow(dead_code, reason = "not every test program needs all of it")]

pub(crate) mod registry;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing;
use rustix::process::{Pid, Signal, kill_process};

const SKIFF: &str = env!("CARGO_BIN_EXE_skiff");

/// A daemon; all that it made goes with the value.
pub(crate) struct DaemonProcess {
    child: Child,
    dir: tempfile::TempDir,
    flags: Vec<String>,
}

impl DaemonProcess {
    /// Starts one and waits until it answers.
    pub(crate) fn start(flags: Vec<String>) -> DaemonProcess {
        let dir = tempfile::tempdir().unwrap();
        let child = spawn(dir.path(), &flags);
        let daemon = DaemonProcess { child, dir, flags };
        daemon.wait_for_socket();
        daemon
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The next daemon on the same data root.
    pub(crate) fn restart(&mut self) {
        let _ = fs::remove_file(self.socket());
        self.child = spawn(self.dir.path(), &self.flags);
        self.wait_for_socket();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it has said on standard error.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s.sock")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn wait_for_socket(&self) {
        let began = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "no daemon");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        if wait(&mut self.child).is_none() {
            println!("the daemon did not end on SIGTERM");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let patience = Duration::from_secs(5);
        let root = self.root();
        testing::leftovers_after(patience, &[root.to_str().unwrap()])
    }

    /// A test has failed in the middle, and the daemon may hang. So its
    /// containers are killed without it, and the next one finds them ended,
    /// which it has to cope with anyway, and removes them.
    fn sweep(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for dir in directories(&self.root().join("containers")) {
            end_process(&dir);
        }
        let _ = fs::remove_file(self.socket());
        self.child = spawn(self.dir.path(), &self.flags);
        let began = Instant::now();
        while UnixStream::connect(self.socket()).is_err()
            && began.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let containers = self.root().join("containers");
        let dirs = directories(&containers);
        let ids = dirs.iter().filter_map(|it| it.file_name());
        let mut remove = Command::new(SKIFF);
        remove.arg("-H").arg(format!("unix://{}", self.socket().display()));
        remove.args(["rm", "--force", "--volumes"]).args(ids);
        remove.stdout(Stdio::null());
        if !dirs.is_empty()
            && let Ok(mut remove) = remove.spawn()
            && wait(&mut remove).is_none()
        {
            println!("the containers could not be removed in time");
            let _ = remove.kill();
            let _ = remove.wait();
        }
        self.end();
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.said());
            self.sweep();
            println!("left behind: {:#?}", self.leftovers());
            return;
        }
        self.end();
        let left = self.leftovers();
        assert!(left.is_empty(), "{left:#?}");
    }
}

fn spawn(dir: &Path, flags: &[String]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    Command::new(SKIFF)
        .args(["daemon", "--offline", "never", "--data-root"])
        .arg(dir.join("root"))
        .arg("-H")
        .arg(format!("unix://{}", dir.join("s.sock").display()))
        .args(flags)
        .stderr(log)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Its end; `None` if that does not come.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Kills a container's first process. Its shim takes the cgroup away.
fn end_process(container: &Path) {
    let Ok(record) = skiff::shim::Record::load(container) else { return };
    if skiff::shim::start_ticks(record.pid) == Some(record.start_ticks)
        && let Some(pid) = Pid::from_raw(record.pid)
    {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|it| it.path().is_dir());
    dirs.map(|it| it.path()).collect()
}
