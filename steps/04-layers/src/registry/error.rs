//! What registries answer when they do not answer well.

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers there.
    #[error("cannot reach registry {host}: {problem}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why, and what to do.
        problem: String,
    },
}
