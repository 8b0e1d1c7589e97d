//! Leases: "I am still using this."
//!
//! A pull has layers on disk before there is an image that names them; so
//! has a build. Without a lease, a `prune` in that moment would take them
//! away. A lease is a file of digests in its process's session directory:
//! when the process dies, however it dies, its leases die with it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Access, lock};
use crate::digest::Digest;
use crate::error::{Result, io_at};

/// Protects what is pinned through it until it is dropped.
#[derive(Debug)]
pub struct Lease {
    /// Open for appending.
    file: File,
    path: PathBuf,
    /// For the lock.
    root: PathBuf,
}

/// How lease files are told from others in a session directory.
const PREFIX: &str = "lease-";

impl Lease {
    pub(super) fn begin(session: &Path, root: &Path) -> Result<Lease> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = session.join(format!("{PREFIX}{number}"));
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(&path)
            .map_err(io_at("make", &path))?;
        Ok(Lease { file, path, root: root.to_owned() })
    }

    /// From now on `digest` (of a blob, a layer or an image) stays, if it is
    /// there. So pin first, then look whether it is.
    pub fn pin(&self, digest: &Digest) -> Result<()> {
        let _lock = lock(&self.root, Access::Look)?;
        self.pin_locked(digest)
    }

    /// For callers that hold the lock. One write(2) with O_APPEND is never
    /// mixed with another's, so threads may share a lease.
    pub(super) fn pin_locked(&self, digest: &Digest) -> Result<()> {
        let line = format!("{digest}\n");
        (&self.file)
            .write_all(line.as_bytes())
            .map_err(io_at("write", &self.path))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // If this fails, the lease ends with the process instead.
        let _ = fs::remove_file(&self.path);
    }
}

/// Everything that the leases of one session protect.
pub(super) fn pinned_in(session: &Path) -> Result<Vec<Digest>> {
    let mut pinned = Vec::new();
    for entry in fs::read_dir(session).map_err(io_at("list", session))? {
        let entry = entry.map_err(io_at("list", session))?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // It may end, and vanish, while we look.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        pinned.extend(text.lines().filter_map(|line| line.parse().ok()));
    }
    Ok(pinned)
}
