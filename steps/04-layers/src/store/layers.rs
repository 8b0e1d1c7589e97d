//! Unpacked layers: one directory each, named by the diff ID.
//!
//! Docker names them by chain IDs, digests of a layer *and all below it*,
//! because its drivers unpacked a layer on top of its parents. Here a layer
//! is unpacked by itself, and stacked only when it is mounted: so layers can
//! be unpacked at the same time and in any order, and one that two images
//! share is stored once even if what lies below differs.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use cli_api::state::{read_json, write_json};
use serde::{Deserialize, Serialize};

use super::settle::Thing;
use super::{Access, Lease, Store, lock};
use crate::Layer;
use crate::apply::{self, Unpacked};
use crate::compress;
use crate::digest::{DiffId, Digest, Hasher, HashingReader};
use crate::error::{Error, Result, absent, io_at};
use crate::manifest::Descriptor;

/// Beside a layer's files; only a whole layer has it.
const RECORD: &str = "layer.json";

/// `layer.json`: what the store knows of a layer beyond its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Bytes in its files.
    pub size: u64,
    /// The blobs it was made from: the same tar in one compression each. A
    /// layer that was made here has none; its tar is written anew from the
    /// files when somebody wants it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Descriptor>,
    /// Directories that the layer has only because something is in them, and
    /// that no layer below has described yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implied: Vec<String>,
}

/// A layer on its way in: a scratch directory that nobody else sees.
/// Dropped without commit, it leaves nothing.
#[derive(Debug)]
pub struct LayerWriter {
    /// On the same file system as the final place.
    dir: tempfile::TempDir,
}

impl Store {
    /// Where a layer's files are: a lower directory for overlayfs.
    pub fn layer_dir(&self, diff_id: &DiffId) -> PathBuf {
        self.layer_home(diff_id).join("diff")
    }

    /// Says whether a layer is there, whole.
    pub fn has_layer(&self, diff_id: &DiffId) -> bool {
        self.layer_home(diff_id).join(RECORD).exists()
    }

    /// A layer by its name.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Layer> {
        let size = self.layer_record(diff_id)?.size;
        Ok(Layer { diff_id: diff_id.clone(), size })
    }

    /// Bytes that a layer takes of the disk: its files, and the blobs that it
    /// came from, which stay for a push or a save.
    pub fn layer_bytes(&self, diff_id: &DiffId) -> u64 {
        let Ok(record) = self.layer_record(diff_id) else { return 0 };
        let kept = record.blobs.iter().filter(|b| self.has_blob(&b.digest));
        record.size + kept.map(|blob| blob.size).sum::<u64>()
    }

    /// Unpacks a layer from its tar, which may be compressed with gzip or
    /// zstd. With `keep`, the tar stays as a blob; without, it must be one
    /// that [`crate::diff`] wrote, so that it can be written again.
    pub fn add_layer(
        &self,
        lease: &Lease,
        tar: impl Read + Send,
        keep: bool,
    ) -> Result<Layer> {
        let writer = self.layer_writer()?;
        let mut blob = match keep {
            true => Some(self.blob_writer(&Digest::of(b""))?),
            false => None,
        };
        let unpacked = apply::unpack(
            tar,
            &writer.files(),
            blob.as_mut(),
            &apply::Options::for_this_user(),
        )?;
        let blobs = match blob {
            Some(blob) => vec![keep_tar(self, lease, blob, &unpacked)?],
            None => Vec::new(),
        };
        let Unpacked { diff_id, size, implied, .. } = unpacked;
        let record = LayerRecord { size, blobs, implied };
        writer.commit(self, lease, diff_id, record)
    }

    /// Begins a layer whose files are put in place by the caller.
    pub fn layer_writer(&self) -> Result<LayerWriter> {
        let scratch = self.scratch();
        let dir = tempfile::Builder::new()
            .prefix("layer-")
            .tempdir_in(scratch)
            .map_err(io_at("make a directory in", scratch))?;
        let files = dir.path().join("diff");
        fs::create_dir(&files).map_err(io_at("make", &files))?;
        Ok(LayerWriter { dir })
    }

    /// The layer's tar, not compressed: from a blob where there is one, else
    /// written anew from the files. The reader fails at its end when the
    /// bytes are not those that the diff ID promises.
    pub fn layer_tar(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>> {
        let record = self.layer_record(diff_id)?;
        let kept = record.blobs.iter().find(|b| self.has_blob(&b.digest));
        let Some(blob) = kept else {
            return Ok(Box::new(BufReader::new(self.layer_tar_file(diff_id)?)));
        };
        let file = BufReader::new(self.blob(&blob.digest)?);
        let path = self.blob_path(&blob.digest);
        compress::decoder(file).map_err(io_at("read", &path))
    }

    /// Writes a layer's tar anew, into a file without a name, and checks that
    /// it is byte for byte the one that the diff ID promises.
    pub(crate) fn layer_tar_file(&self, diff_id: &DiffId) -> Result<File> {
        let scratch = self.scratch();
        let mut file = tempfile::tempfile_in(scratch)
            .map_err(io_at("make a file in", scratch))?;
        crate::diff::write_upper(&self.layer_dir(diff_id), None, &mut file)?;
        let rewind = io::Seek::rewind;
        rewind(&mut file).map_err(io_at("rewind a file in", scratch))?;
        let mut reader = HashingReader::new(&file, Hasher::like(&diff_id.0));
        io::copy(&mut reader, &mut io::sink())
            .map_err(io_at("read a file in", scratch))?;
        let (got, _) = reader.finish();
        if got != diff_id.0 {
            return Err(Error::Mismatch {
                what: format!("layer {diff_id}, written anew from its files"),
                expected: diff_id.0.clone(),
                got,
            });
        }
        rewind(&mut file).map_err(io_at("rewind a file in", scratch))?;
        Ok(file)
    }

    /// What the store knows of a layer.
    pub fn layer_record(&self, diff_id: &DiffId) -> Result<LayerRecord> {
        let path = self.layer_home(diff_id).join(RECORD);
        read_json(&path).map_err(|e| match absent(&e) {
            true => Error::NoSuchBlob(diff_id.0.clone()),
            false => e.into(),
        })
    }

    /// Remembers that `blob` is this layer's tar, compressed in some way.
    pub fn add_layer_blob(
        &self,
        diff_id: &DiffId,
        blob: Descriptor,
    ) -> Result<()> {
        let _lock = lock(self.root(), Access::Change)?;
        let mut record = self.layer_record(diff_id)?;
        if record.blobs.iter().any(|b| b.digest == blob.digest) {
            return Ok(());
        }
        record.blobs.push(blob);
        self.write_layer_record(diff_id, &record)
    }

    pub(super) fn write_layer_record(
        &self,
        diff_id: &DiffId,
        record: &LayerRecord,
    ) -> Result<()> {
        let path = self.layer_home(diff_id).join(RECORD);
        Ok(write_json(&path, record)?)
    }

    /// Named by the diff ID alone. A container's own directory beside it is
    /// named by its ID, which has as many digits but no `layer.json`.
    pub(super) fn layer_home(&self, diff_id: &DiffId) -> PathBuf {
        self.root().join("overlay2").join(diff_id.hex())
    }
}

impl LayerWriter {
    /// Where the files go.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("diff")
    }

    /// Takes a finished directory (an overlay's upper, say) instead of
    /// copying it. It must be on the store's file system and must already be
    /// in overlayfs's form; `dir` is gone afterwards.
    pub fn adopt(&self, dir: &Path) -> Result<()> {
        let files = self.files();
        fs::remove_dir(&files).map_err(io_at("remove", &files))?;
        fs::rename(dir, &files).map_err(io_at("move a layer from", dir))
    }

    /// Makes the layer visible under its diff ID and pins it. If it has come
    /// another way meanwhile, that one stays and only the blobs are noted.
    pub fn commit(
        self,
        store: &Store,
        lease: &Lease,
        diff_id: DiffId,
        record: LayerRecord,
    ) -> Result<Layer> {
        write_json(&self.dir.path().join(RECORD), &record)?;
        let home = store.layer_home(&diff_id);
        // Shared: a sweep may not run between the rename and the pin.
        let guard = lock(store.root(), Access::Look)?;
        lease.pin_locked(&diff_id.0)?;
        store.unsettled(Thing::Layer(&diff_id))?;
        let renamed = fs::rename(self.dir.path(), &home);
        drop(guard);
        match renamed.map_err(|e| (e.kind(), e)) {
            Ok(()) => {
                // Nothing of it is left at the old path.
                let _ = self.dir.keep();
            }
            Err((
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists,
                _,
            )) => {
                for blob in &record.blobs {
                    store.add_layer_blob(&diff_id, blob.clone())?;
                }
            }
            Err((_, e)) => {
                return Err(io_at("move a finished layer to", &home)(e));
            }
        }
        Ok(Layer { diff_id, size: record.size })
    }
}

/// The tar is kept in whatever compression it came.
fn keep_tar(
    store: &Store,
    lease: &Lease,
    blob: super::BlobWriter,
    unpacked: &Unpacked,
) -> Result<Descriptor> {
    let (digest, size) = blob.commit(store, lease, "layer", None)?;
    let media_type = unpacked.compression.media_type();
    Ok(Descriptor::new(media_type, digest, size))
}
