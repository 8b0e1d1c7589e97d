//! The store: every image of one data root.
//!
//! ```text
//! <data root>/
//!   images/
//!     blobs/sha256/<hex>     configs, manifests, compressed layers
//!     records/<hex>.json     what is known of an image beyond its config
//!     repositories.json      name ─▶ image ID
//!     unsettled/<boot ID>/   what a power cut now would spoil
//!     lock                   taken for every change of the above
//!   overlay2/<diff ID hex>/
//!     diff/                  the layer, unpacked
//!     layer.json             its size, and the blobs it came from
//!   tmp/<session>/           half-made things, and leases
//! ```
//!
//! Four rules keep it whole, whatever is killed when:
//!
//! 1. A thing is made under `tmp/` and *renamed* to its place. rename(2) is
//!    atomic, so what has a digest for a name is complete.
//! 2. Names change under the lock, one file at a time.
//! 3. Nothing is counted. What an image, a container or a [`Lease`] reaches
//!    is in use, the rest may go ([`Store::sweep`]): a count can be wrong
//!    after a crash, reachability cannot.
//!
//! 4. What is not on the disk yet is marked so. After a power cut it is
//!    looked through, and what is not whole goes (`settle`).
//!
//! Several processes may have one root open: the locks are flock(2)s, which
//! the kernel releases when their holder dies.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, io_at};

mod blobs;
mod images;
mod layers;
mod lease;
mod names;
mod parents;
mod remove;
mod resolve;
mod session;
mod settle;
mod sweep;

pub use blobs::BlobWriter;
pub use images::{NewImage, Record};
pub use layers::{LayerRecord, LayerWriter};
pub use lease::Lease;
pub use names::Names;
pub(crate) use parents::{Parent, is_usual};
pub use remove::{RemoveOptions, Removed, User};
pub use sweep::Swept;

/// An open data root. Cheap to share by `Arc`; all methods take `&self`.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    session: session::Session,
    settling: settle::Settling,
    lost: Vec<String>,
}

impl Store {
    /// Opens a data root, making its directories if need be, and removes
    /// what dead processes left half-made.
    pub fn open(root: &Path) -> Result<Store> {
        for dir in ["images/blobs/sha256", "images/records", "overlay2"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(io_at("make", &dir))?;
        }
        close_to_others(&root.join("overlay2"))?;
        // Absolute, because the daemon and its children may differ in their
        // working directory.
        let root = root.canonicalize().map_err(io_at("find", root))?;
        let lock = lock(&root, Access::Change)?;
        for dir in ["images", "images/records"] {
            clear_temporary(&root.join(dir))?;
        }
        let session = session::Session::begin(&root.join("tmp"))?;
        let settling = settle::Settling::begin(&root)?;
        let mut store = Store { root, session, settling, lost: Vec::new() };
        store.lost = store.after_power_cut()?;
        drop(lock);
        Ok(store)
    }

    /// The data root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What had to be removed when the store was opened, because a power cut
    /// had spoiled it; a sentence each.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Where half-made things of this process go: on the same file system as
    /// their final place, so that rename(2) works.
    pub fn scratch(&self) -> &Path {
        self.session.dir()
    }

    /// Keeps everything that is pinned through it from being removed, for as
    /// long as it lives.
    pub fn lease(&self) -> Result<Lease> {
        Lease::begin(self.session.dir(), &self.root)
    }

    fn images(&self) -> PathBuf {
        self.root.join("images")
    }
}

/// What a lock is wanted for.
#[derive(Clone, Copy)]
enum Access {
    /// Others may look and pin, but not remove.
    Look,
    /// Nobody else.
    Change,
}

/// Takes the store's lock; dropping the file releases it.
fn lock(root: &Path, access: Access) -> Result<File> {
    let path = root.join("images/lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_at("open", &path))?;
    match access {
        Access::Look => file.lock_shared(),
        Access::Change => file.lock(),
    }
    .map_err(io_at("lock", &path))?;
    Ok(file)
}

/// A layer has setuid programs and whole `/etc`s in it. Users of this
/// machine shall reach them through a container or not at all.
pub(crate) fn close_to_others(dir: &Path) -> Result<()> {
    let mode = fs::Permissions::from_mode(0o710);
    fs::set_permissions(dir, mode).map_err(io_at("close", dir))
}

/// Removes what `cli_api::state` leaves when it is killed between making a
/// temporary file and its rename. Under the lock nobody is doing that.
fn clear_temporary(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(io_at("list", dir))? {
        let entry = entry.map_err(io_at("list", dir))?;
        if entry.file_name().to_string_lossy().starts_with(".new-") {
            let path = entry.path();
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
