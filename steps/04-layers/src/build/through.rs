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
use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How the links below a root are treated for one archive.
pub(super) struct Through<'a> {
    root: &'a Path,
    archive: &'a Path,
    /// Looked up only when there is a link, which is rare.
    directories: OnceCell<HashSet<String>>,
    /// The last directory that something came to lie in, and where it really
    /// is: an archive is walked directory by directory.
    last: RefCell<Option<(PathBuf, PathBuf)>>,
}

impl<'a> Through<'a> {
    pub(super) fn new(root: &'a Path, archive: &'a Path) -> Self {
        let (directories, last) = (OnceCell::new(), RefCell::default());
        Self { root, archive, directories, last }
    }

    /// Where a thing at `to` really comes to lie: links in the way there are
    /// followed, inside the root, and one at `to` itself is not.
    pub(super) fn landing(&self, to: PathBuf) -> Result<PathBuf> {
        let (Some(above), Some(name)) = (to.parent(), to.file_name()) else {
            return Ok(to);
        };
        if !above.starts_with(self.root) {
            return Ok(to);
        }
        let mut last = self.last.borrow_mut();
        if let Some((path, real)) = &*last
            && path == above
        {
            return Ok(real.join(name));
        }
        let real = self.real(above)?;
        let landing = real.join(name);
        *last = Some((above.to_owned(), real));
        Ok(landing)
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
