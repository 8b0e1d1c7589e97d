//! The files of an image as one tar: what a container made of it would find.
//!
//! Nothing is mounted: the stack of layers is walked by overlayfs's rules.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::diff::{DiffError, LayerWriter};
use crate::error::Result;
use crate::merged::Directory;
use crate::store::Store;

/// Writes the files of an image, by name or ID.
pub fn files(store: &Store, name: &str, out: &mut dyn Write) -> Result<()> {
    let image = store.resolve(name)?;
    let lease = store.lease()?;
    let mut layers: Vec<PathBuf> = Vec::new();
    for layer in image.layers() {
        lease.pin(&layer.0)?;
        layers.push(store.layer_dir(layer));
    }
    let mut tar = LayerWriter::new(out, None);
    below(&Directory::root(&layers), Path::new(""), &mut tar)?;
    Ok(tar.finish()?)
}

fn below(
    directory: &Directory,
    path: &Path,
    tar: &mut LayerWriter<'_>,
) -> std::result::Result<(), DiffError> {
    for (name, entry) in directory.entries()? {
        let path = path.join(name);
        tar.entry(entry.path(), &path)?;
        if let Some(inner) = entry.directory() {
            below(inner, &path, tar)?;
        }
    }
    Ok(())
}
