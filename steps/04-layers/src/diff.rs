//! From a changed directory tree to a layer: a deterministic tar.
//!
//! A layer says only what is different from the layers below it. Two kinds
//! of trees end up here: the upper directory of an overlay mount, which *is*
//! the difference already ([`write_upper`]), and a full copy of an image,
//! which must be compared with the layers that it was copied from
//! ([`changes`], [`write_changes`]).
//!
//! The same tree always gives the same bytes: names sorted, no user names,
//! whole seconds, one fixed header format. Only so can two builds of the same
//! sources have the same digest.

use crate::merged::Directory;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// How a path differs from the image, as `docker diff` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// `C`
    Modified,
    /// `A`
    Added,
    /// `D`
    Deleted,
}

/// One line of `docker diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, as seen in the container.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// Which path could not be read or written, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {} for a layer: {source}", path.display())]
pub struct DiffError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

type Result<T> = std::result::Result<T, DiffError>;

/// Puts operation and path around a bare I/O error.
pub(crate) fn at(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DiffError {
    let path = path.to_owned();
    move |source| DiffError { what, path, source }
}

/// Writes the upper directory of an overlay mount as a layer.
///
/// The kernel marks a deleted file by a character device 0:0 and a replaced
/// directory by an extended attribute (Documentation/filesystems/overlayfs);
/// a tar knows neither, so the OCI image specification has the names
/// `.wh.NAME` and `.wh..wh..opq` for them.
///
/// `clamp` is the latest time, in seconds since 1970, that an entry may
/// carry (`SOURCE_DATE_EPOCH`). Returns the bytes in the regular files.
pub fn write_upper(
    upper: &Path,
    clamp: Option<u64>,
    out: &mut dyn Write,
) -> Result<u64> {
    let mut layer = LayerWriter::new(out, clamp);
    layer.tree(upper, Path::new(""))?;
    let size = layer.size;
    layer.finish()?;
    Ok(size)
}

/// Compares a copied tree with the layers it came from (bottom first).
/// Sorted by path; a directory whose content changed counts as modified.
pub fn changes(root: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    let below = Directory::root(layers);
    compare(root, Path::new("/"), Some(&below), &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup();
    Ok(found)
}

/// Writes what [`changes`] found as a layer.
pub fn write_changes(
    root: &Path,
    changes: &[Change],
    clamp: Option<u64>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut layer = LayerWriter::new(out, clamp);
    for change in changes {
        let path = change.path.strip_prefix("/").unwrap_or(&change.path);
        match change.kind {
            ChangeKind::Deleted => layer.whiteout(path)?,
            _ if path.as_os_str().is_empty() => {}
            _ => layer.entry(&root.join(path), path)?,
        }
    }
    layer.finish()
}

/// One directory of the copy against the same directory of the image.
fn compare(
    root: &Path,
    path: &Path,
    below: Option<&Directory>,
    found: &mut Vec<Change>,
) -> Result<bool> {
    let here = root.join(path.strip_prefix("/").unwrap_or(path));
    let mut old = match below {
        Some(directory) => directory.entries()?,
        None => Default::default(),
    };
    let mut changed = false;
    for name in sorted_names(&here)? {
        let inner = path.join(&name);
        let meta = lstat(&here.join(&name))?;
        let before = old.remove(&name);
        let mut kind = match &before {
            None => Some(ChangeKind::Added),
            Some(entry) => differs(&here.join(&name), &meta, entry.path())?
                .then_some(ChangeKind::Modified),
        };
        if meta.is_dir() {
            let below = before.as_ref().and_then(|entry| entry.directory());
            let inside = compare(root, &inner, below, found)?;
            kind = kind.or(inside.then_some(ChangeKind::Modified));
        }
        changed |= kind.is_some();
        found.extend(kind.map(|kind| Change { path: inner, kind }));
    }
    for name in old.into_keys() {
        changed = true;
        let kind = ChangeKind::Deleted;
        found.push(Change { path: path.join(name), kind });
    }
    Ok(changed)
}

/// Size and time tell whether a file was written to, as in Docker; reading
/// both copies of every file of an image would take minutes. A directory's
/// time changes with its entries, which are compared one by one anyway.
fn differs(new: &Path, meta: &Metadata, old: &Path) -> Result<bool> {
    let before = lstat(old)?;
    let owner = |m: &Metadata| (m.uid(), m.gid(), m.mode(), m.rdev());
    if owner(meta) != owner(&before) {
        return Ok(true);
    }
    if meta.is_dir() {
        return Ok(attributes(new)? != attributes(old)?);
    }
    let stamp = |m: &Metadata| (m.size(), m.mtime(), m.mtime_nsec());
    if meta.is_symlink() {
        let target = |path: &Path| {
            fs::read_link(path).map_err(at("read the link", path))
        };
        return Ok(target(new)? != target(old)?);
    }
    Ok(stamp(meta) != stamp(&before) || attributes(new)? != attributes(old)?)
}

/// A link is a file of its own here, never what it points to.
fn lstat(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(at("look at", path))
}

/// read_dir gives the order of the file system's hash, which differs from disk
/// to disk.
pub(crate) fn sorted_names(directory: &Path) -> Result<Vec<OsString>> {
    let list = |directory: &Path| -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|e| Ok(e?.file_name())).collect()
    };
    let mut names = list(directory).map_err(at("list", directory))?;
    names.sort();
    Ok(names)
}

/// Writes entries in the order in which they come.
pub(crate) struct LayerWriter<'a> {
    tar: Builder<&'a mut dyn Write>,
    clamp: Option<u64>,
    /// Where each file with several names was written first.
    links: HashMap<(u64, u64), PathBuf>,
    /// Bytes in regular files so far.
    size: u64,
}

impl<'a> LayerWriter<'a> {
    /// Nothing is written yet.
    pub(crate) fn new(out: &'a mut dyn Write, clamp: Option<u64>) -> Self {
        let (tar, links) = (Builder::new(out), HashMap::new());
        Self { tar, clamp, links, size: 0 }
    }

    /// Two blocks of zeros end a tar.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.tar.finish().map_err(at("finish", Path::new("the tar")))
    }

    /// Everything below `root/path`, in the order of names.
    pub(crate) fn tree(&mut self, root: &Path, path: &Path) -> Result<()> {
        let here = root.join(path);
        for name in sorted_names(&here)? {
            let (source, inner) = (here.join(&name), path.join(&name));
            let meta = lstat(&source)?;
            if crate::merged::is_whiteout(&meta) {
                self.whiteout(&inner)?;
                continue;
            }
            self.entry(&source, &inner)?;
            if meta.is_dir() {
                if crate::merged::is_opaque(&source) {
                    self.empty(&inner.join(".wh..wh..opq"))?;
                }
                self.tree(root, &inner)?;
            }
        }
        Ok(())
    }

    /// "The file of this name in the layers below is gone."
    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let mut name = OsString::from(".wh.");
        name.push(path.file_name().unwrap_or_default());
        self.empty(&path.with_file_name(name))
    }

    /// Markers have no owner, mode or time that means anything; fixed values
    /// keep the bytes the same.
    fn empty(&mut self, path: &Path) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header.set_mtime(0);
        let written = self.append(&mut header, path, io::empty());
        written.map_err(at("write", path))
    }

    /// One file of any type, under the name `path`.
    pub(crate) fn entry(&mut self, source: &Path, path: &Path) -> Result<()> {
        let meta = lstat(source)?;
        let kind = meta.file_type();
        if kind.is_socket() {
            // A tar cannot hold one, and without its server it is dead.
            return Ok(());
        }
        let mut header = self.header(&meta);
        if !kind.is_dir() && meta.nlink() > 1 {
            let key = (meta.dev(), meta.ino());
            if let Some(first) = self.links.get(&key) {
                header.set_entry_type(EntryType::Link);
                let first = first.clone().into_os_string();
                let linked = self.link(&mut header, path, first.as_bytes());
                return linked.map_err(at("write the link", source));
            }
            self.links.insert(key, path.to_owned());
        }
        self.attributes(source)?;
        self.body(source, path, &meta, header).map_err(at("write", source))
    }

    /// Names of users and groups stay empty: they would be this machine's.
    fn header(&self, meta: &Metadata) -> Header {
        let mut header = Header::new_gnu();
        let mtime = meta.mtime().max(0).cast_unsigned();
        header.set_mtime(self.clamp.map_or(mtime, |max| mtime.min(max)));
        header.set_mode(meta.mode() & 0o7777);
        header.set_uid(meta.uid().into());
        header.set_gid(meta.gid().into());
        header.set_size(0);
        header
    }

    fn body(
        &mut self,
        source: &Path,
        path: &Path,
        meta: &Metadata,
        mut header: Header,
    ) -> io::Result<()> {
        let kind = meta.file_type();
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(source)?.into_os_string();
            return self.link(&mut header, path, target.as_bytes());
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(meta.size());
            self.size += meta.size();
            // A file that grows meanwhile must not spill into the next
            // header; one that shrinks is an error in `append`.
            let data = io::Read::take(File::open(source)?, meta.size());
            return self.append(&mut header, path, data);
        }
        header.set_entry_type(if kind.is_dir() {
            EntryType::Directory
        } else if kind.is_fifo() {
            EntryType::Fifo
        } else if kind.is_block_device() {
            EntryType::Block
        } else {
            EntryType::Char
        });
        if kind.is_block_device() || kind.is_char_device() {
            header.set_device_major(rustix::fs::major(meta.rdev()))?;
            header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
        }
        let mut name = path.as_os_str().to_owned();
        if kind.is_dir() {
            name.push("/");
        }
        self.append(&mut header, Path::new(&name), io::empty())
    }

    /// The target goes in as it is: `append_link` would tidy it up, and
    /// `./a` and `a` are not the same link to a program that reads it.
    fn link(
        &mut self,
        header: &mut Header,
        path: &Path,
        target: &[u8],
    ) -> io::Result<()> {
        if header.set_link_name_literal(target).is_err() {
            self.long(EntryType::GNULongLink, target)?;
        }
        self.append(header, path, io::empty())
    }

    /// The tar crate takes care of names longer than the header's 100 bytes:
    /// the whole name goes before the entry, its beginning into the header.
    /// But it refuses a beginning that is no path of its own, and that is
    /// what is left of a name whose first byte is not UTF-8, or of one that
    /// is cut behind the dots of `a/..b`.
    fn append(
        &mut self,
        header: &mut Header,
        path: &Path,
        data: impl io::Read,
    ) -> io::Result<()> {
        let name = path.as_os_str().as_bytes();
        if beginning_is_a_path(name) {
            return self.tar.append_data(header, path, data);
        }
        self.long(EntryType::GNULongName, name)?;
        // Whoever knows of long names does not look at this one.
        header.set_path("long-name")?;
        header.set_cksum();
        self.tar.append(header, data)
    }

    /// An entry of GNU tar that holds a name for the one after it.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink")?;
        header.set_entry_type(kind);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.tar.append(&header, io::Read::chain(name, &[0][..]))
    }

    /// Extended attributes travel as PAX records before the entry.
    fn attributes(&mut self, source: &Path) -> Result<()> {
        let found = attributes(source)?;
        if found.is_empty() {
            return Ok(());
        }
        let records = found.iter().map(|(name, value)| {
            (format!("SCHILY.xattr.{name}"), value.as_slice())
        });
        let records: Vec<(String, &[u8])> = records.collect();
        let records = records.iter().map(|(k, v)| (k.as_str(), *v));
        let written = self.tar.append_pax_extensions(records);
        written.map_err(at("write the attributes of", source))
    }
}

/// Whether what fits into a header of a name that does not is a path inside
/// the archive.
fn beginning_is_a_path(name: &[u8]) -> bool {
    const FITS: usize = 100;
    let Some(cut) = name.get(..FITS).filter(|cut| cut.len() < name.len())
    else {
        return true;
    };
    let valid = cut.utf8_chunks().next().map_or("", |it| it.valid());
    let mut parts = Path::new(valid).components().peekable();
    parts.peek().is_some() && parts.all(|it| matches!(it, Component::Normal(_)))
}

/// The extended attributes that belong to the file and not to this machine:
/// capabilities and what users set. Overlay's own marks, SELinux labels and
/// ACLs of the host stay behind.
pub(crate) fn attributes(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut names = [0_u8; 4096];
    let names = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => &names[..length],
        // Not on this file system, or (ERANGE) more than Docker keeps.
        Err(_) => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let user =
            name.starts_with("user.") && !name.starts_with("user.overlay.");
        if name != "security.capability" && !user {
            continue;
        }
        let mut value = vec![0_u8; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .map_err(io::Error::from)
            .map_err(at("read an attribute of", path))?;
        value.truncate(length);
        found.push((name.to_owned(), value));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
