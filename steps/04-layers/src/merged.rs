//! What a stack of unpacked layers looks like from above, without a mount.
//!
//! The rules are overlayfs's: the topmost layer that has a name wins; a
//! whiteout ends the search; directories of the same name merge, down to the
//! first that is opaque or is no directory.

use crate::diff::{DiffError, at};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A merged directory: the real ones that it is made of, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct Directory(Vec<PathBuf>);

/// What a name means in a merged directory.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// A file of one layer.
    Leaf(PathBuf),
    /// A directory, merged again.
    Directory(Directory),
}

impl Entry {
    /// The topmost real path: its owner, mode and times count.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Leaf(path) => path,
            Self::Directory(directory) => &directory.0[0],
        }
    }

    /// The merged directory, if it is one: where a comparison goes on.
    pub(crate) fn directory(&self) -> Option<&Directory> {
        match self {
            Self::Leaf(_) => None,
            Self::Directory(directory) => Some(directory),
        }
    }
}

impl Directory {
    /// The root over these layers, bottom first.
    pub(crate) fn root(layers: &[PathBuf]) -> Self {
        Self(layers.iter().rev().cloned().collect())
    }

    /// Everything that is visible in it.
    pub(crate) fn entries(
        &self,
    ) -> Result<BTreeMap<OsString, Entry>, DiffError> {
        let mut found: BTreeMap<OsString, Entry> = BTreeMap::new();
        let mut closed: HashSet<OsString> = HashSet::new();
        for layer in &self.0 {
            let list = fs::read_dir(layer).map_err(at("list", layer))?;
            for entry in list {
                let entry = entry.map_err(at("list", layer))?;
                let name = entry.file_name();
                if closed.contains(&name) {
                    continue;
                }
                let path = entry.path();
                let meta = entry.metadata().map_err(at("look at", &path))?;
                if !add(&mut found, &name, path, &meta) {
                    closed.insert(name);
                }
            }
        }
        Ok(found)
    }
}

/// Adds one layer's view of a name; `false` when lower ones do not count.
fn add(
    found: &mut BTreeMap<OsString, Entry>,
    name: &OsString,
    path: PathBuf,
    meta: &Metadata,
) -> bool {
    if is_whiteout(meta) {
        return false;
    }
    if !meta.is_dir() {
        // Below a directory, a file of the same name is hidden whole.
        found.entry(name.clone()).or_insert(Entry::Leaf(path));
        return false;
    }
    let open = !is_opaque(&path);
    match found.get_mut(name) {
        Some(Entry::Directory(directory)) => directory.0.push(path),
        Some(Entry::Leaf(_)) => return false,
        None => {
            let directory = Directory(vec![path]);
            found.insert(name.clone(), Entry::Directory(directory));
        }
    }
    open
}

/// A character device 0:0: "this name is deleted".
pub(crate) fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

/// "Nothing of the layers below shows through this directory."
pub(crate) fn is_opaque(directory: &Path) -> bool {
    let name = match crate::apply::trusted_marks() {
        true => "trusted.overlay.opaque",
        false => "user.overlay.opaque",
    };
    let mut value = [0_u8; 1];
    matches!(
        rustix::fs::lgetxattr(directory, name, &mut value[..]),
        Ok(1) if value[0] == b'y'
    )
}
