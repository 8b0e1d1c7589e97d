//! A directory of its own for each process that has the store open.
//!
//! It is locked for as long as the process lives. A directory that can be
//! locked therefore belongs to a dead process and is litter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Result, io_at};

/// Scratch space that ends with its process.
#[derive(Debug)]
pub(super) struct Session {
    dir: PathBuf,
    /// Holds the lock; never read.
    _alive: File,
}

impl Session {
    /// Called under the store's lock, so that nobody takes a directory for
    /// litter between its making and its locking.
    pub(super) fn begin(tmp: &Path) -> Result<Session> {
        fs::create_dir_all(tmp).map_err(io_at("make", tmp))?;
        clear_dead(tmp)?;
        let made = tempfile::Builder::new()
            .prefix("s-")
            .tempdir_in(tmp)
            .map_err(io_at("make a directory in", tmp))?;
        let dir = made.keep();
        let path = dir.join("alive");
        let alive = File::create(&path).map_err(io_at("make", &path))?;
        alive.lock().map_err(io_at("lock", &path))?;
        Ok(Session { dir, _alive: alive })
    }

    /// Everything half-made goes below it.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whoever opens the store next finds it unlocked and removes it, so
        // a failure here costs nothing.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// All sessions, dead ones removed.
pub(super) fn living(tmp: &Path) -> Result<Vec<PathBuf>> {
    let mut living = Vec::new();
    for entry in fs::read_dir(tmp).map_err(io_at("list", tmp))? {
        let dir = entry.map_err(io_at("list", tmp))?.path();
        let path = dir.join("alive");
        let dead = match File::open(&path) {
            Ok(file) => file.try_lock().is_ok(),
            Err(_) => true,
        };
        if dead {
            fs::remove_dir_all(&dir).map_err(io_at("remove", &dir))?;
        } else {
            living.push(dir);
        }
    }
    Ok(living)
}

/// The same walk, for the sake of what it removes.
fn clear_dead(tmp: &Path) -> Result<()> {
    living(tmp).map(drop)
}
