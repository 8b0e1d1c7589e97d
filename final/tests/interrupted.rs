//! Ctrl-C in the middle of what moves images: afterwards there is nothing on
//! the disk that was not there before, neither with the daemon nor where the
//! command was typed.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cli_api::testing;
use common::DaemonProcess;
use common::registry::Registry;
use rustix::process::{Pid, Signal, kill_process};

const SKIFF: &str = env!("CARGO_BIN_EXE_skiff");
/// More than all buffers on the way hold together.
const SIZE: usize = 24 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// Leads to a server, until so many bytes have passed in all: what comes
/// then is lost, and both ends wait for each other. Its threads end with the
/// test program.
struct Line {
    passed: Arc<AtomicUsize>,
}

const ENOUGH: usize = 4 << 20;

impl Line {
    /// A port that leads to another one.
    fn to_port(server: u16) -> (Line, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Line { passed: Arc::default() };
        let passed = Arc::clone(&line.passed);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let end = |it: &TcpStream| it.shutdown(Shutdown::Both);
                connect(client, server, end, &passed);
            }
        });
        (line, port)
    }

    /// A socket `at` that leads to the daemon's.
    fn to_daemon(at: &Path, daemon: &Path) -> Line {
        let listener = UnixListener::bind(at).unwrap();
        let daemon = daemon.to_owned();
        let line = Line { passed: Arc::default() };
        let passed = Arc::clone(&line.passed);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = UnixStream::connect(&daemon).unwrap();
                let end = |it: &UnixStream| it.shutdown(Shutdown::Both);
                connect(client, server, end, &passed);
            }
        });
        line
    }

    fn wait(&self) {
        until("the line", || self.passed.load(Ordering::Relaxed) > ENOUGH);
    }
}

/// Carries bytes both ways; when one end has gone away, so does the other.
fn connect<S: Send + Sync + 'static>(
    client: S,
    server: S,
    end: fn(&S) -> std::io::Result<()>,
    passed: &Arc<AtomicUsize>,
) where
    for<'a> &'a S: Read + Write,
{
    let both = Arc::new((client, server));
    for forth in [true, false] {
        let (both, passed) = (Arc::clone(&both), Arc::clone(passed));
        std::thread::spawn(move || {
            let (client, server) = (&both.0, &both.1);
            match forth {
                true => carry(client, server, &passed),
                false => carry(server, client, &passed),
            }
            let _ = (end(client), end(server));
        });
    }
}

fn carry(mut from: impl Read, mut to: impl Write, passed: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let before = passed.fetch_add(length, Ordering::Relaxed);
        if before < ENOUGH && to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn until(what: &str, mut come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !come() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Site {
    daemon: DaemonProcess,
    /// Where commands are typed.
    here: tempfile::TempDir,
}

impl Site {
    /// `None`, and the reason, for who is not root.
    fn new(test: &str) -> Option<Site> {
        if !testing::root_or_skip(test) {
            return None;
        }
        let here = tempfile::tempdir().unwrap();
        Some(Site { daemon: DaemonProcess::start(Vec::new()), here })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_at(&self.daemon.socket(), arguments)
    }

    fn command_at(&self, socket: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(SKIFF);
        command.arg("-H").arg(format!("unix://{}", socket.display()));
        command.args(arguments).current_dir(self.here.path());
        command.env("DOCKER_CONFIG", "/nonexistent");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn succeeds(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// An image of noise under this name.
    fn image(&self, name: &str) {
        let mut import = self.command(&["import", "-", name]);
        let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&noise_tar()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Everything that an image could leave, here and with the daemon. Not
    /// the marks of what is not on the disk yet: they go in a while.
    fn files(&self) -> Vec<String> {
        let root = self.daemon.root();
        let mut found = below(self.here.path());
        for dir in ["images", "overlay2", "tmp"] {
            found.extend(below(&root.join(dir)));
        }
        found.retain(|path| !path.contains("/unsettled/"));
        found.sort();
        found
    }

    /// Interrupts the command, and waits until all is as it was.
    fn nothing_left(&self, mut child: Child, before: &[String]) {
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let status = child.wait().unwrap();
        let ended = status.signal() == Some(2) || status.code() == Some(130);
        assert!(ended, "{status:?}");
        let began = Instant::now();
        while self.files() != before {
            let late = began.elapsed() > PATIENCE;
            assert!(!late, "{:#?}", added(&self.files(), before));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn added<'a>(after: &'a [String], before: &[String]) -> Vec<&'a String> {
    after.iter().filter(|it| !before.contains(it)).collect()
}

fn below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        // It may go while we look.
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            found.push(path.display().to_string());
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            }
        }
    }
    found
}

fn noise_tar() -> Vec<u8> {
    let mut seed = 7_u64;
    let mut noise = Vec::with_capacity(SIZE);
    while noise.len() < SIZE {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.extend(&seed.to_le_bytes()[2..]);
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(noise.len() as u64);
    tar.append_data(&mut header, "noise", &noise[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn an_interrupted_pull_and_push_leave_nothing() {
    let Some(site) = Site::new("ctrl-c in a pull") else { return };
    let Some(registry) = Registry::start("ctrl-c in a pull", None) else {
        return;
    };
    let straight = format!("127.0.0.1:{}/app:1", registry.port);
    site.image(&straight);
    let (line, port) = Line::to_port(registry.port);
    let slow = format!("127.0.0.1:{port}/other:1");
    site.succeeds(&["tag", &straight, &slow]);
    // What is compressed for a push is kept for the next one.
    site.succeeds(&["push", "-q", &straight]);
    let before = site.files();
    let push = site.command(&["push", "-q", &slow]).spawn().unwrap();
    line.wait();
    site.nothing_left(push, &before);

    site.succeeds(&["rmi", &straight, &slow]);
    let before = site.files();
    let (line, port) = Line::to_port(registry.port);
    let slow = format!("127.0.0.1:{port}/app:1");
    let pull = site.command(&["pull", "-q", &slow]).spawn().unwrap();
    line.wait();
    site.nothing_left(pull, &before);
    site.succeeds(&["pull", "-q", &straight]);
    site.succeeds(&["rmi", &straight]);
}

#[test]
fn an_interrupted_save_leaves_nothing() {
    let Some(site) = Site::new("ctrl-c in a save") else { return };
    site.image("app:1");
    let before = site.files();
    let sockets = tempfile::tempdir().unwrap();
    for (number, arguments) in [
        &["save", "-o", "out.tar", "app:1"][..],
        &["save", "-o", "out", "--format", "oci-dir", "app:1"],
        &["save", "app:1"],
    ]
    .iter()
    .enumerate()
    {
        let socket = sockets.path().join(number.to_string());
        let line = Line::to_daemon(&socket, &site.daemon.socket());
        let save = site.command_at(&socket, arguments).spawn().unwrap();
        line.wait();
        site.nothing_left(save, &before);
    }
}

#[test]
fn an_interrupted_load_and_build_leave_nothing() {
    let Some(site) = Site::new("ctrl-c in a load") else { return };
    site.image("app:1");
    site.succeeds(&["save", "-o", "app.tar", "app:1"]);
    site.succeeds(&["rmi", "app:1"]);
    fs::create_dir(site.here.path().join("context")).unwrap();
    let file = site.here.path().join("context/Dockerfile");
    fs::write(file, "FROM scratch\nCOPY noise /\n").unwrap();
    let noise = site.here.path().join("context/noise");
    fs::write(noise, noise_tar()).unwrap();
    let before = site.files();
    let sockets = tempfile::tempdir().unwrap();
    for (number, arguments) in
        [&["load", "-i", "app.tar"], &["build", "-q", "context"]]
            .iter()
            .enumerate()
    {
        let socket = sockets.path().join(number.to_string());
        let line = Line::to_daemon(&socket, &site.daemon.socket());
        let sending = site.command_at(&socket, *arguments).spawn().unwrap();
        line.wait();
        site.nothing_left(sending, &before);
    }
}
