//! What a name means in the layers below, by overlayfs's own rules: the
//! topmost layer that has it wins, a whiteout ends the search, directories
//! of the same name merge down to the first opaque one.
//!
//! ```text
//!            layer 3   layer 2   layer 1     seen
//!   a                  file      file        layer 2's
//!   b        whiteout  file                  nothing
//!   d/       dir       dir       dir         all three merged
//!   e/       dir       opaque    dir         layers 3 and 2 merged
//!   f        dir       file      dir         layer 3's alone
//! ```
//!
//! The kernel could be asked instead, by mounting the layers without an
//! upper directory. But `diff` must also work for who may not mount, and
//! looking up the few names that a container touched costs less.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{Error, Xattrs};

/// A directory as it shows through from below: the real ones it is made of,
/// topmost first.
#[derive(Debug, Clone)]
pub(crate) struct Below {
    dirs: Vec<PathBuf>,
    xattrs: Xattrs,
}

/// What a name below is.
#[derive(Debug)]
pub(crate) struct Found {
    /// Of the topmost, whose owner, mode and times count.
    pub(crate) meta: Metadata,
    /// If it is a directory, what is in it.
    pub(crate) inside: Option<Below>,
}

impl Below {
    /// The root directory over `lowers`, topmost first.
    pub(crate) fn new(lowers: &[PathBuf], xattrs: Xattrs) -> Below {
        Below { dirs: lowers.to_vec(), xattrs }
    }

    /// Looks one name up, from the top down.
    pub(crate) fn get(&self, name: &OsStr) -> Result<Option<Found>, Error> {
        let mut top: Option<Metadata> = None;
        let mut inside = Vec::new();
        for dir in &self.dirs {
            let path = dir.join(name);
            let Some(meta) =
                look(&path).map_err(Error::io("look at", &path))?
            else {
                continue;
            };
            // A file below a directory of the same name is hidden, and with
            // it whatever lies below the file.
            if is_whiteout(&meta) || top.is_some() && !meta.is_dir() {
                break;
            }
            let last = !meta.is_dir() || is_opaque(&path, self.xattrs);
            top.get_or_insert(meta);
            inside.push(path);
            if last {
                break;
            }
        }
        let xattrs = self.xattrs;
        Ok(top.map(|meta| Found {
            inside: meta.is_dir().then_some(Below { dirs: inside, xattrs }),
            meta,
        }))
    }

    /// Every name that shows through. A name in a lower layer may be covered
    /// by a whiteout above, so each is looked up.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, Error> {
        let mut names = BTreeSet::new();
        for dir in &self.dirs {
            names.extend(sorted_names(dir)?);
        }
        let mut visible = Vec::new();
        for name in names {
            if self.get(&name)?.is_some() {
                visible.push(name);
            }
        }
        Ok(visible)
    }
}

/// The names in one real directory, in order.
pub(crate) fn sorted_names(dir: &Path) -> Result<Vec<OsString>, Error> {
    let read = || -> io::Result<Vec<OsString>> {
        let entries = fs::read_dir(dir)?;
        let mut names: Vec<_> = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    read().map_err(Error::io("list", dir))
}

/// A file's metadata, or `None` if there is no such file. ENOTDIR means the
/// same: an upper layer has turned one of the parents into a file.
fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// A character device 0:0 says that there is nothing of this name. No
/// driver has that number, so no real file is ever taken for it.
pub(crate) fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

/// Whether the layers below do not show through this directory. The mark is
/// what is left of `rm -r dir && mkdir dir`: the new directory is empty, and
/// a whiteout for each name that it hides would be slower for everybody.
pub(crate) fn is_opaque(dir: &Path, xattrs: Xattrs) -> bool {
    let mut value = [0; 1];
    let length = rustix::fs::lgetxattr(dir, xattrs.opaque(), &mut value[..]);
    length == Ok(1) && value == *b"y"
}
