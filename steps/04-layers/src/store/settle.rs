//! What becomes of the store when the power goes.
//!
//! A rename may reach the disk before the content of what was renamed. Then
//! there is, after a power cut, a layer under its name with empty files in
//! it. fsync(2) for each of a layer's 9,000 files would cost seconds, a
//! syncfs(2) before the pull says "done" as long as the disk takes for the
//! whole image.
//!
//! So nobody waits. What comes in is marked first, by an empty file under the
//! boot ID of this kernel; two seconds later a thread calls syncfs(2) for all
//! that came meanwhile, and takes the marks away. Marks of another boot are
//! what a power cut has left: blobs are then read through and compared with
//! their digests, layers and records that cannot be checked are removed, and
//! with them the images that need them.
//!
//! A mark and the rename after it are changes of directories, which a
//! journaled file system replays in their order: what was renamed is marked.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Store;
use crate::Image;
use crate::digest::{DiffId, Digest, Hasher, HashingReader, ImageId};
use crate::error::{Result, io_at};

/// So much may come in for one syncfs(2).
const PAUSE: Duration = Duration::from_secs(2);

/// Something that is about to be renamed to its place.
#[derive(Clone, Copy)]
pub(super) enum Thing<'a> {
    Layer(&'a DiffId),
    Blob(&'a Digest),
    Record(&'a ImageId),
}

impl Thing<'_> {
    fn mark(self) -> String {
        match self {
            Thing::Layer(id) => format!("layer-{}", id.hex()),
            Thing::Record(id) => format!("record-{}", id.hex()),
            Thing::Blob(digest) => {
                format!("blob-{}:{}", digest.algorithm(), digest.hex())
            }
        }
    }
}

/// The marks of this boot, and whether a thread is about to settle them.
#[derive(Debug)]
pub(super) struct Settling {
    marks: PathBuf,
    under_way: Arc<AtomicBool>,
}

impl Settling {
    pub(super) fn begin(root: &Path) -> Result<Settling> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read_to_string(path).map_err(io_at("read", path))?;
        let marks = unsettled(root).join(boot.trim());
        fs::create_dir_all(&marks).map_err(io_at("make", &marks))?;
        Ok(Settling { marks, under_way: Arc::default() })
    }
}

fn unsettled(root: &Path) -> PathBuf {
    root.join("images/unsettled")
}

impl Store {
    /// To be called right before the rename.
    pub(super) fn unsettled(&self, thing: Thing<'_>) -> Result<()> {
        let mark = self.settling.marks.join(thing.mark());
        File::create(&mark).map_err(io_at("make", &mark)).map(drop)
    }

    /// What was removed again needs no mark. One that stays does no harm.
    pub(super) fn unmark(&self, thing: Thing<'_>) {
        let _ = fs::remove_file(self.settling.marks.join(thing.mark()));
    }

    /// Brings what came in to the disk, in a while and in another thread.
    pub(super) fn settle_soon(&self) {
        let under_way = Arc::clone(&self.settling.under_way);
        if under_way.swap(true, Ordering::SeqCst) {
            return;
        }
        let marks = self.settling.marks.clone();
        std::thread::spawn(move || {
            std::thread::sleep(PAUSE);
            under_way.store(false, Ordering::SeqCst);
            // Marks that stay cost a look after a power cut, no more.
            let _ = settle(&marks);
        });
    }

    /// Looks through what an earlier boot has left unsettled. Returns what
    /// had to go. Called under the lock.
    pub(super) fn after_power_cut(&self) -> Result<Vec<String>> {
        let above = unsettled(self.root());
        let mut suspects = HashSet::new();
        let mut boots = Vec::new();
        for entry in fs::read_dir(&above).map_err(io_at("list", &above))? {
            let boot = entry.map_err(io_at("list", &above))?.path();
            if boot != self.settling.marks {
                suspects.extend(names(&boot)?);
                boots.push(boot);
            }
        }
        let mut spoiled = false;
        for mark in &suspects {
            spoiled |= self.remove_if_spoiled(mark)?;
        }
        let lost = match spoiled {
            true => self.remove_incomplete()?,
            false => Vec::new(),
        };
        for boot in boots {
            fs::remove_dir_all(&boot).map_err(io_at("remove", &boot))?;
        }
        Ok(lost)
    }

    /// True when the thing is gone. What was renamed away or removed after it
    /// was marked is not there, and no loss.
    fn remove_if_spoiled(&self, mark: &str) -> Result<bool> {
        let Some((kind, name)) = mark.split_once('-') else {
            return Ok(false);
        };
        let path = match kind {
            "layer" => self.root().join("overlay2").join(name),
            "record" => {
                let records = self.images().join("records");
                records.join(format!("{name}.json"))
            }
            _ => match name.parse() {
                Ok(digest) => self.blob_path(&digest),
                Err(_) => return Ok(false),
            },
        };
        let spoiled = match kind {
            "layer" => path.exists(),
            "record" => is_damaged(&path),
            _ => has_other_digest(&path, name)?,
        };
        if !spoiled {
            return Ok(false);
        }
        let removed = match kind {
            "layer" => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.map_err(io_at("remove", &path))?;
        Ok(true)
    }

    /// Images that lack a part are no images any more; to pull them again is
    /// better than to start half of one.
    fn remove_incomplete(&self) -> Result<Vec<String>> {
        let mut whole = Vec::new();
        let mut lost = Vec::new();
        let mut names = self.repositories()?;
        for id in self.ids()? {
            let image = self.image(&id);
            if image.is_ok_and(|image| self.has_layers(&image)) {
                whole.push(id);
                continue;
            }
            let record = self.record_path(&id);
            fs::remove_file(&record).map_err(io_at("remove", &record))?;
            if names.of(&id).is_empty() {
                lost.push(id.short().to_owned());
            }
        }
        lost.extend(names.keep_only(&whole));
        self.write_repositories(&names)?;
        let told = lost.into_iter().map(|image| {
            format!(
                "image {image} was not on the disk yet when the power went, \
                 and is gone; pull, load or build it again"
            )
        });
        Ok(told.collect())
    }

    fn has_layers(&self, image: &Image) -> bool {
        image.layers().iter().all(|layer| self.has_layer(layer))
    }
}

/// Marks that are there now are of things that are written already: syncfs(2)
/// brings these to the disk. One that comes later keeps its mark.
fn settle(marks: &Path) -> Result<()> {
    let settled = names(marks)?;
    let dir = File::open(marks).map_err(io_at("open", marks))?;
    rustix::fs::syncfs(&dir)
        .map_err(|e| io_at("bring to the disk", marks)(e.into()))?;
    for name in settled {
        let mark = marks.join(name);
        fs::remove_file(&mark).map_err(io_at("remove", &mark))?;
    }
    // Or else the marks would be there again after a power cut.
    dir.sync_all().map_err(io_at("sync", marks))
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let list = || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(dir)?;
        let name = |e: io::Result<fs::DirEntry>| {
            Ok(e?.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect()
    };
    list().map_err(io_at("list", dir))
}

/// Says whether a record is there but is no JSON any more.
fn is_damaged(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    serde_json::from_slice::<super::Record>(&bytes).is_err()
}

fn has_other_digest(path: &Path, name: &str) -> Result<bool> {
    let (Ok(file), Ok(digest)) = (File::open(path), name.parse::<Digest>())
    else {
        return Ok(false);
    };
    let mut reader = HashingReader::new(file, Hasher::like(&digest));
    io::copy(&mut reader, &mut io::sink()).map_err(io_at("read", path))?;
    Ok(reader.finish().0 != digest)
}

#[cfg(test)]
mod tests;
