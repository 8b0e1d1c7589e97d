//! Pulling from and pushing to a registry.
//!
//! A registry is a web server with five kinds of addresses (the OCI
//! distribution specification):
//!
//! ```text
//! GET  /v2/<name>/manifests/<tag or digest>   what an image consists of
//! GET  /v2/<name>/blobs/<digest>              a config or a layer
//! GET  /v2/<name>/tags/list
//! POST /v2/<name>/blobs/uploads/              begin to send a blob
//! PUT  /v2/<name>/manifests/<tag>             make what was sent visible
//! ```
//!
//! Nothing a registry says is believed: every byte is hashed on its way and
//! must have the digest that led to it. That is why plain HTTP mirrors and
//! redirects to anywhere do no harm, once the first digest is known.
//!
//! | module | what it does |
//! |---|---|
//! | `hosts` | which servers a name may be fetched from, and how |
//! | `certs` | whose certificates are believed |
//! | `credentials` | who we are: config.json, helpers, `X-Registry-Auth` |
//! | `challenge`, `token` | the 401 dance |
//! | `client` | one request, tried again where that makes sense |
//! | `cancel` | stopping all of them at once |
//! | `blob` | a download that goes on where it broke |
//! | `upload` | the same in the other direction |
//! | `flight` | two pulls of one layer share one download |
//! | `pull`, `push` | the whole, in Docker's order and words |
//! | `question` | is an account good, what stands behind a name |

use std::time::Duration;

mod blob;
mod cancel;
mod certs;
mod challenge;
mod client;
mod credentials;
mod error;
mod flight;
mod hosts;
mod layer;
mod pull;
mod push;
mod question;
mod token;
mod upload;

pub use cancel::Cancel;
pub use credentials::{Auth, ConfigFile, CredentialsError, Helper, Kept};
pub use error::RegistryError;
pub use hosts::{RegistryConfig, agent_config};
pub(crate) use layer::check;
pub use pull::{Pulled, pull, pull_all_tags};
pub use push::{Pushed, push};
pub use question::{Described, describe, log_in};

use crate::platform::Platform;

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

impl Progress {
    /// A line about a layer or tag.
    pub fn of(id: &str, status: &str) -> Progress {
        Progress { id: id.into(), status: status.into(), bytes: None }
    }

    /// A line about the whole.
    pub fn line(status: impl Into<String>) -> Progress {
        Progress { status: status.into(), ..Progress::default() }
    }
}

/// Where progress goes; called from several threads.
pub type Report<'a> = &'a (dyn Fn(Progress) + Sync);

/// Who asks a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Account {
    /// This process's user, with what `docker login` left him.
    #[default]
    Own,
    /// A client of ours, with what it has sent along; nobody, if that is
    /// nothing. What the daemon's user may do is none of its rights.
    Client(Option<Auth>),
}

/// How to pull or push.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Which image of an index; by default the one for this machine.
    pub platform: Option<Platform>,
    /// Who asks.
    pub account: Account,
    /// Mirrors, insecure registries.
    pub config: RegistryConfig,
    /// Layers at once (Docker's `max-concurrent-downloads`).
    pub concurrent: usize,
    /// How often something that may pass is tried in all.
    pub attempts: u32,
    /// The pause before the second attempt; doubled each time.
    pub pause: Duration,
    /// Bytes of a blob sent in one request: proxies before a registry often
    /// refuse more than a hundred million, and a broken piece is all that is
    /// ever sent twice.
    pub piece: u64,
    /// The way to stop it.
    pub cancel: Cancel,
}

impl Default for PullOptions {
    fn default() -> PullOptions {
        PullOptions {
            platform: None,
            account: Account::Own,
            config: RegistryConfig::default(),
            concurrent: 3,
            attempts: 5,
            pause: Duration::from_millis(500),
            piece: 64 << 20,
            cancel: Cancel::default(),
        }
    }
}
