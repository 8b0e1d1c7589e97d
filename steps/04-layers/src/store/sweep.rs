//! Removing what nothing reaches.
//!
//! ```text
//! names ─▶ image records ─▶ configs ─▶ layers ─▶ compressed blobs
//! containers ──────────────────────────▲
//! leases (pulls, builds, pushes) ──────┴────────────▲
//! build cache ─────────────────────────▲
//! ```
//!
//! Mark: from every image record, lease and container, collect the digests
//! that are needed. Sweep: move everything else out of the way by rename(2)
//! while the lock is held, and delete it afterwards, when it is not.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::remove::Standing;
use super::settle::Thing;
use super::{
    Access, RemoveOptions, Removed, Store, User, lease, lock, session,
};
use crate::Image;
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result, io_at};
use crate::manifest::Document;

/// What was found unneeded.
#[derive(Debug, Default)]
pub struct Swept {
    /// The layers among it.
    pub layers: Vec<DiffId>,
    /// Bytes that this frees; see [`Store::layer_bytes`].
    pub bytes: u64,
    /// Moved here, to be deleted.
    trash: Vec<PathBuf>,
}

impl Store {
    /// Removes every blob and layer that no image, lease or container
    /// reaches: the rests of interrupted builds and forced removals.
    pub fn sweep(&self, users: &dyn Fn() -> Vec<User>) -> Result<Swept> {
        let guard = lock(self.root(), Access::Change)?;
        let mut swept = self.sweep_locked(&users(), None)?;
        drop(guard);
        swept.erase()?;
        Ok(swept)
    }

    /// Removes those of `new` that nothing reaches. They must have come into
    /// the store just now, so that no container can be using them.
    pub(crate) fn discard(&self, new: &HashSet<Digest>) -> Result<()> {
        let guard = lock(self.root(), Access::Change)?;
        let mut swept = self.sweep_locked(&[], Some(new))?;
        drop(guard);
        swept.erase()
    }

    /// `image prune`: removes images that have no tag (with `all`: that no
    /// container uses) and that `chosen` accepts, then sweeps. Returns the
    /// lines for the answer and the bytes freed.
    pub fn prune(
        &self,
        all: bool,
        chosen: &dyn Fn(&Image) -> bool,
        users: &dyn Fn() -> Vec<User>,
    ) -> Result<(Vec<Removed>, u64)> {
        let (mut removed, mut bytes) = (Vec::new(), 0);
        for image in self.list()? {
            if !chosen(&image) {
                continue;
            }
            let needed = |it: Standing| it.used || it.tagged && !all;
            let options = RemoveOptions { force: all, parents: true };
            let id = image.id.as_str();
            match self.remove_unless(id, options, users, &needed) {
                Ok((lines, freed)) => {
                    removed.extend(lines);
                    bytes += freed;
                }
                // A parent of an image that stays, or gone meanwhile.
                Err(Error::Conflict(_) | Error::NoSuchImage(_)) => {}
                Err(e) => return Err(e),
            }
        }
        bytes += self.sweep(users)?.bytes;
        Ok((removed, bytes))
    }

    /// All unpacked layers.
    pub fn layers(&self) -> Result<Vec<DiffId>> {
        let names = list(&self.root().join("overlay2"))?;
        let ids = names.iter().filter_map(|n| Digest::from_hex(n).ok());
        // A container's own directory has 64 hex digits for a name as well.
        Ok(ids.map(DiffId).filter(|id| self.has_layer(id)).collect())
    }

    /// With `only`, everything else stays too.
    pub(super) fn sweep_locked(
        &self,
        users: &[User],
        only: Option<&HashSet<Digest>>,
    ) -> Result<Swept> {
        let needed = self.needed(users)?;
        let stays = |digest: &Digest| {
            needed.contains(digest)
                || only.is_some_and(|only| !only.contains(digest))
        };
        let mut swept = Swept::default();
        let trash = tempfile::Builder::new()
            .prefix("trash-")
            .tempdir_in(self.scratch())
            .map_err(io_at("make a directory in", self.scratch()))?
            .keep();
        swept.trash.push(trash.clone());
        for diff_id in self.layers()? {
            if stays(&diff_id.0) {
                continue;
            }
            swept.bytes += self.layer_bytes(&diff_id);
            let from = self.layer_home(&diff_id);
            throw(&from, &trash.join(diff_id.hex()))?;
            self.unmark(Thing::Layer(&diff_id));
            swept.layers.push(diff_id);
        }
        for algorithm in list(&self.images().join("blobs"))? {
            let dir = self.images().join("blobs").join(&algorithm);
            for hex in list(&dir)? {
                let digest = format!("{algorithm}:{hex}").parse::<Digest>();
                if digest.as_ref().is_ok_and(&stays) {
                    continue;
                }
                let name = format!("blob-{algorithm}-{hex}");
                throw(&dir.join(&hex), &trash.join(name))?;
                if let Ok(digest) = &digest {
                    self.unmark(Thing::Blob(digest));
                }
            }
        }
        Ok(swept)
    }

    /// What the leases of all living processes hold. Asked under the lock:
    /// who pins something later will look whether it is still there.
    pub(super) fn leased(&self) -> Result<HashSet<Digest>> {
        let mut leased = HashSet::new();
        for session in session::living(&self.root().join("tmp"))? {
            leased.extend(lease::pinned_in(&session)?);
        }
        Ok(leased)
    }

    /// Everything that must stay. The images are read one by one: no list of
    /// references could be out of step with them.
    fn needed(&self, users: &[User]) -> Result<HashSet<Digest>> {
        let mut needed = self.leased()?;
        for user in users {
            needed.insert(user.image.0.clone());
            needed.extend(user.layers.iter().map(|id| id.0.clone()));
        }
        // Else every `rmi` would take away the stages of a build that no
        // image names; `builder prune` forgets them first.
        let cached = crate::build::cached_layers(self.root());
        needed.extend(cached.into_iter().map(|layer| layer.0));
        for id in self.ids()? {
            self.reach(&self.image(&id)?, &mut needed)?;
        }
        Ok(needed)
    }

    /// Adds all that belongs to an image.
    ///
    /// Also the compressed blobs: a push or save sends them as they are.
    fn reach(&self, image: &Image, needed: &mut HashSet<Digest>) -> Result<()> {
        needed.insert(image.id.0.clone());
        for diff_id in image.layers() {
            needed.insert(diff_id.0.clone());
            if let Ok(record) = self.layer_record(diff_id) {
                needed.extend(record.blobs.into_iter().map(|b| b.digest));
            }
        }
        for manifest in &image.record.manifests {
            needed.insert(manifest.clone());
            let bytes = self.blob_bytes(manifest).unwrap_or_default();
            if let Ok(Document::Manifest(manifest)) = Document::parse(&bytes) {
                let layers = manifest.layers.into_iter();
                needed.extend(layers.map(|layer| layer.digest));
            }
        }
        Ok(())
    }
}

impl Swept {
    /// Deletes what was moved away.
    pub(super) fn erase(&mut self) -> Result<()> {
        for dir in self.trash.drain(..) {
            fs::remove_dir_all(&dir).map_err(io_at("remove", &dir))?;
        }
        Ok(())
    }
}

/// A rename within one file system takes no time, however large the layer.
fn throw(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(io_at("move away", from))
}

/// Names in a directory.
fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_at("list", dir))? {
        let name = entry.map_err(io_at("list", dir))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}
