//! A filter in front of the kernel: which system calls are answered.
//!
//! The kernel runs a small program (classic BPF, seccomp(2)) before every
//! system call of the container. Docker's default profile refuses some
//! sixty calls that only a host needs; each is a door that stays shut even
//! for root inside.

mod profile;

pub use profile::{Action, Comparison, Condition, Document, Rule, Scope};

use serde::{Deserialize, Serialize};

/// Which profile a process gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Docker's default, which depends on the capabilities kept.
    DockerDefault,
    /// The user's own: `--security-opt seccomp=FILE`.
    Custom(Box<Document>),
}

impl Profile {
    /// Docker's default.
    pub fn docker_default() -> Profile {
        Profile::DockerDefault
    }

    /// Reads a profile in Docker's JSON format.
    ///
    /// # Errors
    /// serde's message with line and column if `text` is not one.
    pub fn from_json(text: &str) -> Result<Profile, serde_json::Error> {
        serde_json::from_str(text).map(|it| Profile::Custom(Box::new(it)))
    }
}
