//! A writable layer per container, by name: made, found again, read, removed.
//!
//! Everything is in one directory, laid out as Docker's `overlay2`:
//!
//! ```text
//! overlay2/
//!   5f70bf18…/diff/    an unpacked image layer (step 4 puts it there)
//!   init/diff/         the mount points that every container needs
//!   8c1d9e02…/         a container, by its ID
//!     lower            names of the layers below, topmost first
//!     diff/            upperdir: what the container wrote
//!     work/            workdir: the kernel's
//!     merged/          the root file system, while it is mounted
//! ```

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use layers::DiffId;
use layers::diff::Change;

use crate::{
    CopiedUp, Error, Options, Overlay, Xattrs, changes, check_host, copied_up,
    init, lower, remove, size, unmount, volatile,
};

/// The writable layers in one directory.
///
/// It holds no state beyond the directory itself, so any process may open it
/// at any time: a daemon that was killed finds everything again.
#[derive(Debug, Clone)]
pub struct OverlaySnapshots {
    root: PathBuf,
    xattrs: Xattrs,
}

/// How much a container has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Docker's `SizeRw`.
    pub bytes: u64,
}

impl OverlaySnapshots {
    /// Opens `root` (Docker's `overlay2`), makes it if need be, and finishes
    /// removals that a crash interrupted.
    ///
    /// # Errors
    /// [`Error::Host`] if upper directories cannot be on this file system.
    pub fn open(root: impl Into<PathBuf>) -> Result<OverlaySnapshots, Error> {
        let root = root.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o710);
        builder.create(&root).map_err(Error::io("make", &root))?;
        // The kernel and /proc/mounts want names that stay true when the
        // working directory changes.
        let root = root.canonicalize().map_err(Error::io("find", &root))?;
        check_host(&root)?;
        remove::sweep(&root)?;
        init::make(&root).map_err(Error::io("make", &root.join(init::NAME)))?;
        Ok(OverlaySnapshots { root, xattrs: Xattrs::of_this_process() })
    }

    /// A writable root file system named `id` over `layers` (the base first,
    /// as in an image's config); returns where it is mounted.
    ///
    /// May be called again, after a stop, a reboot or a crash: what was
    /// written before is there again.
    ///
    /// # Errors
    /// [`Error::MissingLayer`] if the image is not whole,
    /// [`Error::OtherLayers`] if the name is taken. Nothing new stays then.
    pub fn mount(&self, id: &str, layers: &[DiffId]) -> Result<PathBuf, Error> {
        self.prepare_with(id, lower::names(layers), false)
    }

    /// The layers' files alone, to be read: without the mount points that
    /// lie below each container's image.
    ///
    /// # Errors
    /// As [`OverlaySnapshots::mount`].
    pub fn mount_image(
        &self,
        id: &str,
        layers: &[DiffId],
    ) -> Result<PathBuf, Error> {
        self.prepare_with(id, lower::image_names(layers), true)
    }

    /// The same for what is thrown away after one use, a build step or a
    /// container with `--rm`: fsync(2) inside costs nothing, and neither
    /// does unmounting. In exchange it can be mounted again only until the
    /// machine is booted anew.
    ///
    /// # Errors
    /// As [`OverlaySnapshots::mount`].
    pub fn mount_volatile(
        &self,
        id: &str,
        layers: &[DiffId],
    ) -> Result<PathBuf, Error> {
        self.prepare_with(id, lower::names(layers), true)
    }

    fn prepare_with(
        &self,
        id: &str,
        names: Vec<String>,
        volatile: bool,
    ) -> Result<PathBuf, Error> {
        let dir = self.named(id)?;
        let fresh = !dir.exists();
        let merged = dir.join("merged");
        let made = self.claim(&dir, id, &names).and_then(|()| {
            // The kernel mounts no overlay over nothing.
            if names.is_empty() || is_mounted(&merged) {
                return Ok(());
            }
            volatile::forgive(&dir)?;
            if volatile {
                volatile::note(&dir)?;
            }
            let xattrs = self.xattrs;
            let overlay = self.overlay(&dir, &names);
            overlay
                .mount(&merged, Options { xattrs, volatile })
                .map_err(|error| lower::missing_layer(error, &self.root))
        });
        if made.is_err() && fresh {
            // The first error tells the story.
            let _ = remove::tree(&self.root, id);
        }
        made.map(|()| merged)
    }

    /// Makes the directories and writes down what is below. Each step may
    /// have been done before, by a process that did not get to the next.
    fn claim(
        &self,
        dir: &Path,
        id: &str,
        names: &[String],
    ) -> Result<(), Error> {
        match lower::read(dir)? {
            Some(before) if before != names => {
                return Err(Error::OtherLayers { id: id.to_owned() });
            }
            Some(_) => return Ok(()),
            None => {}
        }
        make_dir(dir, 0o710)?;
        make_dir(&dir.join("merged"), 0o755)?;
        make_dir(&dir.join("work"), 0o700)?;
        let upper = dir.join("diff");
        make_dir(&upper, 0o755)?;
        // The root directory of the merged view is the upper one.
        if let Some(top) = names.first() {
            let below = self.root.join(top);
            copy_owner(&below, &upper).map_err(|source| {
                match source.kind() {
                    ErrorKind::NotFound => {
                        let layer = lower::layer_of(top);
                        Error::MissingLayer { layer, path: below }
                    }
                    _ => Error::io("copy the owner to", &upper)(source),
                }
            })?;
        }
        // Last, so that its presence means that all the rest is there.
        lower::write(dir, names)
    }

    /// The directories of `id`, for `GraphDriver` in `docker inspect`.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`].
    pub fn directories(&self, id: &str) -> Result<Overlay, Error> {
        let dir = self.named(id)?;
        let Some(names) = lower::read(&dir)? else {
            let (id, root) = (id.to_owned(), self.root.clone());
            return Err(Error::NoSuchLayer { id, root });
        };
        Ok(self.overlay(&dir, &names))
    }

    /// Where `id` is mounted when it is.
    ///
    /// # Errors
    /// [`Error::Name`] if this cannot be a name.
    pub fn merged(&self, id: &str) -> Result<PathBuf, Error> {
        Ok(self.named(id)?.join("merged"))
    }

    /// Whether `id` is mounted now.
    ///
    /// # Errors
    /// [`Error::Name`] if this cannot be a name.
    pub fn is_mounted(&self, id: &str) -> Result<bool, Error> {
        Ok(is_mounted(&self.merged(id)?))
    }

    /// What `docker diff` prints; parents before what is in them.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], or a file that cannot be read.
    pub fn list_changes(&self, id: &str) -> Result<Vec<Change>, Error> {
        let stack = self.directories(id)?;
        changes::list(&stack.upper, &stack.lowers, self.xattrs)
    }

    /// Which files of the image were copied because they were written to.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], or a file that cannot be read.
    pub fn copied_up(&self, id: &str) -> Result<Vec<CopiedUp>, Error> {
        let stack = self.directories(id)?;
        copied_up::list(&stack.upper, &stack.lowers, self.xattrs)
    }

    /// How much was written.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], or a directory that cannot be read.
    pub fn usage(&self, id: &str) -> Result<Usage, Error> {
        let bytes = size::of(&self.directories(id)?.upper)?;
        Ok(Usage { bytes })
    }

    /// The changes of `id` as a layer: a tar in which `.wh.NAME` stands for
    /// what was deleted. The same changes give the same bytes; with `clamp`
    /// (seconds since 1970) no time in it is later.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], or a file that cannot be read or written.
    pub fn pack(
        &self,
        id: &str,
        clamp: Option<u64>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let stack = self.directories(id)?;
        layers::diff::write_upper(&stack.upper, clamp, out)
            .map(drop)
            .map_err(|source| Error::Pack { id: id.to_owned(), source })
    }

    /// Takes the mount away and names the directory with what was written,
    /// which the caller may move elsewhere.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], or [`Error::Unmount`] if the kernel refuses.
    pub fn take(&self, id: &str) -> Result<PathBuf, Error> {
        let upper = self.directories(id)?.upper;
        self.release(id)?;
        Ok(upper)
    }

    /// Takes the mount away; what was written stays. No mount is fine.
    ///
    /// # Errors
    /// [`Error::Unmount`] if the kernel refuses.
    pub fn release(&self, id: &str) -> Result<(), Error> {
        unmount(&self.merged(id)?)
    }

    /// Removes the writable layer, mounted or not, whole or half-made; that
    /// there is none is fine.
    ///
    /// # Errors
    /// [`Error::Unmount`], or a file that cannot be removed.
    pub fn delete(&self, id: &str) -> Result<(), Error> {
        self.release(id)?;
        remove::tree(&self.root, id)
    }

    /// The names of all writable layers, for a daemon that looks for those
    /// whose container is no more.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let names = crate::view::sorted_names(&self.root)?;
        Ok(names
            .into_iter()
            .filter(|name| self.root.join(name).join("work").exists())
            .filter_map(|name| name.into_string().ok())
            .filter(|name| !name.starts_with(remove::DOOMED))
            .collect())
    }

    /// Names become paths only here: the record stays true when the data
    /// root is moved to another disk.
    fn overlay(&self, dir: &Path, names: &[String]) -> Overlay {
        Overlay {
            lowers: names.iter().map(|name| self.root.join(name)).collect(),
            upper: dir.join("diff"),
            work: dir.join("work"),
        }
    }

    /// An ID is a directory name, so nothing in it may lead elsewhere.
    fn named(&self, id: &str) -> Result<PathBuf, Error> {
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
        };
        let good = !id.is_empty()
            && id.len() < 200
            && !id.starts_with('.')
            && !id.starts_with(remove::DOOMED)
            && id != init::NAME
            && id.bytes().all(plain);
        if good {
            Ok(self.root.join(id))
        } else {
            Err(Error::Name { id: id.to_owned() })
        }
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io("make", path)(error))
        }
        _ => Ok(()),
    }
}

fn copy_owner(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::metadata(from)?;
    fs::set_permissions(to, meta.permissions())?;
    let own = fs::metadata(to)?;
    if (own.uid(), own.gid()) != (meta.uid(), meta.gid()) {
        std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid()))?;
    }
    Ok(())
}

/// An overlay directory has a device number of its own, so a look at the
/// parent tells whether something is mounted, without reading the whole
/// table of mounts of a busy host.
fn is_mounted(merged: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
    let Some(parent) = merged.parent() else { return false };
    match (device(merged), device(parent)) {
        (Ok(inside), Ok(outside)) => inside != outside,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_of_the_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = OverlaySnapshots::open(dir.path()).unwrap();
        for id in ["", "..", "a/b", "/etc", "init", "removing-x", ".hidden"] {
            assert!(
                matches!(snapshots.mount(id, &[]), Err(Error::Name { .. })),
                "{id:?}"
            );
        }
    }
}
