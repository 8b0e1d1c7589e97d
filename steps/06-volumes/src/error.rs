//! What can go wrong with volumes and mounts.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Why a volume or mount could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request makes no sense; Docker's own sentence (HTTP 400).
    #[error("{0}")]
    Invalid(String),

    /// Something else than `local` was asked for (404).
    #[error(
        "error looking up volume plugin {name}: plugin \"{name}\" not found"
    )]
    NoDriver {
        /// The driver.
        name: String,
    },

    /// There is no such volume (404).
    #[error("get {name}: no such volume")]
    NotFound {
        /// The name that was asked for.
        name: String,
    },

    /// Containers refer to it (409).
    #[error("remove {name}: volume is in use - [{}]", .users.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Their ids.
        users: Vec<String>,
    },

    /// A directory of the store could not be made, read or removed.
    #[error("cannot {action} {}: {source}{hint}", .path.display())]
    Directory {
        /// `make`, `read` or `remove`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// The description of a volume could not be read or written.
    #[error("volume record {}: {reason}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A volume with options could not be mounted.
    #[error(
        "failed to mount local volume: mount {device}:{}, flags: {options}: \
         {source}{hint}",
        .target.display()
    )]
    Mount {
        /// What was to be mounted.
        device: String,
        /// Where.
        target: PathBuf,
        /// How.
        options: String,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// A mount of ours could not be taken away.
    #[error(
        "cannot unmount {}: {source}; some process still uses it (see: \
         fuser -vm {})",
        .path.display(),
        .path.display()
    )]
    Unmount {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },

    /// The content of an image could not be copied into a new volume.
    #[error(
        "cannot {action} {} while filling the volume from the image: \
         {source}",
        .path.display()
    )]
    CopyUp {
        /// What failed, as in `open`.
        action: &'static str,
        /// On which file, seen from the top of the copied directory.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },

    /// The part of a volume that was asked for is not there, or not inside.
    #[error("cannot use subpath {subpath:?} of volume {name}: {source}{hint}")]
    Subpath {
        /// The volume.
        name: String,
        /// Which part.
        subpath: String,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },
}

impl Error {
    pub(crate) fn directory(
        action: &'static str,
        path: &Path,
        error: &std::io::Error,
    ) -> Self {
        let source = errno(error);
        let hint = match source {
            Errno::EACCES | Errno::EPERM => "; run the engine as root",
            Errno::ENOSPC => "; the disk is full (see: df -h, df -i)",
            Errno::EROFS => "; the file system is read-only",
            Errno::EBUSY => "; something is still mounted in it",
            _ => "",
        };
        Self::Directory { action, path: path.to_owned(), source, hint }
    }

    pub(crate) fn record(path: &Path, reason: impl Display) -> Self {
        Self::Record { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// The kernel's error number behind an I/O error.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// rustix's error number as nix's, whose text has the symbolic name in it.
pub(crate) fn from_rustix(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
