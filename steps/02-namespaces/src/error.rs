//! Errors that say which step failed, on what, why, and the way out.

use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

/// Why there is no container.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The command is nowhere in `PATH`, or its path does not exist.
    #[error("exec: {0:?}: {1}")]
    NotFound(String, String),
    /// The command exists but cannot be executed.
    #[error("exec: {0:?}: {1}")]
    NotExecutable(String, String),
    /// A user that the image does not know.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoSuchUser(String),
    /// A group that the image does not know.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoSuchGroup(String),
    /// An exec's working directory, which is not made: where its container
    /// runs, a missing one is more likely a typo.
    #[error(
        "chdir to cwd ({0:?}) set in config.json failed: {words}",
        words = words(*.1)
    )]
    WorkDir(String, Errno),
    /// A container's working directory that cannot be made.
    #[error("Cannot mkdir: {0} is not a directory")]
    WorkDirIsFile(String),
    /// Something in the request cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// A file of the host or the image could not be read or written.
    #[error("{doing} {}: {}", .path.display(), text(*.errno))]
    File {
        /// What was being done to it: "read", "open", …
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A step of [`STEPS`](crate::STEPS) failed.
    #[error("{step}: {what}: {}{hint}", text(*.errno))]
    Step {
        /// [`Step::name`](crate::Step::name).
        step: &'static str,
        /// The system call and its object.
        what: String,
        /// The kernel's answer.
        errno: Errno,
        /// The likely cause and the way out; empty, or `; …`.
        hint: String,
    },
    /// The new process ended before it could say why.
    #[error(
        "the new process died while it was being set up ({0}); \
         the kernel log (dmesg) may tell more"
    )]
    Died(String),
    /// `newuidmap` or `newgidmap` refused.
    #[error("{program} failed: {output}")]
    IdMapHelper {
        /// Which helper.
        program: &'static str,
        /// What it printed.
        output: String,
    },
}

impl Error {
    /// The exit code that `docker run` has for this error: 127 for a
    /// missing command, 126 for one that cannot run, else 125.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::NotFound(..) => 127,
            Error::NotExecutable(..) => 126,
            _ => 125,
        }
    }
}

/// `permission denied`, as Go's programs say it.
fn words(errno: Errno) -> String {
    let words = errno.to_string();
    words.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// `Permission denied (EACCES)`: the words and the symbol to search for.
pub(crate) fn text(errno: Errno) -> String {
    let words = errno.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    format!("{words} ({})", name(errno))
}

/// The symbol of an errno, as man pages write it.
fn name(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::ACCESS => "EACCES",
        Errno::EXIST => "EEXIST",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::INVAL => "EINVAL",
        Errno::NOSPC => "ENOSPC",
        Errno::ROFS => "EROFS",
        Errno::BUSY => "EBUSY",
        Errno::NODEV => "ENODEV",
        Errno::NOSYS => "ENOSYS",
        Errno::LOOP => "ELOOP",
        Errno::XDEV => "EXDEV",
        Errno::NOMEM => "ENOMEM",
        Errno::AGAIN => "EAGAIN",
        Errno::MFILE => "EMFILE",
        Errno::NFILE => "ENFILE",
        Errno::USERS => "EUSERS",
        Errno::NOEXEC => "ENOEXEC",
        Errno::TOOBIG => "E2BIG",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::IO => "EIO",
        Errno::SRCH => "ESRCH",
        Errno::NXIO => "ENXIO",
        Errno::FBIG => "EFBIG",
        Errno::TXTBSY => "ETXTBSY",
        Errno::STALE => "ESTALE",
        _ => "errno",
    }
}
