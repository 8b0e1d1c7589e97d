//! Step 4: images, made of read-only layers.
//!
//! **An image is a config plus an ordered list of layer tars, each named by
//! its digest.** That sentence is the whole format:
//!
//! ```text
//! nginx:latest ─▶ sha256:3f1a…   the image ID: digest of the config JSON
//!                   │
//!                   ├─ config    what to run: Cmd, Env, User, WorkingDir…
//!                   └─ diff_ids  [ sha256:aaa…, sha256:bbb…, sha256:ccc… ]
//!                                  debian's      nginx's       its
//!                                  files         packages      settings
//! ```
//!
//! A layer is an ordinary tar of the files that one build step added or
//! changed; a deleted file is an empty entry named `.wh.NAME` (a *whiteout*).
//! Stacked in order, later ones winning, the layers are the root file system.
//! Because a name is the digest of the content, a layer that two images share
//! is stored once, a download can be checked while it arrives, and an image
//! ID pins every byte below it.
//!
//! This file holds the nouns and the three seams to the other steps; each
//! verb is a module beside it:
//!
//! | module | verb |
//! |---|---|
//! | [`store`] | keep blobs, unpacked layers, names; remove what is unused |
//! | [`registry`] | pull and push |
//! | [`apply`] | unpack a layer's tar, trusting nothing in it |
//! | [`diff`] | turn a changed directory back into a layer's tar |
//! | [`build`] | run a Dockerfile, and remember what need not run again |
//! | [`archive`] | save and load images as files |
//! | [`copy`] | a writable root file system, by copying every layer |
#![deny(missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};

pub mod apply;
pub mod archive;
pub mod build;
pub mod compress;
pub mod config;
pub mod copy;
pub mod diff;
pub mod digest;
pub mod error;
pub mod manifest;
mod merged;
mod parallel;
pub mod platform;
pub mod reference;
pub mod registry;
pub mod runner;
pub mod stage;
pub mod store;

pub use config::{ContainerConfig, Healthcheck, History, ImageConfig};
pub use diff::{Change, ChangeKind};
pub use digest::{DiffId, Digest, ImageId};
pub use error::{Error, Result};
pub use platform::Platform;
pub use reference::Reference;
pub use store::{Lease, Store};

/// An image in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the config's bytes.
    pub id: ImageId,
    /// The config, as a view; [`Store::blob_bytes`] has the bytes.
    pub config: ImageConfig,
    /// What the store knows beyond the config.
    pub record: store::Record,
}

impl Image {
    /// The layers, lowest first.
    pub fn layers(&self) -> &[DiffId] {
        &self.config.rootfs.diff_ids
    }

    /// Whether it is for a platform; any will do if none is asked for.
    pub fn suits(&self, wanted: Option<&Platform>) -> bool {
        let own = self.config.platform();
        wanted.is_none_or(|wanted| own.suits(wanted).is_some())
    }
}

/// An unpacked layer in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub diff_id: DiffId,
    /// Bytes in its files; what `docker history` prints.
    pub size: u64,
}

// ANCHOR: snapshots
/// "A writable root file system over these layers."
///
/// This step implements it by copying every file ([`copy::CopySnapshots`]),
/// which is easy to understand and slow. Step 5 implements it by a mount.
/// `id` is the container's; every method may be called from many threads.
pub trait Snapshots: Send + Sync {
    /// Makes the root file system, or finds it again after a restart, and
    /// returns its path. `layers` go lowest first and may be empty.
    fn prepare(&self, id: &str, layers: &[DiffId]) -> Result<PathBuf>;

    /// Shows the files of these layers, and not the mount points that every
    /// container has besides: what a build copies from is not run.
    fn show(&self, id: &str, layers: &[DiffId]) -> Result<PathBuf> {
        self.prepare(id, layers)
    }

    /// What the container changed against its image: `docker diff`.
    fn changes(&self, id: &str) -> Result<Vec<Change>>;

    /// Writes these changes as a layer's tar: the same files always give the
    /// same bytes.
    fn diff(&self, id: &str, out: &mut dyn Write) -> Result<()>;

    /// Ends the root file system and gives away the directory with nothing
    /// but the changes, in overlayfs's form: it can become a layer without
    /// being copied. `None` where there is no such directory.
    fn take(&self, _id: &str) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    /// Takes the root file system away but keeps what was written; `prepare`
    /// brings it back. Nothing to do is no error.
    fn unmount(&self, id: &str) -> Result<()>;

    /// Forgets everything about `id`. Nothing to do is no error.
    fn remove(&self, id: &str) -> Result<()>;
}
// ANCHOR_END: snapshots

/// Which of its two streams a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One `RUN` of a Dockerfile, ready to be executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// Names the step; unique, and good for a cgroup or a host name.
    pub id: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Absolute; made if it does not exist.
    pub workdir: String,
    /// `user`, `uid`, `user:group`…, looked up in the rootfs; may be empty.
    pub user: String,
    /// `default`, `none` or `host`.
    pub network: String,
    /// What is lent to this step alone (`RUN --mount`).
    pub mounts: Vec<RunMount>,
    /// Fed to standard input (heredocs), which is empty otherwise.
    pub stdin: Vec<u8>,
    /// `--security=insecure`: with all capabilities.
    pub privileged: bool,
    /// `HOST:IP` lines for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
}

/// A mount that is lent to one build step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Absolute path in the container; made if it does not exist.
    pub target: String,
    /// What is seen there.
    pub source: MountSource,
}

/// See [`RunMount`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file, directory or socket of the host.
    Bind {
        /// Absolute, on the host.
        path: PathBuf,
        /// Writes fail with EROFS.
        read_only: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// In bytes; without it half of the memory.
        size: Option<u64>,
    },
}

/// How the builder runs a command in a root file system: what earlier steps
/// teach (namespaces, cgroups) comes in here.
pub trait RunStep: Send + Sync {
    /// Runs it to the end, hands its output over as it comes and returns the
    /// exit code. `stop` is asked from time to time: when it says yes, nobody
    /// needs the result any more, and the command is killed.
    fn run(
        &self,
        rootfs: &Path,
        step: &RunRequest,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<i32>;

    /// Called when a command has failed and what it left is kept as `image`.
    /// The step's mounts are there until this returns.
    fn look_around(&self, _image: &ImageId, _stop: &(dyn Fn() -> bool + Sync)) {
    }
}

/// Where the builder gets base images that are not in the store.
pub trait ImageSource: Send + Sync {
    /// Makes sure that the image is in the store. With `always`, the newest
    /// one is asked for even if there is one.
    fn fetch(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        always: bool,
        progress: &(dyn Fn(registry::Progress) + Sync),
    ) -> Result<ImageId>;
}
