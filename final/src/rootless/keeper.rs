//! `skiff keeper`: the process whose namespaces are the engine's.
//!
//! Three things must outlive a daemon that is killed. The namespaces: one
//! lives as long as a process is in it. The published ports: they are in
//! the host's network, where only somebody can be who was there before. And
//! the program that leads out of the engine's network. So one small process
//! has them all, and the daemon, root in there only, asks it.
//!
//! ```text
//!  host's network        │ engine's network
//!  thread "outside" ─────┼─ 127.0.0.1:8080 is opened
//!                        │
//!  all other threads     │  accept, connect to 172.17.0.2:80, copy
//! ```
//! It ends by itself when no daemon is connected and nobody else lives in
//! its user namespace.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::net::{accept_with, bind, listen};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::runtime::Runtime;

use super::client::{SOCKET, address, packets};
use super::outside::Outside;
use super::start::RESOLV_CONF;
use super::wire::{Answer, Request, receive, send};
use super::{namespaces, uplink};
use crate::network::{Forwarder, Held, Published};

/// How often it is looked whether somebody still lives here, while no
/// daemon is connected.
const LOOK: Duration = Duration::from_secs(1);

/// How long the first daemon may take to connect.
const FIRST: Duration = Duration::from_secs(10);

/// Where a panic of the keeper would be told.
pub(super) const LOG: &str = "keeper.log";

/// Entry point, before any thread or runtime exists.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let kept = match args.as_slice() {
        [flag, dir] if flag == "--dir" => keep(Path::new(dir), None),
        [flag, dir, adopt, pid] if flag == "--dir" && adopt == "--adopt" => {
            let pid = pid.to_str().and_then(|it| it.parse().ok());
            keep(Path::new(dir), pid)
        }
        _ => {
            eprintln!("usage: skiff keeper --dir DIR (the daemon does this)");
            return ExitCode::from(2);
        }
    };
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The daemon reads this, and tells the user.
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the namespaces, or enters those of `adopt`, a shim that a keeper
/// before us has left behind; then serves until nobody needs it.
fn keep(dir: &Path, adopt: Option<i32>) -> anyhow::Result<()> {
    let _ = rustix::process::setsid();
    // One that is about to end removes its socket first.
    let lock = File::create(dir.join("keeper.lock")).context("keeper.lock")?;
    lock.lock().context("keeper.lock")?;
    let outside = match adopt {
        Some(pid) => namespaces::adopt(pid)?,
        None => {
            namespaces::own_users()?;
            tell("users")?;
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            if line.trim() != "mapped" {
                bail!("the daemon has gone");
            }
            namespaces::own_world()?
        }
    };
    let listener = open_socket(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("skiff-ports")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    tell("ready")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let (lifeline, held_open) = pipe_with(PipeFlags::CLOEXEC)?;
    let post = Arc::new(Post {
        outside,
        runtime,
        lifeline,
        _held_open: held_open,
        served: Mutex::default(),
        daemons: Mutex::default(),
        changed: Condvar::new(),
    });
    let leaving = Arc::clone(&post);
    let dir = dir.to_owned();
    std::thread::spawn(move || leaving.until_nobody_is_left(&dir));
    loop {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let Ok(socket) = accept_with(&listener, flags) else { continue };
        let mut daemons = lock_of(&post.daemons);
        daemons.connected += 1;
        daemons.had_one = true;
        drop(daemons);
        let post = Arc::clone(&post);
        std::thread::spawn(move || post.answer(&socket));
    }
}

fn tell(word: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{word}").and_then(|()| out.flush())?;
    Ok(())
}

fn open_socket(dir: &Path) -> anyhow::Result<OwnedFd> {
    let path = dir.join(SOCKET);
    let open = || {
        // Left by a keeper that was killed; the lock says that it is gone.
        let _ = std::fs::remove_file(&path);
        let dir = File::open(dir)?;
        let socket = packets()?;
        bind(&socket, &address(&dir)?)?;
        listen(&socket, 16)?;
        std::io::Result::Ok(socket)
    };
    open().with_context(|| format!("cannot listen on {}", path.display()))
}

/// What the threads of the keeper share.
struct Post {
    outside: Outside,
    runtime: Runtime,
    /// See [`Request::Lifeline`].
    lifeline: OwnedFd,
    _held_open: OwnedFd,
    served: Mutex<HashMap<Published, Forwarder>>,
    daemons: Mutex<Daemons>,
    changed: Condvar,
}

/// Who is connected: one daemon, or none for a moment.
#[derive(Default)]
struct Daemons {
    connected: usize,
    had_one: bool,
}

impl Post {
    /// Answers one daemon until it goes.
    fn answer(&self, socket: &OwnedFd) {
        while let Ok(Some((request, came))) = receive::<Request>(socket) {
            let (answer, goes) = match self.obey(request, came) {
                Ok(done) => done,
                Err(errno) => (Answer::Errno(errno.raw_os_error()), None),
            };
            let goes = goes.as_ref().map(AsFd::as_fd);
            if send(socket, &answer, goes).is_err() {
                break;
            }
        }
        lock_of(&self.daemons).connected -= 1;
        self.changed.notify_all();
    }

    fn obey(
        &self,
        request: Request,
        came: Option<OwnedFd>,
    ) -> Result<(Answer, Option<OwnedFd>), Errno> {
        match request {
            Request::Bind { host, port, udp } => {
                let (socket, port) = self.outside.bind(host, port, udp)?;
                return Ok((Answer::Bound(port), Some(socket)));
            }
            Request::Serve { published, to } => {
                let socket = came.ok_or(Errno::BADF)?;
                let held = Held { published: published.clone(), socket };
                let runtime = self.runtime.handle();
                let forwarder = Forwarder::start(runtime, held, to)
                    .map_err(|_| Errno::IO)?;
                lock_of(&self.served).insert(published, forwarder);
            }
            Request::IsServed(published) => {
                let served = lock_of(&self.served).contains_key(&published);
                return Ok((Answer::Is(served), None));
            }
            Request::Stop(all) => {
                for published in all {
                    let one = lock_of(&self.served).remove(&published);
                    if let Some(forwarder) = one {
                        forwarder.stop(self.runtime.handle());
                    }
                }
            }
            Request::Lifeline => {
                let pipe = self.lifeline.try_clone();
                let pipe = pipe.map_err(|_| Errno::MFILE)?;
                return Ok((Answer::Done, Some(pipe)));
            }
        }
        Ok((Answer::Done, None))
    }

    /// Ends this process when it is of no more use. The daemon that had it
    /// started is given a moment to connect.
    fn until_nobody_is_left(&self, dir: &Path) {
        let mut daemons = lock_of(&self.daemons);
        let to_come = |it: &mut Daemons| !it.had_one;
        let first = self.changed.wait_timeout_while(daemons, FIRST, to_come);
        daemons = first.unwrap_or_else(|it| it.into_inner()).0;
        loop {
            let there = |it: &mut Daemons| it.connected > 0;
            daemons = self
                .changed
                .wait_while(daemons, there)
                .unwrap_or_else(|it| it.into_inner());
            // While we hold the lock nobody is accepted.
            if !namespaces::somebody_lives_here(uplink::pid(dir)) {
                self.leave(dir);
            }
            let none = |it: &mut Daemons| it.connected == 0;
            let pause = self.changed.wait_timeout_while(daemons, LOOK, none);
            daemons = pause.unwrap_or_else(|it| it.into_inner()).0;
        }
    }

    /// Takes along what only made sense with these namespaces. The lock's
    /// file stays: another keeper may be waiting at it.
    fn leave(&self, dir: &Path) -> ! {
        uplink::end(dir);
        for file in [SOCKET, LOG, RESOLV_CONF] {
            let _ = std::fs::remove_file(dir.join(file));
        }
        std::process::exit(0)
    }
}

/// A lock that outlives panics: what it guards is never left half-changed.
fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|it| it.into_inner())
}

/// The program of this process, for the daemon that starts it.
pub(super) fn command(dir: &Path, adopt: Option<i32>) -> std::process::Command {
    use std::os::unix::process::CommandExt;
    // Not by its path, which an update may have given to another file.
    let program = PathBuf::from("/proc/self/exe");
    let mut command = std::process::Command::new(program);
    command.arg0("skiff").arg("keeper").arg("--dir").arg(dir);
    if let Some(pid) = adopt {
        command.arg("--adopt").arg(pid.to_string());
    }
    command
}
