//! Pulling from and pushing to a registry.

mod error;

pub use error::RegistryError;

/// One step of a pull or push, as `docker pull` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which layer (twelve digits) or tag; empty for the whole.
    pub id: String,
    /// Docker's words: `Pulling fs layer`, `Downloading`, `Pull complete`…
    pub status: String,
    /// Bytes done and bytes in total, where that is known.
    pub bytes: Option<(u64, u64)>,
}
