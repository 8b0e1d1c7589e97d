//! How much a container has written: the upper directory, added up.
//!
//! There is no counter to ask. Project quotas (xfs, ext4) could count and
//! even limit; they need the file system to be mounted for it.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;
use crate::view::sorted_names;

/// Adds up the sizes of the files below `dir`, as `docker ps --size` counts:
/// each inode once, directories not at all, holes as if they were full.
pub(crate) fn of(dir: &Path) -> Result<u64, Error> {
    let mut seen = HashSet::new();
    add(dir, &mut seen)
}

fn add(dir: &Path, seen: &mut HashSet<u64>) -> Result<u64, Error> {
    let mut total = 0;
    for name in sorted_names(dir)? {
        let path = dir.join(name);
        // A running container may remove what was just listed.
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            total += add(&path, seen).unwrap_or(0);
        } else if meta.nlink() == 1 || seen.insert(meta.ino()) {
            total += meta.len();
        }
    }
    Ok(total)
}
