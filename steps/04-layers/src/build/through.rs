//! An archive that is unpacked over links to directories.
//!
//! An image may have `/bin -> usr/bin`, and an archive for ADD a file
//! `bin/tool`. As tar(1) would in a chroot, Docker writes through the link:
//! `/usr/bin/tool`. But where the archive has an entry for the directory
//! itself, that takes the link's place.

use super::add;
use super::rootpath::resolve;
use crate::Result;
use crate::error::io_at;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How the links below a root are treated for one archive.
pub(super) struct Through<'a> {
    root: &'a Path,
    archive: &'a Path,
    /// Looked up only when there is a link, which is rare.
    directories: OnceCell<HashSet<String>>,
}

impl<'a> Through<'a> {
    pub(super) fn new(root: &'a Path, archive: &'a Path) -> Self {
        Self { root, archive, directories: OnceCell::new() }
    }

    /// Where a thing at `to` really comes to lie: links in the way there are
    /// followed, inside the root, and one at `to` itself is not.
    pub(super) fn landing(&self, to: PathBuf) -> Result<PathBuf> {
        let (Some(above), Some(name)) = (to.parent(), to.file_name()) else {
            return Ok(to);
        };
        match above.starts_with(self.root) {
            true => Ok(self.real(above)?.join(name)),
            false => Ok(to),
        }
    }

    /// Whether the link at `to` leads to a directory inside the root.
    pub(super) fn leads(&self, to: &Path) -> Result<bool> {
        let real = self.real(to)?;
        Ok(fs::metadata(real).is_ok_and(|meta| meta.is_dir()))
    }

    /// Whether the archive has an entry for this directory of it.
    pub(super) fn names(&self, directory: &str) -> Result<bool> {
        Ok(self.directories()?.contains(directory))
    }

    fn real(&self, path: &Path) -> Result<PathBuf> {
        let inside = path.strip_prefix(self.root).unwrap_or(path);
        resolve(self.root, inside).map_err(io_at("resolve", path))
    }

    /// The directories that have entries of their own.
    fn directories(&self) -> Result<&HashSet<String>> {
        match self.directories.get() {
            Some(known) => Ok(known),
            None => {
                let read = add::directories(self.archive)?;
                Ok(self.directories.get_or_init(|| read))
            }
        }
    }
}
