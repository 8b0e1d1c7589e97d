//! systemd opens the sockets (`-H fd://`), and is told when they are served.
//!
//! The protocol is two conventions, sd_listen_fds(3) and sd_notify(3):
//! sockets are handed over from descriptor 3 on, and `READY=1` is sent to
//! the address in `NOTIFY_SOCKET`.

use std::os::fd::{BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::{io, process};

use anyhow::{Context, bail};
use rustix::io::FdFlags;
use rustix::net::AddressFamily;

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;

/// A socket that was open when we were started.
#[derive(Debug)]
pub(super) enum Given {
    Unix(std::os::unix::net::UnixListener),
    Tcp(std::net::TcpListener),
}

/// The sockets that `fd://`, `fd://*` or `fd://3` mean.
///
/// # Errors
/// If there are none, or one is no listening socket.
pub(super) fn sockets(which: &str) -> anyhow::Result<Vec<Given>> {
    let count = count();
    if count == 0 {
        bail!(
            "no sockets found via socket activation: make sure the service \
             was started by systemd"
        );
    }
    let end = FIRST + count;
    let numbers = match which {
        "" | "*" => FIRST..end,
        one => {
            let number = one.parse::<RawFd>().ok();
            let number = number.filter(|it| (FIRST..end).contains(it));
            let Some(number) = number else {
                bail!(
                    "cannot listen on fd://{one}: systemd handed over the \
                     descriptors {FIRST} to {}",
                    end - 1
                );
            };
            number..number + 1
        }
    };
    numbers.map(take).collect()
}

/// How many there are. The variables are inherited by children, too, for
/// whom the sockets are not.
fn count() -> RawFd {
    let number =
        |name| std::env::var(name).ok().and_then(|it| it.parse::<RawFd>().ok());
    let ours = number("LISTEN_PID")
        .is_some_and(|it| u32::try_from(it) == Ok(process::id()));
    number("LISTEN_FDS").filter(|_| ours).unwrap_or(0)
}

fn take(number: RawFd) -> anyhow::Result<Given> {
    // SAFETY: who started us has opened it for us, as the variables say, and
    // nothing in this process closes it: what is used is a copy.
    let handed = unsafe { BorrowedFd::borrow_raw(number) };
    let given = (|| -> io::Result<Option<Given>> {
        // Not for the shims.
        rustix::io::fcntl_setfd(handed, FdFlags::CLOEXEC)?;
        let fd = rustix::io::fcntl_dupfd_cloexec(handed, FIRST)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        let listens = rustix::net::sockopt::socket_acceptconn(&fd)?;
        let family = rustix::net::getsockname(&fd)?.address_family();
        Ok(match family {
            _ if !listens => None,
            AddressFamily::UNIX => Some(Given::Unix(fd.into())),
            AddressFamily::INET | AddressFamily::INET6 => {
                Some(Given::Tcp(fd.into()))
            }
            _ => None,
        })
    })();
    given
        .with_context(|| format!("cannot use descriptor {number}"))?
        .with_context(|| {
            format!(
                "cannot listen on descriptor {number}: it is no listening \
                 socket of a stream; see ListenStream= in systemd.socket(5)"
            )
        })
}

/// Tells systemd that requests are answered from now on (`Type=notify`).
/// Without one this does nothing.
pub(super) fn tell_ready() {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let send = || {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            path => {
                SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?
            }
        };
        UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)
    };
    if let Err(error) = send() {
        tracing::warn!(
            "cannot tell systemd by {} that the daemon is ready: {error}",
            name.display()
        );
    }
}
