//! The build context: a tar from the client becomes a directory.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use layers::{Store, apply, compress};
use tempfile::TempDir;

use crate::engine::error::{Error, Result};

/// The files of one build; they go with the value.
#[derive(Debug)]
pub struct Context {
    /// Goes with the value, which is all that is wanted of it.
    pub(super) _dir: TempDir,
    pub(super) root: PathBuf,
    /// The Dockerfile, where the context says which it is.
    pub dockerfile: Option<PathBuf>,
}

impl Context {
    pub(super) fn whole(dir: TempDir) -> Context {
        let root = dir.path().to_owned();
        Context { _dir: dir, root, dockerfile: None }
    }

    /// Where COPY's paths begin.
    pub fn path(&self) -> &Path {
        &self.root
    }
}

/// A directory for a context. It lies in the data root and not in `/tmp`,
/// which is memory on many machines and may be smaller than a context.
pub(super) fn directory(store: &Store) -> Result<TempDir> {
    let scratch = store.scratch();
    tempfile::Builder::new()
        .prefix("context-")
        .tempdir_in(scratch)
        .map_err(Error::io("make a directory in", scratch))
}

/// Unpacks what a client has sent, compressed or not.
///
/// # Errors
/// [`Error::Invalid`] if it is no tar, or one that tries to get out.
pub fn receive(store: &Store, body: impl Read + Send) -> Result<Context> {
    let dir = directory(store)?;
    let bad = |cause: &dyn std::fmt::Display| {
        Error::Invalid(format!("cannot read the build context: {cause}"))
    };
    let tar = compress::decoder(BufReader::new(body)).map_err(|e| bad(&e))?;
    // Unpacked like a layer: the same hostile tars come this way, and every
    // path is resolved inside of the directory.
    let options = apply::Options::for_this_user();
    let mut tar = BufReader::new(tar);
    apply::apply(dir.path(), &mut tar, &options).map_err(|e| bad(&e))?;
    // The client sends to the end, and would be confused by an answer that
    // comes before.
    std::io::copy(&mut tar, &mut std::io::sink()).map_err(|e| bad(&e))?;
    Ok(Context::whole(dir))
}
