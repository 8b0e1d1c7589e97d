//! The daemon's end of the connection to its keeper.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect,
    socket_with, sockopt,
};

use super::wire::{Answer, Request, receive, send};
use crate::network::{Held, Published};

/// The keeper's socket, in the directory of what a reboot may take.
pub(super) const SOCKET: &str = "keeper.sock";

/// A connection to a running keeper. While it is open, the keeper stays.
#[derive(Debug)]
pub struct Keeper {
    socket: Mutex<OwnedFd>,
    /// The same socket, to see that its other end is closed while somebody
    /// waits for an answer.
    watched: OwnedFd,
    pid: i32,
}

impl Keeper {
    /// The keeper that listens below `dir`; `None` if there is none.
    pub(super) fn find(dir: &Path) -> io::Result<Option<Keeper>> {
        let socket = match dial(dir) {
            Ok(socket) => socket,
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let pid = sockopt::socket_peercred(&socket)?.pid.as_raw_nonzero();
        let watched = socket.try_clone()?;
        let socket = Mutex::new(socket);
        let keeper = Keeper { socket, watched, pid: pid.get() };
        // It may have been about to end when it was called. Once it has
        // answered it stays, for it has somebody to stay for.
        Ok(keeper.lifeline().is_ok().then_some(keeper))
    }

    /// The process whose namespaces are the engine's.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the keeper has ended. Its PID cannot tell: another process
    /// may have it by now.
    pub(super) fn is_gone(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        hung_up(self.watched.as_fd(), Some(&now)) == Ok(true)
    }

    /// Returns when the keeper has ended.
    ///
    /// # Errors
    /// The kernel cannot tell.
    pub(super) fn wait(&self) -> Result<(), Errno> {
        while !hung_up(self.watched.as_fd(), None)? {}
        Ok(())
    }

    /// The end of a pipe that is closed when the keeper is gone.
    pub(super) fn lifeline(&self) -> io::Result<OwnedFd> {
        match self.ask(&Request::Lifeline, None)? {
            (Answer::Done, Some(pipe)) => Ok(pipe),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Opens a port in the host's network: a socket that listens already if
    /// it is TCP, and its port.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn bind(
        &self,
        host: IpAddr,
        port: u16,
        udp: bool,
    ) -> io::Result<(OwnedFd, u16)> {
        match self.ask(&Request::Bind { host, port, udp }, None)? {
            (Answer::Bound(port), Some(socket)) => Ok((socket, port)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Has connections to a port carried to a container, also while no
    /// daemon runs.
    ///
    /// # Errors
    /// A keeper that is gone.
    pub fn serve(&self, held: &Held, to: SocketAddr) -> io::Result<()> {
        let published = held.published.clone();
        let request = Request::Serve { published, to };
        self.must(&request, Some(held.socket.as_fd()))
    }

    /// Whether the keeper serves a port already.
    ///
    /// # Errors
    /// A keeper that is gone.
    pub fn serves(&self, published: &Published) -> io::Result<bool> {
        match self.ask(&Request::IsServed(published.clone()), None)?.0 {
            Answer::Is(served) => Ok(served),
            other => Err(unexpected(&other)),
        }
    }

    /// Closes ports; those that are not served are no error.
    ///
    /// # Errors
    /// A keeper that is gone.
    pub fn stop(&self, published: &[Published]) -> io::Result<()> {
        self.must(&Request::Stop(published.to_vec()), None)
    }

    fn must(
        &self,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        match self.ask(request, descriptor)?.0 {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(
        &self,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Answer, Option<OwnedFd>)> {
        // One question at a time, so that each gets its own answer.
        let socket = self.socket.lock();
        let socket = socket.unwrap_or_else(|it| it.into_inner());
        send(&*socket, request, descriptor)?;
        match receive(&*socket)? {
            Some((Answer::Errno(errno), _)) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Some(answer) => Ok(answer),
            None => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the process that keeps the user's namespaces has gone: \
                 restart the daemon",
            )),
        }
    }
}

/// By way of the directory's descriptor, since a Unix socket's address holds
/// 107 bytes only.
pub(super) fn address(dir: &File) -> Result<SocketAddrUnix, Errno> {
    let fd = dir.as_raw_fd();
    SocketAddrUnix::new(format!("/proc/self/fd/{fd}/{SOCKET}"))
}

fn dial(dir: &Path) -> Result<OwnedFd, Errno> {
    let dir = File::open(dir)
        .map_err(|it| Errno::from_io_error(&it).unwrap_or(Errno::IO))?;
    let socket = packets()?;
    connect(&socket, &address(&dir)?)?;
    Ok(socket)
}

/// A Unix socket that keeps packets apart.
pub(super) fn packets() -> Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    socket_with(family, kind, SocketFlags::CLOEXEC, None)
}

/// Whether the other end is closed, which poll(2) reports unasked, within
/// that time.
fn hung_up(
    socket: BorrowedFd<'_>,
    within: Option<&Timespec>,
) -> Result<bool, Errno> {
    let mut wait = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    match poll(&mut wait, within) {
        Err(Errno::INTR) => Ok(false),
        done => Ok(done? == 1),
    }
}

fn unexpected(answer: &Answer) -> io::Error {
    io::Error::other(format!("the keeper answered {answer:?}"))
}
