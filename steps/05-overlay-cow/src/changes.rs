//! What the container changed, read from its upper directory: the three
//! letters of `docker diff`.
//!
//! The upper directory is the difference already, so the layers below are
//! only asked whether they have the same path. Nothing is compared byte by
//! byte, however large the image is.
//!
//! | in the upper directory | and below | means |
//! |---|---|---|
//! | a file | no such name | `A` added |
//! | a file | anything of that name | `C` changed, perhaps only its mode |
//! | a directory | the same | nothing by itself, see what is in it |
//! | a character device 0:0 | a file | `D` deleted |
//! | an opaque directory | a directory | `D` for all that is not in it |
//!
//! Two answers differ from what one might expect. A file that was written
//! and then written back is `C`, since its copy stays in the upper directory.
//! And a file that was opened for writing is copied up by the open(2)
//! already, so it is `C` even if not a byte was written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use layers::diff::{Change, ChangeKind};

use crate::view::{Below, Found, is_opaque, is_whiteout, sorted_names};
use crate::{Error, Xattrs};

/// Lists the changes in `upper` against `lowers`, topmost first. Parents
/// come before what is in them.
pub(crate) fn list(
    upper: &Path,
    lowers: &[PathBuf],
    xattrs: Xattrs,
) -> Result<Vec<Change>, Error> {
    let mut walk = Walk { xattrs, changes: Vec::new() };
    let below = Below::new(lowers, xattrs);
    walk.directory(upper, Path::new("/"), Some(&below))?;
    Ok(walk.changes)
}

struct Walk {
    xattrs: Xattrs,
    changes: Vec<Change>,
}

impl Walk {
    /// One directory of the upper tree; returns whether a name came or went.
    fn directory(
        &mut self,
        dir: &Path,
        path: &Path,
        below: Option<&Below>,
    ) -> Result<bool, Error> {
        let mut came_or_went = false;
        for name in sorted_names(dir)? {
            let real = dir.join(&name);
            let meta = std::fs::symlink_metadata(&real)
                .map_err(Error::io("look at", &real))?;
            // Inside of a directory that is new as a whole there is nothing
            // below to ask.
            let before = match below {
                Some(below) => below.get(&name)?,
                None => None,
            };
            let place = Place { real: &real, path: path.join(&name) };
            came_or_went |= self.entry(place, &meta, before)?;
        }
        Ok(came_or_went)
    }

    /// One name; returns whether it came or went, which changes its parent.
    fn entry(
        &mut self,
        place: Place<'_>,
        meta: &Metadata,
        before: Option<Found>,
    ) -> Result<bool, Error> {
        if is_whiteout(meta) {
            // Without a file below it hides nothing: one was made and
            // removed again in a layer of the same name.
            let gone = before.is_some();
            if gone {
                self.note(place.path, ChangeKind::Deleted);
            }
            return Ok(gone);
        }
        let kind = match &before {
            None => Some(ChangeKind::Added),
            Some(old) if meta.is_dir() && same_directory(meta, &old.meta) => {
                None
            }
            Some(_) => Some(ChangeKind::Modified),
        };
        // Children are found first and belong behind their parent.
        let at = self.changes.len();
        if meta.is_dir() {
            let below = before.as_ref().and_then(|old| old.inside.as_ref());
            let inside = self.inside(&place, below)?;
            // Its time need not tell: a container may set it back, and the
            // clock of some file systems ticks only every few milliseconds.
            if kind.is_none() && inside {
                self.insert(at, place.path, ChangeKind::Modified);
                return Ok(false);
            }
        }
        if let Some(kind) = kind {
            self.insert(at, place.path, kind);
        }
        Ok(kind == Some(ChangeKind::Added))
    }

    /// The content of a directory. An opaque one was removed and made anew:
    /// what it had before and has no more is deleted, although no whiteout
    /// says so, and what is in it is compared with the old by name.
    fn inside(
        &mut self,
        place: &Place<'_>,
        below: Option<&Below>,
    ) -> Result<bool, Error> {
        let at = self.changes.len();
        let mut changed = self.directory(place.real, &place.path, below)?;
        let Some(below) = below else { return Ok(changed) };
        if !is_opaque(place.real, self.xattrs) {
            return Ok(changed);
        }
        for name in below.names()? {
            if std::fs::symlink_metadata(place.real.join(&name)).is_err() {
                self.note(place.path.join(&name), ChangeKind::Deleted);
                changed = true;
            }
        }
        self.changes[at..].sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changed)
    }

    fn note(&mut self, path: PathBuf, kind: ChangeKind) {
        self.changes.push(Change { path, kind });
    }

    fn insert(&mut self, at: usize, path: PathBuf, kind: ChangeKind) {
        self.changes.insert(at, Change { path, kind });
    }
}

/// A file of the upper directory, on the host and in the container.
struct Place<'a> {
    real: &'a Path,
    path: PathBuf,
}

/// A directory is in the upper tree as soon as anything in it is. Copy-up
/// restores its times, so if those are the same only its children changed.
fn same_directory(new: &Metadata, old: &Metadata) -> bool {
    let stamp = |meta: &Metadata| {
        let owner = (meta.uid(), meta.gid(), meta.mode());
        (owner, meta.mtime(), meta.mtime_nsec())
    };
    old.is_dir() && stamp(new) == stamp(old)
}
