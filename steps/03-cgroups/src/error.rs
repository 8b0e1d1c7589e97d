//! One variant per step that can fail. Each says which file, what was
//! wanted, the kernel's answer, and what to do about it.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::controllers::Kind;

/// Why a group could not be made, changed, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No cgroup file system is mounted here.
    #[error(
        "no cgroup file system is mounted (looked in /proc/self/mountinfo); \
         mount one with: mount -t cgroup2 none /sys/fs/cgroup"
    )]
    NotMounted,

    /// A flag asks for a controller that the kernel or the mounts lack.
    #[error(
        "{flag} needs the {} controller, which this machine does not offer: \
         {reason}",
        .kind.v1_name()
    )]
    NoController {
        /// The controller.
        kind: Kind,
        /// What the user asked for, as in `--memory`.
        flag: &'static str,
        /// Where we looked and how it can be had.
        reason: String,
    },

    /// The value of a limit makes no sense; Docker's own sentence.
    #[error("{0}")]
    Invalid(String),

    /// A group's name would leave the tree.
    #[error(
        "cgroup path {path:?} must be relative and without '.' or '..' in it"
    )]
    Path {
        /// The name.
        path: String,
    },

    /// There is such a group already.
    #[error(
        "cgroup {} exists already; a container of this name may still run, \
         or one was not cleaned up (rmdir removes it when it is empty)",
        .dir.display()
    )]
    Exists {
        /// Its directory.
        dir: PathBuf,
    },

    /// The directory of a group could not be made.
    #[error("cannot make cgroup {}: {source}{hint}", .dir.display())]
    Make {
        /// The directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// A control file refused a value.
    #[error("cannot write {value:?} to {}: {source}{hint}", .file.display())]
    Write {
        /// The control file.
        file: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// A control file or directory could not be read.
    #[error("cannot read {}: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },

    /// A control file says something that we do not understand.
    #[error("{} says {text:?}, which is not {expected}", .file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// What it says.
        text: String,
        /// What it should say.
        expected: &'static str,
    },

    /// A process could not be moved into the group.
    #[error(
        "cannot move process {pid} into {}: {source}{hint}", .dir.display()
    )]
    Attach {
        /// The process.
        pid: u32,
        /// The group's directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// Processes of the group did not come to rest, or did not die.
    #[error("cgroup {} is not {wanted} after {seconds} s", .dir.display())]
    Timeout {
        /// The group's directory.
        dir: PathBuf,
        /// `frozen`, `thawed` or `empty`.
        wanted: &'static str,
        /// How long we waited.
        seconds: u64,
    },

    /// The group was removed while something was done to it.
    #[error("cgroup {} is gone: its last process has ended", .dir.display())]
    Gone {
        /// The group's directory.
        dir: PathBuf,
    },

    /// The group could not be removed.
    #[error(
        "cannot remove cgroup {}: {source}; processes in it: {procs:?}",
        .dir.display()
    )]
    Remove {
        /// The directory.
        dir: PathBuf,
        /// The kernel's answer, `EBUSY` while somebody is in it.
        source: Errno,
        /// Who is in it.
        procs: Vec<u32>,
    },

    /// The device filter was refused (v2).
    #[error(
        "cannot {action} the device filter of {}: {source} (bpf(2) needs \
         CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, of the first user \
         namespace)",
        .dir.display()
    )]
    DeviceFilter {
        /// `load` or `attach`.
        action: &'static str,
        /// The group's directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

impl Error {
    pub(crate) fn no_controller(kind: Kind, flag: &'static str) -> Self {
        let reason = format!(
            "neither a v1 hierarchy for it is mounted (see /proc/cgroups and \
             /proc/mounts) nor does the group's cgroup.controllers name {}",
            kind.v2_name()
        );
        Self::NoController { kind, flag, reason }
    }

    /// Whether a directory went away under our hands: `ENOENT` by its name,
    /// `ENODEV` through a file that is still open.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Make { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. } => {
                matches!(source, Errno::ENOENT | Errno::ENODEV)
            }
            _ => false,
        }
    }

    pub(crate) fn read(file: &Path, error: &std::io::Error) -> Self {
        Self::Read { file: file.to_owned(), source: errno(error) }
    }
}

/// The kernel's error number behind an I/O error. An I/O error without one
/// comes from std itself (bad UTF-8, short write) and counts as `EIO`.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
