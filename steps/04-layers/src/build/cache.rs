//! The layer cache: what went into each step, and what came out.
//!
//! A step's key is the digest of everything that decides about its result:
//! the key of the step before, the instruction, the ARGs in force, and for
//! COPY the fingerprint of every file. The same inputs give the same key,
//! whatever the Dockerfile is called and wherever it lies.
//!
//! A hit needs no explanation; a miss does. So the inputs of the last build
//! of the same thing are kept too, and compared: see [`super::explain`].

use super::copy_step::Summary;
use super::explain::Trace;
use super::tree::Print;
use crate::error::io_at;
use crate::{DiffId, Digest, Layer, Result};
use cli_api::state::{read_json, write_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

// ANCHOR: inputs
/// Raised whenever this builder makes something else of the same inputs than
/// before: results of the old rules are then not found any more.
const RULES: u32 = 2;

/// Everything that decides about the result of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inputs {
    /// The key of the step before; empty for FROM.
    pub(super) parent: String,
    /// The instruction, expanded where Docker expands it.
    pub(super) instruction: String,
    /// For FROM: the image's ID.
    pub(super) base: String,
    /// The ARGs that a RUN sees.
    pub(super) args: BTreeMap<String, String>,
    /// The files of a COPY.
    pub(super) files: Vec<Print>,
}
// ANCHOR_END: inputs

/// What came out of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The instruction, for people who look into the directory.
    pub(super) instruction: String,
    /// When it was carried out: part of the image, so part of the result.
    pub(super) created: String,
    /// The layer, unless nothing changed in the file system.
    pub(super) layer: Option<CachedLayer>,
}

/// A layer by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CachedLayer {
    diff_id: DiffId,
    size: u64,
}

impl From<&Layer> for CachedLayer {
    fn from(layer: &Layer) -> Self {
        Self { diff_id: layer.diff_id.clone(), size: layer.size }
    }
}

impl From<&CachedLayer> for Layer {
    fn from(layer: &CachedLayer) -> Self {
        Self { diff_id: layer.diff_id.clone(), size: layer.size }
    }
}

/// The cache's directory, `images/build-cache` in the data root.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let directory = directory(root);
        for part in ["steps", "traces", "prints", "mounts"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(io_at("make", &path))?;
        }
        Ok(Self { directory })
    }

    fn file(&self, kind: &str, key: &str) -> PathBuf {
        self.directory.join(kind).join(format!("{key}.json"))
    }

    /// An unreadable record is a miss: the step is run again and writes a
    /// new one, where an error would have to be repaired by hand.
    pub(super) fn get(&self, key: &str) -> Option<Record> {
        let path = self.file("steps", key);
        let record = read_json(&path).ok()?;
        // A prune begins with what has not been used for the longest time.
        let _ = File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(record)
    }

    pub(super) fn put(&self, key: &str, record: &Record) -> Result<()> {
        save(&self.file("steps", key), record)
    }

    /// The last build's inputs, for the same `identity`.
    pub(super) fn trace(&self, identity: &str) -> Option<Trace> {
        read_json(&self.file("traces", &name(identity))).ok()
    }

    pub(super) fn put_trace(
        &self,
        identity: &str,
        trace: &Trace,
    ) -> Result<()> {
        let file = self.file("traces", &name(identity));
        save(&file, trace)?;
        file.parent().map_or(Ok(()), keep_newest)
    }

    /// Fingerprints of files in layers, which can never change again.
    pub(super) fn prints(&self, what: &str) -> Option<Summary> {
        read_json(&self.file("prints", &name(what))).ok()
    }

    pub(super) fn put_prints(
        &self,
        what: &str,
        prints: &Summary,
    ) -> Result<()> {
        save(&self.file("prints", &name(what)), prints)
    }

    /// The directory of a `RUN --mount=type=cache`.
    pub(super) fn mount(&self, id: &str) -> PathBuf {
        self.directory.join("mounts").join(name(id))
    }
}

/// In the store's `images`, so that it goes along with a data root.
fn directory(root: &Path) -> PathBuf {
    root.join("images/build-cache")
}

/// Any text becomes a file name.
/// How many traces are kept. Each names all files of its build, and a CI that
/// gives every commit a tag of its own leaves one a build.
const TRACES: usize = 64;

/// Removes the oldest traces beyond [`TRACES`].
fn keep_newest(directory: &Path) -> Result<()> {
    let list = fs::read_dir(directory).map_err(io_at("list", directory))?;
    let age = |entry: fs::DirEntry| {
        let written = entry.metadata().and_then(|it| it.modified()).ok()?;
        Some((written, entry.path()))
    };
    let mut all: Vec<_> = list.flatten().filter_map(age).collect();
    all.sort();
    let more = all.len().saturating_sub(TRACES);
    for (_, path) in all.iter().take(more) {
        // Another build may have been quicker.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn name(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().to_owned()
}

/// Atomically: a reader sees the old record or the new one. The directory
/// may have gone since the build began, by a prune.
fn save<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(io_at("make", directory))?;
    }
    write_json(path, value).map_err(|error| crate::Error::Document {
        what: format!("build cache entry {}", path.display()),
        problem: error.to_string(),
    })
}

/// The result of a step that may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
    /// The digest of all that it depends on.
    pub key: String,
    /// When it was last made or used.
    pub used: SystemTime,
    /// Its layer, unless nothing changed in the file system.
    pub layer: Option<DiffId>,
}

/// All steps in the cache, in no particular order.
pub fn cached_steps(root: &Path) -> Vec<CachedStep> {
    let list = fs::read_dir(directory(root).join("steps"));
    let step = |entry: fs::DirEntry| {
        let path = entry.path();
        let record: Record = read_json(&path).ok()?;
        Some(CachedStep {
            key: path.file_stem()?.to_string_lossy().into_owned(),
            used: entry.metadata().ok()?.modified().ok()?,
            layer: record.layer.map(|layer| layer.diff_id),
        })
    };
    list.into_iter().flatten().flatten().filter_map(step).collect()
}

/// The layers that the cache may use again, for whoever cleans the store.
pub fn cached_layers(root: &Path) -> Vec<DiffId> {
    let steps = cached_steps(root).into_iter();
    steps.filter_map(|step| step.layer).collect()
}

/// Forgets every step and empties every cache mount that no RUN is using:
/// `builder prune`. Returns the keys of the steps that were forgotten; their
/// layers stay until the store is cleaned.
pub fn prune_cache(root: &Path) -> Result<Vec<String>> {
    let directory = directory(root);
    let mut forgotten = Vec::new();
    if let Ok(list) = fs::read_dir(directory.join("steps")) {
        for entry in list.flatten() {
            let path = entry.path();
            let key = path.file_stem().unwrap_or_default();
            forgotten.push(key.to_string_lossy().into_owned());
        }
    }
    // The traces stay: they are few, and tell the next build that its
    // results were there and are gone.
    for part in ["steps", "prints"] {
        remove(&directory.join(part))?;
    }
    prune_mounts(root)?;
    forgotten.sort();
    Ok(forgotten)
}

/// Forgets the results of these steps. What was copied or mounted for them
/// stays: others may need it.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if one cannot be removed.
pub fn forget_steps(root: &Path, keys: &[String]) -> Result<()> {
    let steps = directory(root).join("steps");
    for key in keys {
        let path = steps.join(format!("{key}.json"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_at("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The directories of `RUN --mount=type=cache`, which last from build to
/// build. Each has a lock file beside it.
pub fn cache_mounts(root: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(directory(root).join("mounts"));
    let paths = list.into_iter().flatten().flatten().map(|it| it.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// The lock files stay: who waits for a lock has the file open, and a new
/// one of the same name would be another lock.
fn prune_mounts(root: &Path) -> Result<()> {
    for directory in cache_mounts(root) {
        let path = directory.with_extension("lock");
        let lock = File::open(&path).map_err(io_at("open", &path))?;
        if lock.try_lock().is_ok() {
            remove(&directory)?;
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_at("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

impl Inputs {
    /// The step's name in the cache.
    pub(super) fn key(&self) -> String {
        // Field order is fixed and maps are sorted: the same inputs always
        // give the same JSON. Only non-text keys could fail.
        let bytes = serde_json::to_vec(&(RULES, self)).unwrap_or_default();
        Digest::of(&bytes).hex().to_owned()
    }
}
