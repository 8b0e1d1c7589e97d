//! The seam to step 4, whose builder and stage ask for "a writable root file
//! system over these layers" without knowing how it comes about. What step 4
//! made by copying every file is a mount here, and nothing else changes.

use std::io::Write;
use std::path::PathBuf;

use layers::diff::Change;
use layers::{DiffId, Snapshots};

use crate::OverlaySnapshots;

/// What step 4 asks of snapshots, so that its builder and whoever else takes
/// the trait works on mounts instead of copies.
impl Snapshots for OverlaySnapshots {
    fn prepare(&self, id: &str, layers: &[DiffId]) -> layers::Result<PathBuf> {
        Ok(self.mount(id, layers)?)
    }

    fn show(&self, id: &str, layers: &[DiffId]) -> layers::Result<PathBuf> {
        Ok(self.mount_image(id, layers)?)
    }

    fn changes(&self, id: &str) -> layers::Result<Vec<Change>> {
        Ok(self.list_changes(id)?)
    }

    fn diff(&self, id: &str, out: &mut dyn Write) -> layers::Result<()> {
        Ok(self.pack(id, None, out)?)
    }

    fn take(&self, id: &str) -> layers::Result<Option<PathBuf>> {
        Ok(Some(OverlaySnapshots::take(self, id)?))
    }

    fn unmount(&self, id: &str) -> layers::Result<()> {
        Ok(self.release(id)?)
    }

    fn remove(&self, id: &str) -> layers::Result<()> {
        Ok(self.delete(id)?)
    }
}

/// The same, but each root file system is for one use and then thrown away;
/// see [`OverlaySnapshots::mount_volatile`]. For the builder.
#[derive(Debug, Clone, Copy)]
pub struct Volatile<'a>(pub &'a OverlaySnapshots);

impl Snapshots for Volatile<'_> {
    fn prepare(&self, id: &str, layers: &[DiffId]) -> layers::Result<PathBuf> {
        Ok(self.0.mount_volatile(id, layers)?)
    }

    fn show(&self, id: &str, layers: &[DiffId]) -> layers::Result<PathBuf> {
        self.0.show(id, layers)
    }

    fn changes(&self, id: &str) -> layers::Result<Vec<Change>> {
        self.0.changes(id)
    }

    fn diff(&self, id: &str, out: &mut dyn Write) -> layers::Result<()> {
        self.0.diff(id, out)
    }

    fn take(&self, id: &str) -> layers::Result<Option<PathBuf>> {
        Ok(Some(self.0.take(id)?))
    }

    fn unmount(&self, id: &str) -> layers::Result<()> {
        self.0.unmount(id)
    }

    fn remove(&self, id: &str) -> layers::Result<()> {
        self.0.remove(id)
    }
}
