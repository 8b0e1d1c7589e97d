//! One small process per container, which outlives the daemon.
//!
//! The daemon may be updated, killed or crash at any instant; a container
//! must not notice. So its streams, its log and its exit code are held by
//! a process of their own, the *shim*: single-threaded, without a runtime,
//! a few pages of memory.
//!
//! ```text
//! daemon ── spawn ──▶ shim ── clone3 ──▶ container's PID 1
//!    │  shim.sock      │  │ stdin, stdout, stderr or a terminal
//!    └─────────────────┘  └──▶ ID-json.log, shim.json, exit.json
//! ```

mod client;
mod events;
mod log;
mod own_exe;
mod peer;
mod proc;
pub mod protocol;
mod run;
mod spec;
mod streams;

use std::path::{Path, PathBuf};

pub use client::Client;
pub use proc::start_ticks;
pub(crate) use run::NOT_STARTED;
pub use run::{cgroup_path, main};
pub use spec::{Cgroup, CgroupPlace, Exit, Log, Record, Spec, World};
use thiserror::Error;

/// Why a shim could not be started or asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The shim says no, in words meant for the user.
    #[error("{}", .0.message)]
    Refused(protocol::Refusal),
    /// The shim ended without a word.
    #[error(
        "the container's shim died ({status}); what it wrote is in {}",
        .log.display()
    )]
    Died {
        /// Where its standard error went.
        log: PathBuf,
        /// How it ended.
        status: String,
    },
    /// The system said no.
    #[error("cannot {doing} {}: {cause}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        cause: std::io::Error,
    },
    /// A state file is missing or damaged.
    #[error("cannot read {}: {cause}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A spec could not be written as JSON.
    #[error("cannot encode the shim's request: {0}")]
    Encode(serde_json::Error),
}

impl Error {
    /// What `docker run` exits with for this error.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Refused(refusal) => refusal.exit_code,
            _ => 125,
        }
    }

    fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |cause| Error::Io { doing, path: path.clone(), cause }
    }
}
