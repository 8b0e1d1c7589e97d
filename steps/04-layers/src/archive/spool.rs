//! The files of an archive, brought to where they can be read in any order.
//!
//! A tar can only be read once, front to back, but `manifest.json`, which
//! says what the other files are, comes last. So each file becomes a blob of
//! the store at once: most of them are just that.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::apply::entries::{Entries, Kind};
use crate::apply::{LIMITS, TarError};
use crate::digest::Digest;
use crate::error::{Error, Result, io_at};
use crate::store::{BlobWriter, Lease, Store};

/// Between the archive and its readers.
const BUFFER: usize = 256 << 10;
/// JSON documents are read into memory, up to here.
const DOCUMENT_MAX: u64 = 16 << 20;

/// Where an archive's files are.
pub(super) enum Files<'a> {
    /// In the store, by the digest of each.
    Spooled {
        store: &'a Store,
        blobs: HashMap<String, (Digest, u64)>,
        /// Older archives have each layer once and links to it.
        links: HashMap<String, String>,
    },
    /// In a directory.
    Dir(PathBuf),
}

/// One file, open.
pub(super) struct Opened {
    /// At its beginning.
    pub(super) file: File,
    pub(super) size: u64,
    /// Its digest when it is in the store as a blob.
    pub(super) blob: Option<Digest>,
}

impl<'a> Files<'a> {
    /// Reads a whole tar. `added` gets every digest that was not there.
    pub(super) fn spool(
        store: &'a Store,
        lease: &Lease,
        input: impl Read + Send,
        added: &Mutex<HashSet<Digest>>,
    ) -> Result<Files<'a>> {
        let (mut blobs, mut links) = (HashMap::new(), HashMap::new());
        let input = BufReader::with_capacity(BUFFER, input);
        let decoder = crate::compress::decoder(input)
            .map_err(io_at("read", Path::new("the archive")))?;
        let mut decoder = BufReader::with_capacity(BUFFER, decoder);
        let mut entries = Entries::new(&mut decoder, LIMITS);
        while let Some(entry) = entries.next().map_err(damaged)? {
            let name = clean(&String::from_utf8_lossy(&entry.path));
            let target = String::from_utf8_lossy(&entry.link);
            match entry.kind {
                Kind::File => {
                    let writer = content(store, &mut entries)?;
                    note(added, store, writer.digest());
                    let blob = writer.commit(store, lease, &name, None)?;
                    blobs.insert(name, blob);
                }
                Kind::Symlink => {
                    links.insert(name.clone(), beside(&name, &target));
                }
                Kind::HardLink => {
                    links.insert(name, clean(&target));
                }
                // Directories; what else there may be is of no use.
                _ => {}
            }
        }
        Ok(Files::Spooled { store, blobs, links })
    }

    /// `None` when the archive has no such file.
    pub(super) fn open(&self, name: &str) -> Result<Option<Opened>> {
        match self {
            Files::Spooled { store, blobs, links } => {
                let name = clean(name);
                let name = links.get(&name).unwrap_or(&name);
                let Some((digest, size)) = blobs.get(name) else {
                    return Ok(None);
                };
                let file = store.blob(digest)?;
                let (size, blob) = (*size, Some(digest.clone()));
                Ok(Some(Opened { file, size, blob }))
            }
            Files::Dir(dir) => {
                let path = dir.join(clean(name));
                let file = match File::open(&path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        return Ok(None);
                    }
                    other => other.map_err(io_at("open", &path))?,
                };
                let size = file.metadata().map_err(io_at("measure", &path))?;
                Ok(Some(Opened { file, size: size.len(), blob: None }))
            }
        }
    }

    /// A JSON document as bytes.
    ///
    /// Cut off at a length that no honest one has; what is cut is then no
    /// JSON.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(opened) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = opened.file.take(DOCUMENT_MAX).read_to_end(&mut bytes);
        read.map_err(io_at("read", Path::new(name)))?;
        Ok(Some(bytes))
    }
}

/// A file of the tar as a blob that is not committed yet.
fn content(store: &Store, entries: &mut Entries<'_>) -> Result<BlobWriter> {
    let mut writer = store.blob_writer(&Digest::of(b""))?;
    loop {
        let bytes = entries.content().map_err(damaged)?;
        if bytes.is_empty() {
            return Ok(writer);
        }
        let length = bytes.len();
        let written = writer.write_all(bytes);
        written.map_err(io_at("write", store.scratch()))?;
        entries.consume(length);
    }
}

/// So that it can be taken out again.
fn note(added: &Mutex<HashSet<Digest>>, store: &Store, digest: Digest) {
    // Asked before the blob is committed, of course.
    if !store.has_blob(&digest) {
        let added = added.lock();
        added.unwrap_or_else(PoisonError::into_inner).insert(digest);
    }
}

/// The archive itself, not a layer in it.
fn damaged(source: TarError) -> Error {
    let (what, problem) = ("the archive".to_owned(), source.to_string());
    Error::Document { what, problem }
}

/// Without `./`, and never above the archive.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// What a symbolic link means: its target is relative to its directory.
fn beside(name: &str, target: &str) -> String {
    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
    clean(&format!("{dir}/{target}"))
}
