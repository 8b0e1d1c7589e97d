//! A writable root file system, by copying every layer.
//!
//! The honest first answer to "how does a container get files of its own?":
//! copy them all. It needs nothing of the kernel, and it shows what step 5
//! saves: a debian image takes seconds here and a millisecond there.
//!
//! ```text
//! <data root>/copies/<id>/
//!   rootfs/         what the container sees and changes
//!   layers.json     what it was copied from, to find the changes
//! ```

use std::collections::HashMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{
    FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli_api::state::{read_json, write_json};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use crate::diff;
use crate::error::{Result, io_at};
use crate::merged::{Directory, Entry};
use crate::store::close_to_others;
use crate::{Change, DiffId, Snapshots, Store};

/// Root file systems made by copying.
#[derive(Debug, Clone)]
pub struct CopySnapshots {
    /// Has the layers, and room for the copies.
    store: Arc<Store>,
}

impl CopySnapshots {
    /// Keeps the copies in the store's data root.
    pub fn new(store: Arc<Store>) -> CopySnapshots {
        CopySnapshots { store }
    }

    /// Not in `overlay2/`: a learner shall see what is what.
    fn home(&self, id: &str) -> PathBuf {
        self.store.root().join("copies").join(id)
    }

    /// Where the layers' files are.
    fn layer_dirs(&self, layers: &[DiffId]) -> Vec<PathBuf> {
        layers.iter().map(|id| self.store.layer_dir(id)).collect()
    }

    /// The rootfs and what it was copied from.
    fn parts(&self, id: &str) -> Result<(PathBuf, Vec<PathBuf>)> {
        let layers: Vec<DiffId> =
            read_json(&self.home(id).join("layers.json"))?;
        Ok((self.home(id).join("rootfs"), self.layer_dirs(&layers)))
    }
}

impl Snapshots for CopySnapshots {
    fn prepare(&self, id: &str, layers: &[DiffId]) -> Result<PathBuf> {
        let home = self.home(id);
        if home.exists() {
            return Ok(home.join("rootfs"));
        }
        let scratch = self.store.scratch();
        let making = tempfile::Builder::new()
            .prefix("copy-")
            .tempdir_in(scratch)
            .map_err(io_at("make a directory in", scratch))?;
        let rootfs = making.path().join("rootfs");
        copy_merged(&self.layer_dirs(layers), &rootfs)?;
        write_json(&making.path().join("layers.json"), &layers)?;
        let above = self.store.root().join("copies");
        fs::create_dir_all(&above).map_err(io_at("make", &above))?;
        close_to_others(&above)?;
        // Whole or not at all, as everything here.
        fs::rename(making.path(), &home)
            .map_err(io_at("move a finished copy to", &home))?;
        let _ = making.keep();
        Ok(home.join("rootfs"))
    }

    /// Every file of the copy is compared with its original, which takes as
    /// long as the copying did. An overlay mount has the answer lying ready:
    /// its upper directory.
    fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let (rootfs, layers) = self.parts(id)?;
        Ok(diff::changes(&rootfs, &layers)?)
    }

    fn diff(&self, id: &str, out: &mut dyn Write) -> Result<()> {
        let (rootfs, layers) = self.parts(id)?;
        let changes = diff::changes(&rootfs, &layers)?;
        Ok(diff::write_changes(&rootfs, &changes, None, out)?)
    }

    /// Nothing is mounted.
    fn unmount(&self, _id: &str) -> Result<()> {
        Ok(())
    }

    fn remove(&self, id: &str) -> Result<()> {
        let home = self.home(id);
        match fs::remove_dir_all(&home) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(io_at("remove", &home)),
        }
    }
}

/// Copies what a stack of layers (lowest first) shows from above.
fn copy_merged(layers: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir(to).map_err(io_at("make", to))?;
    let mut copy = Copy { links: HashMap::new() };
    copy.directory(&Directory::root(layers), to)?;
    if let Some(top) = layers.last() {
        let meta = lstat(top)?;
        attributes(top, to, &meta)?;
    }
    Ok(())
}

struct Copy {
    /// Files with several names, by device and inode, and where their first
    /// copy is: the second name becomes a hard link again.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy {
    /// One merged directory; the real ones behind it are the layers'.
    fn directory(&mut self, from: &Directory, to: &Path) -> Result<()> {
        for (name, entry) in from.entries()? {
            let to = to.join(&name);
            let source = entry.path();
            let meta = lstat(source)?;
            if let Entry::Directory(inner) = &entry {
                fs::create_dir(&to).map_err(io_at("make", &to))?;
                self.directory(inner, &to)?;
            } else if self.linked(source, &meta, &to)? {
                continue;
            } else {
                leaf(source, &meta, &to)?;
            }
            // After its contents, which change a directory's time.
            attributes(source, &to, &meta)?;
        }
        Ok(())
    }

    /// True when the file was copied before under another name.
    fn linked(
        &mut self,
        from: &Path,
        meta: &Metadata,
        to: &Path,
    ) -> Result<bool> {
        if meta.nlink() < 2 {
            return Ok(false);
        }
        let key = (meta.dev(), meta.ino());
        let Some(first) = self.links.get(&key) else {
            self.links.insert(key, to.to_owned());
            return Ok(false);
        };
        fs::hard_link(first, to).map_err(io_at("link a copy of", from))?;
        Ok(true)
    }
}

/// Everything but directories. Attributes come after.
fn leaf(from: &Path, meta: &Metadata, to: &Path) -> Result<()> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(io_at("read", from))?;
        return symlink(target, to).map_err(io_at("make", to));
    }
    if kind.is_file() {
        let mut source = File::open(from).map_err(io_at("open", from))?;
        let mut copy = File::create_new(to).map_err(io_at("make", to))?;
        // copy_file_range(2): shares the blocks where the disk can.
        io::copy(&mut source, &mut copy).map_err(io_at("copy", from))?;
        return Ok(());
    }
    let node = match kind {
        kind if kind.is_fifo() => FileType::Fifo,
        kind if kind.is_block_device() => FileType::BlockDevice,
        kind if kind.is_char_device() => FileType::CharacterDevice,
        // A socket in a layer has nobody listening; tar cannot even say it.
        _ => FileType::Socket,
    };
    rustix::fs::mknodat(CWD, to, node, Mode::RUSR, meta.rdev())
        .map_err(|e| io_at("make", to)(e.into()))
}

/// Owner, mode, extended attributes and times; in this order, because
/// chown(2) clears setuid bits and file capabilities.
pub(crate) fn attributes(
    from: &Path,
    to: &Path,
    meta: &Metadata,
) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        lchown(to, Some(meta.uid()), Some(meta.gid()))
            .map_err(io_at("chown", to))?;
    }
    if !meta.is_symlink() {
        let mode = Permissions::from_mode(meta.mode() & 0o7777);
        fs::set_permissions(to, mode).map_err(io_at("chmod", to))?;
    }
    for (name, value) in diff::attributes(from)? {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(to, name.as_str(), &value, flags)
            .map_err(|e| io_at("set an attribute of", to)(e.into()))?;
    }
    let stamp = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: stamp(meta.atime(), meta.atime_nsec()),
        last_modification: stamp(meta.mtime(), meta.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| io_at("set the time of", to)(e.into()))
}

/// Never follows: a layer's links are for the container.
fn lstat(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(io_at("look at", path))
}
