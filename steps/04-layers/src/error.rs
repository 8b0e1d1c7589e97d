//! What can go wrong with images, said so that a person can act on it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::apply::TarError;
use crate::diff::DiffError;
use crate::digest::{Digest, DigestError, ImageId};
use crate::platform::PlatformError;
use crate::reference::ReferenceError;
use crate::registry::RegistryError;

/// One variant for each thing that can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file of ours failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: `write`, `open`…
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The errno, with its name and a hint.
        source: Cause,
    },
    /// No image has this name or ID. Docker's sentence: its client looks for
    /// it to decide whether to pull.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// An ID prefix fits several images.
    #[error(
        "multiple IDs found with provided prefix: {prefix} ({}): give more \
         digits",
        some(matches)
    )]
    Ambiguous {
        /// What was typed.
        prefix: String,
        /// The images it may mean.
        matches: Vec<ImageId>,
    },
    /// Not an image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Not a platform.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Bytes that are not what their name promises.
    #[error(
        "{what} is corrupted: expected digest {expected}, got {got}; nothing \
         of it was kept. Try again; if it stays, the registry's copy or a \
         proxy on the way is damaged"
    )]
    Mismatch {
        /// E.g. `layer of nginx:latest`.
        what: String,
        /// What the manifest, config or caller asked for.
        expected: Digest,
        /// What the bytes are.
        got: Digest,
    },
    /// More or fewer bytes than promised.
    #[error(
        "{what} has the wrong length: {expected} bytes promised, {got} \
         received; nothing of it was kept"
    )]
    Length {
        /// E.g. `layer sha256:…`.
        what: String,
        /// Bytes promised.
        expected: u64,
        /// Bytes seen.
        got: u64,
    },
    /// A blob that should be in the store is not.
    #[error(
        "blob {0} is not in the store: it was removed by hand, or the image \
         was pulled only in part; pull the image again"
    )]
    NoSuchBlob(Digest),
    /// A document that cannot be understood.
    #[error("{what}: {problem}")]
    Document {
        /// Which document.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A layer's tar is broken, hostile or needs what this host cannot give.
    #[error("layer {layer}: {source}")]
    Tar {
        /// Its digest or other name.
        layer: String,
        /// The entry and the reason.
        source: TarError,
    },
    /// The registry refused or cannot be reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A JSON file of the store could not be read or replaced.
    #[error(transparent)]
    State(#[from] cli_api::Error),
    /// An image may not be removed now; Docker's sentences.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A changed tree could not be written as a layer.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// What an implementor of [`crate::Snapshots`], [`crate::RunStep`] or
    /// [`crate::ImageSource`] outside this crate has to report.
    #[error(transparent)]
    Outside(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// The user interrupted it.
    #[error("cancelled; nothing was kept")]
    Cancelled,
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Says whether the image or blob just is not there: HTTP 404.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NoSuchImage(_) | Error::NoSuchBlob(_))
    }
}

/// Says whether a JSON file of the store just is not there.
pub(crate) fn absent(error: &cli_api::Error) -> bool {
    matches!(
        error,
        cli_api::Error::Read { cause, .. }
            if cause.kind() == io::ErrorKind::NotFound
    )
}

/// Puts operation and path around a bare I/O error.
pub(crate) fn io_at(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source: Cause(source) }
}

/// An I/O error that prints its errno's name and, where one is known, what
/// to do about it.
#[derive(Debug)]
pub struct Cause(pub io::Error);

impl std::error::Error for Cause {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return write!(f, "{}", self.0);
        };
        let errno = Errno::from_raw(number);
        write!(f, "{errno:?}: {}", errno.desc())?;
        let hint = match errno {
            Errno::ENOSPC | Errno::EDQUOT => {
                "the disk is full: remove unused images (image prune), or \
                 move the data root with --data-root"
            }
            Errno::EACCES | Errno::EPERM => {
                "run as root, or use a data root of your own with --data-root"
            }
            Errno::EROFS => "the data root lies on a read-only mount",
            Errno::EMFILE | Errno::ENFILE => {
                "too many open files: raise the limit with ulimit -n"
            }
            _ => return Ok(()),
        };
        write!(f, " ({hint})")
    }
}

fn some(ids: &[ImageId]) -> String {
    let shown: Vec<&str> = ids.iter().take(4).map(ImageId::short).collect();
    let dots = if ids.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + dots
}
