//! Why a layer's tar was not unpacked.

use std::io;

use crate::error::Cause;

/// The entry and the reason. Nothing outside the layer was touched, and the
/// half-made layer is thrown away by the caller.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream ended early or its source failed.
    #[error("cannot read the tar: {}", Said(.0))]
    Read(#[source] io::Error),
    /// Bytes that are no tar.
    #[error("not a tar, or damaged, at byte {at}: {problem}")]
    Header {
        /// Offset of the header in the uncompressed tar.
        at: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// More than a layer may have.
    #[error(
        "{what}, which is more than the limit of {limit}: not a layer but an \
         attack or an accident"
    )]
    Limit {
        /// What was counted, with its value.
        what: String,
        /// See [`super::LIMITS`].
        limit: u64,
    },
    /// The entry would do harm, or cannot mean anything in a layer.
    #[error("entry {entry:?}: {problem}")]
    Entry {
        /// Its path in the tar.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A system call failed.
    #[error("entry {entry:?}: cannot {action}: {source}")]
    System {
        /// Its path in the tar.
        entry: String,
        /// What was tried.
        action: &'static str,
        /// The errno.
        source: Cause,
    },
}

/// An error of ours that travelled inside an io::Error speaks for itself.
struct Said<'a>(&'a io::Error);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.kind() {
            io::ErrorKind::UnexpectedEof => {
                f.write_str("it ends in the middle (truncated)")
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

impl TarError {
    pub(super) fn entry(path: &[u8], problem: &str) -> TarError {
        TarError::Entry { entry: lossy(path), problem: problem.to_owned() }
    }
}

/// Puts entry and action around a bare errno.
pub(super) fn sys(
    path: &[u8],
    action: &'static str,
) -> impl FnOnce(rustix::io::Errno) -> TarError {
    let entry = lossy(path);
    move |errno| TarError::System { entry, action, source: Cause(errno.into()) }
}

/// A path for a message: at most so long that the message stays readable.
pub(super) fn lossy(path: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(path);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
