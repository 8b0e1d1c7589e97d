//! Directories that a layer has only because something is in them.
//!
//! Most tools write `tmp/` before `tmp/file`; some do not, and then the tar
//! says nothing of the directory's owner and mode. Stacked, the directory of
//! the topmost layer counts: one made up as root's with mode 0755 would close
//! a `/tmp` that was open to all below. So it takes over what the layers
//! below say, as in Docker, where a layer is unpacked on top of them.
//!
//! Layers are unpacked in any order here, hence this happens once all of an
//! image's are there. A layer that two images share has one directory: what
//! the first says stays.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{Access, Store, lock};
use crate::copy::attributes;
use crate::digest::DiffId;
use crate::error::{Result, io_at};
use crate::merged::is_opaque;

impl Store {
    /// Completes the directories of a stack that is no image yet.
    pub(crate) fn complete_stack(&self, layers: &[DiffId]) -> Result<()> {
        let _lock = lock(self.root(), Access::Change)?;
        self.complete_parents(layers)
    }

    /// Completes the implied directories of a stack, lowest layer first: one
    /// that was completed is described for those above.
    pub(super) fn complete_parents(&self, layers: &[DiffId]) -> Result<()> {
        for (number, diff_id) in layers.iter().enumerate() {
            let mut record = self.layer_record(diff_id)?;
            let before = record.implied.len();
            let lowers = &layers[..number];
            let mut open = Vec::new();
            for path in std::mem::take(&mut record.implied) {
                match self.described(lowers, Path::new(&path))? {
                    Some((from, meta)) => {
                        let to = self.layer_dir(diff_id).join(path);
                        attributes(&from, &to, &meta)?;
                    }
                    None => open.push(path),
                }
            }
            if open.len() != before {
                record.implied = open;
                self.write_layer_record(diff_id, &record)?;
            }
        }
        Ok(())
    }

    /// The directories on the way to `path` over these layers that are not
    /// what a directory is that somebody makes on his way: root's, with mode
    /// 0755.
    pub(crate) fn special_parents(
        &self,
        layers: &[DiffId],
        path: &Path,
    ) -> Result<Vec<Parent>> {
        let mut special = Vec::new();
        let mut here = PathBuf::new();
        for part in path {
            here.push(part);
            let Some((from, meta)) = self.described(layers, &here)? else {
                break;
            };
            if !is_usual(&meta) {
                special.push(Parent { path: here.clone(), from, meta });
            }
        }
        Ok(special)
    }

    /// The directory that shows through at `path` over these layers.
    fn described(
        &self,
        layers: &[DiffId],
        path: &Path,
    ) -> Result<Option<(PathBuf, Metadata)>> {
        for layer in layers.iter().rev() {
            match walk(&self.layer_dir(layer), path)? {
                Walk::There(at, meta) => return Ok(Some((at, meta))),
                Walk::Hidden => return Ok(None),
                Walk::Below => {}
            }
        }
        Ok(None)
    }
}

/// A directory of a stack.
#[derive(Debug)]
pub(crate) struct Parent {
    /// Where it is, seen from the root of the stack.
    pub(crate) path: PathBuf,
    /// Where the layer has it that says what it is like.
    pub(crate) from: PathBuf,
    pub(crate) meta: Metadata,
}

/// Root's, with mode 0755.
pub(crate) fn is_usual(meta: &Metadata) -> bool {
    (meta.uid(), meta.gid(), meta.mode() & 0o7777) == (0, 0, 0o755)
}

/// What one layer says of a directory.
enum Walk {
    /// It has it.
    There(PathBuf, Metadata),
    /// It says that there is none, here and below.
    Hidden,
    /// It says nothing: the next layer down counts.
    Below,
}

/// Walks without following any link: in a stack, a directory above covers
/// it.
fn walk(layer: &Path, path: &Path) -> Result<Walk> {
    let mut here = layer.to_owned();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Ok(Walk::Hidden) };
        let opaque = is_opaque(&here);
        here.push(name);
        let meta = match fs::symlink_metadata(&here) {
            Err(e) if e.kind() == ErrorKind::NotFound && opaque => {
                return Ok(Walk::Hidden);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Ok(Walk::Below);
            }
            other => other.map_err(io_at("look at", &here))?,
        };
        match (meta.is_dir(), parts.peek()) {
            (false, _) => return Ok(Walk::Hidden),
            (true, None) => return Ok(Walk::There(here, meta)),
            (true, Some(_)) => {}
        }
    }
    Ok(Walk::Below)
}

#[cfg(test)]
mod tests;
