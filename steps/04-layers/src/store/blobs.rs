//! Blobs: files named by the digest of their content.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use super::settle::Thing;
use super::{Lease, Store};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result, io_at};

/// A blob on its way in: nobody sees it before [`BlobWriter::commit`].
/// Dropped without commit, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    /// In this process's scratch directory; goes away by itself.
    file: tempfile::NamedTempFile,
    /// Sees every byte that the file gets: the blob is never read again to be
    /// checked.
    hasher: Hasher,
    bytes: u64,
}

impl Store {
    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let blobs = self.images().join("blobs");
        blobs.join(digest.algorithm()).join(digest.hex())
    }

    /// Says whether a blob is there.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens a blob for reading.
    pub fn blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NoSuchBlob(digest.clone()),
            _ => io_at("open", &path)(e),
        })
    }

    /// A small blob (config, manifest) as a whole.
    pub fn blob_bytes(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let path = self.blob_path(digest);
        io::Read::read_to_end(&mut self.blob(digest)?, &mut bytes)
            .map_err(io_at("read", &path))?;
        Ok(bytes)
    }

    /// Keeps a small blob.
    pub fn put_blob(&self, lease: &Lease, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let mut writer = self.blob_writer(&digest)?;
        let path = self.blob_path(&digest);
        writer.write_all(bytes).map_err(io_at("write", &path))?;
        writer.commit(self, lease, "blob", Some(&digest))?;
        Ok(digest)
    }

    /// Begins a blob. The algorithm is that of `like`, the digest it is
    /// expected to have (or any sha256 digest when it is not known).
    pub fn blob_writer(&self, like: &Digest) -> Result<BlobWriter> {
        let scratch = self.scratch();
        let file = tempfile::Builder::new()
            .prefix("blob-")
            .tempfile_in(scratch)
            .map_err(io_at("make a file in", scratch))?;
        Ok(BlobWriter { file, hasher: Hasher::like(like), bytes: 0 })
    }
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Makes the blob visible under its digest, if that is the expected one,
    /// and pins it. `what` names it in the error.
    pub fn commit(
        self,
        store: &Store,
        lease: &Lease,
        what: &str,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64)> {
        let got = self.hasher.finish();
        if let Some(expected) = expected.filter(|d| **d != got) {
            return Err(Error::Mismatch {
                what: what.to_owned(),
                expected: expected.clone(),
                got,
            });
        }
        lease.pin(&got)?;
        let path = store.blob_path(&got);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(io_at("make", dir))?;
        }
        store.unsettled(Thing::Blob(&got))?;
        // Replacing a blob by itself is harmless, and mends a damaged one.
        self.file
            .persist(&path)
            .map_err(|e| io_at("rename a file to", &path)(e.error))?;
        Ok((got, self.bytes))
    }
}

impl Write for BlobWriter {
    /// Hashes what was written and not what was offered: write(2) may take
    /// less.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    /// Not to the disk: that is for `settle`.
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
