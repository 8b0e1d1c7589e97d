//! Which files were copied up, and how much that was: the price that a
//! container paid for writing to its image.
//!
//! Copy-up happens at the first open(2) for writing, chmod(2), chown(2),
//! link(2) or rename(2) of a file that is only below. The kernel copies the
//! whole file into the work directory, owner, mode, times and attributes
//! too, and renames it into the upper one. Holes stay holes, and on btrfs or
//! xfs with reflinks the copy shares its blocks with the original and costs
//! nothing; elsewhere a database in an image pays for its whole size.

use std::path::{Path, PathBuf};

use crate::view::{Below, is_whiteout, sorted_names};
use crate::{Error, Xattrs};

/// A file of the image that was copied into the upper directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedUp {
    /// Absolute, as seen in the container.
    pub path: PathBuf,
    /// Bytes in the copy now. Overlayfs copies whole files, so it was at
    /// least the size of the original, even for a change of the mode.
    pub bytes: u64,
    /// Bytes in the original below; `None` if it was renamed since.
    pub original: Option<u64>,
}

/// Finds them by the kernel's own mark: it writes the handle of the original
/// into the attribute `overlay.origin` of the copy, to be able to give both
/// the same inode number. Where it could not (a file system without
/// handles), a file of the same path below has to do as evidence.
pub(crate) fn list(
    upper: &Path,
    lowers: &[PathBuf],
    xattrs: Xattrs,
) -> Result<Vec<CopiedUp>, Error> {
    let mut found = Vec::new();
    let below = Below::new(lowers, xattrs);
    walk(upper, Path::new("/"), Some(&below), xattrs, &mut found)?;
    Ok(found)
}

fn walk(
    dir: &Path,
    path: &Path,
    below: Option<&Below>,
    xattrs: Xattrs,
    found: &mut Vec<CopiedUp>,
) -> Result<(), Error> {
    for name in sorted_names(dir)? {
        let real = dir.join(&name);
        let meta = std::fs::symlink_metadata(&real)
            .map_err(Error::io("look at", &real))?;
        let before = match below {
            Some(below) => below.get(&name)?,
            None => None,
        };
        let path = path.join(&name);
        if meta.is_dir() {
            let below = before.and_then(|old| old.inside);
            walk(&real, &path, below.as_ref(), xattrs, found)?;
        } else if !is_whiteout(&meta) && meta.is_file() {
            let original = before
                .filter(|old| old.meta.is_file())
                .map(|old| old.meta.len());
            if original.is_some() || has_origin(&real, xattrs) {
                let bytes = meta.len();
                found.push(CopiedUp { path, bytes, original });
            }
        }
    }
    Ok(())
}

fn has_origin(file: &Path, xattrs: Xattrs) -> bool {
    // A buffer of no bytes asks for the size only (getxattr(2)).
    let mut nothing: [u8; 0] = [];
    rustix::fs::lgetxattr(file, xattrs.origin(), &mut nothing[..]).is_ok()
}
