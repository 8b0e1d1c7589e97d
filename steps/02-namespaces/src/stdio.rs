//! Standard input, output and error: three streams or a terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, ResolveFlags, Uid, fchown, fstat, fstatfs};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::inroot::{self, RootPath};
use crate::mountfd::{attach, clone_tree};
use crate::process::WindowSize;
use crate::wire::{Call, During, Fault};

/// Where the process reads and writes.
#[derive(Debug, Clone, Copy)]
pub enum Stdio<'fd> {
    /// Standard input, output and error.
    Streams {
        /// File descriptor 0 of the process.
        stdin: BorrowedFd<'fd>,
        /// File descriptor 1.
        stdout: BorrowedFd<'fd>,
        /// File descriptor 2.
        stderr: BorrowedFd<'fd>,
    },
    /// A pseudo terminal of the container's own `/dev/pts`; the other end
    /// comes back in [`Created::terminal`](crate::Created::terminal).
    Terminal(WindowSize),
}

/// Child: puts the three streams where every program looks for them. The
/// copies at 0, 1 and 2 are the only descriptors that survive the execve.
pub(crate) fn streams(
    streams: [BorrowedFd<'_>; 3],
    owner: u32,
) -> Result<(), Fault> {
    // First out of the way: standard error may sit at number 0 now, and
    // would be overwritten before its turn.
    let [stdin, stdout, stderr] =
        streams.map(|fd| fcntl_dupfd_cloexec(fd, 10).during(Call::Dup, 0));
    let (stdin, stdout, stderr) = (stdin?, stdout?, stderr?);
    for (item, fd) in [&stdin, &stdout, &stderr].into_iter().enumerate() {
        let stat = fstat(fd).during(Call::Dup, item)?;
        // nginx, as an ordinary user, opens /dev/stdout *by name* for its
        // log; a pipe is opened like any file then, by its owner.
        if FileType::from_raw_mode(stat.st_mode).is_fifo() && owner != 0 {
            give(fd.as_fd(), owner);
        }
    }
    dup2_stdin(&stdin).during(Call::Dup, 0)?;
    dup2_stdout(&stdout).during(Call::Dup, 1)?;
    dup2_stderr(&stderr).during(Call::Dup, 2)
}

/// Child: a terminal of the container's own devpts as all three streams and
/// as the controlling terminal. Returns the master side.
///
/// The slave is opened by way of the master (TIOCGPTPEER) and not by its
/// name, which would be looked up in a `/dev` that the image may have a say
/// in. `console` is where it appears as `/dev/console`.
pub(crate) fn terminal(
    root: BorrowedFd<'_>,
    size: WindowSize,
    owner: u32,
    console: Option<&RootPath>,
) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let strict = ResolveFlags::NO_SYMLINKS;
    let master = inroot::open(root, c"dev/pts/ptmx", flags, strict)
        .during(Call::Terminal, 0)?;
    // In a running container root may have mounted something else there.
    let kind = fstatfs(&master).during(Call::Terminal, 0)?.f_type;
    if kind != libc::DEVPTS_SUPER_MAGIC {
        return Err(Errno::NOTTY).during(Call::Terminal, 0);
    }
    unlockpt(&master).during(Call::Terminal, 0)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let flags = flags | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).during(Call::Terminal, 0)?;
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).during(Call::Terminal, 0)?;
    give(slave.as_fd(), owner);
    if let Some(path) = console {
        let copy = clone_tree(slave.as_fd(), c"", false);
        let copy = copy.during(Call::Clone, 0)?;
        let place = path.file(root, 0)?;
        attach(copy.as_fd(), place.as_fd()).during(Call::Attach, 0)?;
    }
    ioctl_tiocsctty(&slave).during(Call::ControllingTerminal, 0)?;
    dup2_stdin(&slave).during(Call::Dup, 0)?;
    dup2_stdout(&slave).during(Call::Dup, 1)?;
    dup2_stderr(&slave).during(Call::Dup, 2)?;
    Ok(master)
}

/// Child: makes `owner` the owner of a stream. What cannot be given away (a
/// file of the host seen from a user namespace) stays as it is.
fn give(fd: BorrowedFd<'_>, owner: u32) {
    let _ = fchown(fd, Some(Uid::from_raw(owner)), None);
}
