//! A directory tree as a tar, read through file descriptors only: what a
//! running container renames meanwhile cannot lead us out of its root.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::archive::name_of;

/// Writes a tree.
pub(super) struct Tree<W: Write> {
    tar: Builder<W>,
    /// Files with several names, by the first.
    names: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Tree<W> {
    pub(super) fn new(out: W) -> Self {
        Tree { tar: Builder::new(out), names: HashMap::new() }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.tar.finish()
    }

    /// One object, `name` in `dir`, as `path` in the tar, with all below.
    pub(super) fn entry(
        &mut self,
        dir: &OwnedFd,
        name: &str,
        path: &Path,
    ) -> io::Result<()> {
        self.object(dir, name.as_bytes(), path)
    }

    /// A directory that is open already, as `path`; the empty path leaves
    /// the directory itself out.
    pub(super) fn directory(
        &mut self,
        dir: &OwnedFd,
        path: &Path,
    ) -> io::Result<()> {
        if !path.as_os_str().is_empty() {
            let stat = rustix::fs::fstat(dir)?;
            let mut header = header(&stat, EntryType::Directory);
            let name = path.join("");
            self.put(&mut header, &name, io::empty())?;
        }
        self.below(dir, path)
    }

    fn below(&mut self, dir: &OwnedFd, path: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = name_of(entry.file_name()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            match self.object(dir, name.as_bytes(), &path.join(&name)) {
                // It was there a moment ago.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &Path,
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.names.get(&key) {
                let first = first.clone();
                let mut header = header(&stat, EntryType::Link);
                self.link(&mut header, first.as_os_str().as_bytes())?;
                return self.put(&mut header, path, io::empty());
            }
            self.names.insert(key, path.to_owned());
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY
                    | OFlags::DIRECTORY
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let inner =
                    rustix::fs::openat(dir, name, flags, Mode::empty())?;
                self.directory(&inner, path)
            }
            FileType::RegularFile => self.file(dir, name, path),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                let mut header = header(&stat, EntryType::Symlink);
                self.link(&mut header, target.as_bytes())?;
                self.put(&mut header, path, io::empty())
            }
            // A socket is nothing without the process behind it.
            FileType::Socket => Ok(()),
            other => self.node(&stat, other, path),
        }
    }

    fn file(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &Path,
    ) -> io::Result<()> {
        // Not blocking, in case it has become a FIFO since.
        let flags = OFlags::RDONLY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.attributes(file.as_fd())?;
        let mut header = header(&stat, EntryType::Regular);
        if is_made_when_read(&file) {
            let content = what_is_read(File::from(file));
            header.set_size(content.len() as u64);
            return self.put(&mut header, path, &content[..]);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        header.set_size(size);
        // The size is promised in the header: a file that grows is cut, one
        // that shrinks is filled up.
        let content = File::from(file).chain(io::repeat(0)).take(size);
        self.put(&mut header, path, content)
    }

    /// File capabilities are an extended attribute; without them `ping`
    /// would not work any more on the other side.
    fn attributes(&mut self, file: impl AsFd) -> io::Result<()> {
        const CAPABILITY: &str = "security.capability";
        let mut value = [0; 64];
        match rustix::fs::fgetxattr(&file, CAPABILITY, &mut value) {
            Ok(length) => {
                let key = format!("SCHILY.xattr.{CAPABILITY}");
                let pairs = [(key.as_str(), &value[..length])];
                self.tar.append_pax_extensions(pairs)
            }
            Err(_) => Ok(()),
        }
    }

    fn node(
        &mut self,
        stat: &Stat,
        kind: FileType,
        path: &Path,
    ) -> io::Result<()> {
        let kind = match kind {
            FileType::BlockDevice => EntryType::Block,
            FileType::CharacterDevice => EntryType::Char,
            FileType::Fifo => EntryType::Fifo,
            _ => return Ok(()),
        };
        let mut header = header(stat, kind);
        header.set_device_major(rustix::fs::major(stat.st_rdev))?;
        header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        self.put(&mut header, path, io::empty())
    }
}

/// Whether the kernel makes the content up while it is read, so that the
/// size says nothing: most files of procfs have 0 bytes, sysfs's 4096.
fn is_made_when_read(file: &OwnedFd) -> bool {
    use nix::libc;
    rustix::fs::fstatfs(file).is_ok_and(|it| {
        matches!(
            it.f_type,
            libc::PROC_SUPER_MAGIC
                | libc::SYSFS_MAGIC
                | libc::CGROUP_SUPER_MAGIC
                | libc::CGROUP2_SUPER_MAGIC
        )
    })
}

/// The content of such a file. Some cannot be read, which must not spoil
/// the copy of all others; `/proc/kcore` is as large as the address space.
fn what_is_read(file: File) -> Vec<u8> {
    const MOST: u64 = 16 << 20;
    let mut content = Vec::new();
    // What came before an error counts.
    let _ = file.take(MOST).read_to_end(&mut content);
    content
}

/// Bytes of a name in a header; longer ones go into an entry before it.
const NAME: usize = 100;

impl<W: Write> Tree<W> {
    /// Writes an entry under exactly this name. The tar crate would take the
    /// `./` away, by which the docker command recognises what to rename.
    fn put(
        &mut self,
        header: &mut Header,
        path: &Path,
        content: impl Read,
    ) -> io::Result<()> {
        let name = path.as_os_str().as_bytes();
        if name.len() > NAME {
            self.long(b'L', name)?;
        }
        let short = &name[..name.len().min(NAME)];
        header.as_old_mut().name[..short.len()].copy_from_slice(short);
        header.set_cksum();
        self.tar.append(header, content)
    }

    fn link(&mut self, header: &mut Header, target: &[u8]) -> io::Result<()> {
        if target.len() > NAME {
            self.long(b'K', target)?;
        }
        header.set_link_name_literal(&target[..target.len().min(NAME)])
    }

    /// GNU's way to write a name of more than 100 bytes: an entry of type L
    /// (or K, for a link's target) whose content is the name.
    fn long(&mut self, kind: u8, name: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        let own = b"././@LongLink";
        header.as_old_mut().name[..own.len()].copy_from_slice(own);
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.tar.append(&header, name.chain(&b"\0"[..]))
    }
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_back_with_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("top");
        std::fs::create_dir_all(path.join("in")).unwrap();
        std::fs::write(path.join("in/a"), "text").unwrap();
        std::fs::hard_link(path.join("in/a"), path.join("in/b")).unwrap();
        std::os::unix::fs::symlink("/etc", path.join("link")).unwrap();
        let above = OwnedFd::from(File::open(dir.path()).unwrap());
        let mut bytes = Vec::new();
        let mut tree = Tree::new(&mut bytes);
        tree.entry(&above, "top", Path::new("top")).unwrap();
        tree.finish().unwrap();
        let mut tar = tar::Archive::new(&bytes[..]);
        let list: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                format!("{:?} {path}", entry.header().entry_type())
            })
            .collect();
        insta::assert_snapshot!(list.join("\n"), @r"
        Directory top/
        Directory top/in/
        Regular top/in/a
        Link top/in/b
        Symlink top/link
        ");
    }

    #[test]
    fn a_file_that_the_kernel_makes_up_is_copied_whole() {
        let proc = OwnedFd::from(File::open("/proc").unwrap());
        let mut bytes = Vec::new();
        let mut tree = Tree::new(&mut bytes);
        tree.entry(&proc, "version", Path::new("version")).unwrap();
        tree.finish().unwrap();
        let mut tar = tar::Archive::new(&bytes[..]);
        let mut entry = tar.entries().unwrap().next().unwrap().unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, std::fs::read_to_string("/proc/version").unwrap());
    }
}
