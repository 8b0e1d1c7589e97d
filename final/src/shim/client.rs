//! The daemon's side: starting shims and talking to them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use namespaces::WindowSize;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};

use super::protocol::{Answer, Attach, Refusal, Request, Status};
use super::spec::{Exit, SHIM_LOG, SOCKET, SPEC, Spec};
use super::{Error, own_exe};

/// From the end of a shim's socket to its last word.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// A handle on one shim, found by the directory of its files. It holds no
/// connection, so it stays valid across restarts of either side.
#[derive(Debug, Clone)]
pub struct Client {
    dir: PathBuf,
}

impl Client {
    /// The shim whose files are in `dir`, running or not.
    pub fn new(dir: impl Into<PathBuf>) -> Client {
        Client { dir: dir.into() }
    }

    /// Starts a shim and waits until its process stands at the gate.
    ///
    /// # Errors
    /// [`Error::Refused`] carries the shim's own reason.
    pub fn spawn(spec: &Spec) -> Result<Client, Error> {
        Client::spawn_with(&own_exe::path(), spec)
    }

    /// The same with another copy of this binary, for tests, whose own
    /// binary is no `skiff`.
    ///
    /// # Errors
    /// As [`Client::spawn`].
    pub fn spawn_with(program: &Path, spec: &Spec) -> Result<Client, Error> {
        let file = spec.dir.join(SPEC);
        let io = |doing, path: &Path| Error::io(doing, path);
        let json = serde_json::to_vec(spec).map_err(Error::Encode)?;
        std::fs::write(&file, json).map_err(io("write", &file))?;
        let log = spec.dir.join(SHIM_LOG);
        let log_file = File::options().create(true).append(true).open(&log);
        // No pre_exec: with it, std would fork the whole daemon instead of
        // using posix_spawn, which costs more the larger the daemon is.
        let mut child = Command::new(program)
            .arg0("skiff") // what `ps` shows, not a path below /proc
            .args(["shim", "--spec"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file.map_err(io("open", &log))?)
            .spawn()
            .map_err(io("start the shim", program))?;
        let mut said = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            let read = stdout.read_to_string(&mut said);
            read.map_err(io("hear from the shim", program))?;
        }
        // The shim has put itself into the background by a second fork, so
        // this collects only its first half.
        let status = child.wait().map_err(io("wait for", program))?;
        match serde_json::from_str(&said) {
            Ok(Answer::Ok) => Ok(Client::new(&spec.dir)),
            Ok(Answer::Refused(refusal)) => Err(Error::Refused(refusal)),
            _ => Err(Error::Died { log, status: status.to_string() }),
        }
    }

    /// Opens the gate: the command is executed.
    ///
    /// # Errors
    /// [`Error::Refused`] with exit code 126 or 127 if it cannot be.
    pub fn start(&self) -> Result<(), Error> {
        self.ask(&Request::Start)
    }

    /// How the process is.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no shim any more.
    pub fn status(&self) -> Result<Status, Error> {
        match self.send(&Request::Status)?.1 {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// [`Error::Refused`] if it has ended.
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        self.ask(&Request::Kill { signal })
    }

    /// Tells the terminal its size.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no terminal.
    pub fn resize(&self, size: WindowSize) -> Result<(), Error> {
        self.ask(&Request::Resize(size))
    }

    /// Ends the process's standard input.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no shim any more.
    pub fn close_stdin(&self) -> Result<(), Error> {
        self.ask(&Request::CloseStdin)
    }

    /// Connects to the streams; see [`super::protocol`] for what flows. For
    /// tokio: `set_nonblocking(true)`, then `UnixStream::from_std`.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no shim any more.
    pub fn attach(&self, streams: Attach) -> Result<UnixStream, Error> {
        match self.send(&Request::Attach(streams))? {
            (stream, Answer::Ok) => Ok(stream),
            (_, other) => Err(unexpected(other)),
        }
    }

    /// Blocks until the process has ended and everything is written down.
    ///
    /// # Errors
    /// [`Error::Io`] if the shim goes away without a word.
    pub fn wait(&self) -> Result<Exit, Error> {
        self.last_word(self.send(&Request::Wait))
    }

    /// As [`wait`](Client::wait); meanwhile `hint` is called whenever there
    /// is something to read from `other`, until it returns false.
    ///
    /// # Errors
    /// As [`wait`](Client::wait).
    pub fn wait_beside(
        &self,
        other: BorrowedFd<'_>,
        mut hint: impl FnMut() -> bool,
    ) -> Result<Exit, Error> {
        let answer = self.put(&Request::Wait).and_then(|stream| {
            loop {
                let mut fds = [
                    PollFd::new(&stream, PollFlags::IN),
                    PollFd::from_borrowed_fd(other, PollFlags::IN),
                ];
                match poll(&mut fds, None) {
                    Err(Errno::INTR) => continue,
                    Err(_) => break,
                    Ok(_) => {}
                }
                let answered = !fds[0].revents().is_empty();
                if answered || !hint() {
                    break;
                }
            }
            self.get(stream)
        });
        self.last_word(answer)
    }

    fn last_word(
        &self,
        answer: Result<(UnixStream, Answer), Error>,
    ) -> Result<Exit, Error> {
        match answer {
            Ok((_, Answer::Exited(exit))) => Ok(exit),
            Ok((_, other)) => Err(unexpected(other)),
            // A shim that has ended has left its last word on disk.
            Err(error) => self.last_exit()?.ok_or(error),
        }
    }

    /// What a shim that does not answer any more has written down. It takes
    /// its socket away first, so who finds neither is a moment too early.
    ///
    /// # Errors
    /// [`Error::Read`] if the file is damaged.
    pub fn last_exit(&self) -> Result<Option<Exit>, Error> {
        let began = Instant::now();
        loop {
            let exit = Exit::load(&self.dir)?;
            let killed = || self.dir.join(SOCKET).exists();
            let forgotten = || !self.dir.exists();
            if exit.is_some()
                || killed()
                || forgotten()
                || began.elapsed() > LAST_BREATH
            {
                return Ok(exit);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn ask(&self, request: &Request) -> Result<(), Error> {
        match self.send(request)?.1 {
            Answer::Ok => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn send(&self, request: &Request) -> Result<(UnixStream, Answer), Error> {
        self.get(self.put(request)?)
    }

    fn put(&self, request: &Request) -> Result<UnixStream, Error> {
        let path = self.dir.join(SOCKET);
        let io = |doing| Error::io(doing, &path);
        let mut stream = connect(&self.dir).map_err(io("connect to"))?;
        let mut line = serde_json::to_vec(request).map_err(Error::Encode)?;
        line.push(b'\n');
        stream.write_all(&line).map_err(io("write to"))?;
        Ok(stream)
    }

    fn get(&self, stream: UnixStream) -> Result<(UnixStream, Answer), Error> {
        let path = self.dir.join(SOCKET);
        let io = |doing| Error::io(doing, &path);
        let answer = read_line(&stream).map_err(io("read from"))?;
        serde_json::from_slice(&answer)
            .map(|answer| (stream, answer))
            .map_err(|error| io("understand")(error.into()))
    }
}

/// A Unix socket's address holds 107 bytes, fewer than a deep data root
/// with a 64-digit ID needs; by way of the directory's fd it always fits.
fn connect(dir: &Path) -> std::io::Result<UnixStream> {
    let dir = File::open(dir)?;
    let fd = dir.as_raw_fd();
    UnixStream::connect(format!("/proc/self/fd/{fd}/{SOCKET}"))
}

/// Reads up to the newline and not a byte more: what follows an answer to
/// `attach` belongs to the streams. Byte by byte would take a daemon with
/// many containers millions of calls when it comes back.
fn read_line(mut stream: &UnixStream) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut ahead = [0; 4096];
    loop {
        let (_, seen) =
            retry_on_intr(|| recv(stream, &mut ahead[..], RecvFlags::PEEK))?;
        let end = ahead[..seen].iter().position(|it| *it == b'\n');
        let piece = &mut ahead[..end.map_or(seen, |it| it + 1)];
        stream.read_exact(piece)?;
        line.extend_from_slice(piece);
        if end.is_some() || seen == 0 {
            return Ok(line);
        }
    }
}

fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Refused(refusal) => Error::Refused(refusal),
        other => Error::Refused(Refusal {
            message: format!("the shim answered {other:?} to another question"),
            exit_code: 125,
        }),
    }
}
