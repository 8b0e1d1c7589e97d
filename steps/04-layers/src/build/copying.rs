//! Putting files into a root file system: the work of COPY and ADD.
//!
//! Two rules are easy to get wrong. A *directory* named as the source means
//! its contents, not itself. And the destination, if it exists, keeps its
//! mode and owner, while directories further down take those of the source.
//!
//! Times are put back after writing, so that the same sources give the same
//! layer, byte for byte, whenever they are copied.

use super::ignore::Ignore;
use super::mode::Chmod;
use super::through::Through;
use super::tree::{Found, Tree};
use crate::error::io_at;
use crate::{Error, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{
    FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink,
};
use std::path::{Path, PathBuf};

/// One COPY at work.
pub(super) struct Copier<'a> {
    /// Where from.
    pub(super) tree: &'a Tree,
    /// `--chown`; without it the context's files belong to root, and those
    /// of another stage to whom they belonged there.
    pub(super) owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub(super) mode: Option<Chmod>,
    /// `--exclude`, relative to each source.
    pub(super) exclude: &'a Ignore,
    /// An archive goes through links of the destination, others do not.
    pub(super) through: Option<Through<'a>>,
    /// Times to put back on directories that were written into.
    pub(super) times: BTreeMap<PathBuf, Timestamps>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(tree: &'a Tree, exclude: &'a Ignore) -> Self {
        let (owner, mode, through, times) = (None, None, None, BTreeMap::new());
        Self { tree, owner, mode, exclude, through, times }
    }

    /// Copies a source to exactly `to`: a file, or a directory's contents.
    pub(super) fn copy(&mut self, from: &Found, to: &Path) -> Result<()> {
        let meta = lstat(&from.path)?;
        self.make_parents(to, stamps(&meta))?;
        let (tree, root) = (self.tree, self.tree.root.clone());
        let top = from.path.strip_prefix(&root).unwrap_or(&from.path);
        let mut failure = None;
        let walked = tree.walk(&from.path, &mut |name, meta| {
            let inner = Path::new(name).strip_prefix(top).unwrap_or(top);
            let text = match inner.as_os_str().is_empty() {
                true => from.name.rsplit('/').next().unwrap_or_default(),
                false => inner.to_str().unwrap_or_default(),
            };
            let whole = meta.is_dir() && inner.as_os_str().is_empty();
            if !whole && self.exclude.excludes(text) {
                return Ok(());
            }
            let to = match inner.as_os_str().is_empty() {
                true => to.to_owned(),
                false => to.join(inner),
            };
            let landed = match &self.through {
                Some(through) if !whole => through.landing(to),
                _ => Ok(to),
            };
            let copied = landed.and_then(|to| {
                let leads = meta.is_dir() && self.leads_on(&to, text)?;
                match leads {
                    true => Ok(()),
                    false => self.one(&root.join(name), &to, meta, whole),
                }
            });
            copied.map_err(|error| {
                failure = Some(error);
                io::Error::from(io::ErrorKind::Other)
            })
        });
        match failure {
            Some(error) => Err(error),
            None => walked.map_err(io_at("read", &from.path)),
        }
    }

    /// Whether there is a link in a directory's place that its contents go
    /// through. One that has to make room for the directory is removed.
    fn leads_on(&self, to: &Path, inner: &str) -> Result<bool> {
        let Some(through) = &self.through else { return Ok(false) };
        let there = fs::symlink_metadata(to);
        if !there.is_ok_and(|meta| meta.is_symlink()) {
            return Ok(false);
        }
        if through.names(inner)? {
            fs::remove_file(to).map_err(io_at("replace", to))?;
            return Ok(false);
        }
        match through.leads(to)? {
            true => Ok(true),
            false => Err(no_directory(to)),
        }
    }

    /// Puts the times of directories back; call it last.
    pub(super) fn finish(self) -> Result<()> {
        for (path, times) in self.times.iter().rev() {
            set_times(path, times)?;
        }
        Ok(())
    }

    /// Makes what is missing above `to`, and remembers the time of the
    /// directory that will get a new entry.
    pub(super) fn make_parents(
        &mut self,
        to: &Path,
        times: Timestamps,
    ) -> Result<()> {
        let parent = to.parent().unwrap_or(to);
        self.make_directory(parent, &times)
    }

    /// `mkdir -p`, with this copy's owner for what is new.
    pub(super) fn make_directory(
        &mut self,
        path: &Path,
        times: &Timestamps,
    ) -> Result<()> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let known = self.times.entry(path.to_owned());
                known.or_insert_with(|| stamps(&meta));
                return Ok(());
            }
            Ok(_) => return Err(no_directory(path)),
            Err(_) => {}
        }
        if let Some(parent) = path.parent() {
            self.make_directory(parent, times)?;
        }
        fs::create_dir(path).map_err(io_at("make", path))?;
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(path, mode).map_err(io_at("set up", path))?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        chown(path, Some(uid), Some(gid)).map_err(io_at("chown", path))?;
        self.times.insert(path.to_owned(), times.clone());
        Ok(())
    }

    /// One entry, whatever it is. Its parents are there already, because the
    /// walk comes by them first.
    /// `whole` marks the directory that was named as the source: it lends its
    /// contents and, if the destination exists, nothing else.
    fn one(
        &mut self,
        from: &Path,
        to: &Path,
        meta: &Metadata,
        whole: bool,
    ) -> Result<()> {
        if let Some(parent) = to.parent() {
            self.make_directory(parent, &stamps(meta))?;
        }
        let before = fs::symlink_metadata(to).ok();
        if meta.is_dir() {
            match before {
                None => fs::create_dir(to).map_err(io_at("make", to))?,
                Some(old) if old.is_dir() && whole => {
                    let known = self.times.entry(to.to_owned());
                    known.or_insert_with(|| stamps(&old));
                    return Ok(());
                }
                Some(old) if old.is_dir() => {}
                Some(_) => return Err(no_directory(to)),
            }
            self.attributes(from, to, meta)?;
            self.times.insert(to.to_owned(), stamps(meta));
            return Ok(());
        }
        match before {
            Some(old) if old.is_dir() => {
                return Err(Error::Document {
                    what: format!("cannot copy to {}", to.display()),
                    problem: "a file cannot replace a directory".into(),
                });
            }
            Some(_) => fs::remove_file(to).map_err(io_at("replace", to))?,
            None => {}
        }
        make(from, to, meta).map_err(io_at("write", to))?;
        self.attributes(from, to, meta)?;
        set_times(to, &stamps(meta))
    }

    /// Owner before mode, both before times: each of these calls changes what
    /// the one after it sets.
    fn attributes(
        &self,
        from: &Path,
        to: &Path,
        meta: &Metadata,
    ) -> Result<()> {
        let kept = match self.tree.owners {
            true => (meta.uid(), meta.gid()),
            false => (0, 0),
        };
        let (uid, gid) = self.owner.unwrap_or(kept);
        lchown(to, Some(uid), Some(gid)).map_err(io_at("chown", to))?;
        if meta.is_symlink() {
            return Ok(());
        }
        // After the chown, which clears set-user-ID bits (chown(2)).
        let kept = meta.mode() & 0o7777;
        let mode = self.mode.as_ref();
        let mode = mode.map_or(kept, |it| it.apply(kept, meta.is_dir()));
        fs::set_permissions(to, Permissions::from_mode(mode))
            .map_err(io_at("chmod", to))?;
        for (name, value) in crate::diff::attributes(from)? {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(to, name.as_str(), &value, flags)
                .map_err(io::Error::from)
                .map_err(io_at("set an attribute of", to))?;
        }
        Ok(())
    }
}

/// The classic case: the image has `/lib -> usr/lib`, and a COPY of a whole
/// tree brings a real `/lib`.
fn no_directory(path: &Path) -> Error {
    Error::Document {
        what: format!("cannot copy to {}", path.display()),
        problem: "it exists and is not a directory; if it is a link to one, \
                  name the directory itself as the destination"
            .into(),
    }
}

/// Makes the file itself, attributes come after.
fn make(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    use rustix::fs::{FileType, Mode, mknodat};
    let kind = meta.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_file() {
        return fs::copy(from, to).map(drop);
    }
    let kind = if kind.is_fifo() {
        FileType::Fifo
    } else if kind.is_char_device() {
        FileType::CharacterDevice
    } else if kind.is_block_device() {
        FileType::BlockDevice
    } else {
        return Err(io::Error::other("a socket cannot be copied"));
    };
    let mode = Mode::from_raw_mode(meta.mode() & 0o7777);
    Ok(mknodat(CWD, to, kind, mode, meta.rdev())?)
}

/// Links are copied as links, so nothing here may follow one.
fn lstat(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(io_at("look at", path))
}

/// Modification time for both: reading a file must not change a layer.
pub(super) fn stamps(meta: &Metadata) -> Timestamps {
    let time = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() };
    Timestamps { last_access: time, last_modification: time }
}

/// On the link itself if it is one.
fn set_times(path: &Path, times: &Timestamps) -> Result<()> {
    rustix::fs::utimensat(CWD, path, times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(io::Error::from)
        .map_err(io_at("set the time of", path))
}
