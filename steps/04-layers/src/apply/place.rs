//! Putting one entry into the layer.

use std::rc::Rc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{clean, remove_tree};
use super::entries::{Entries, Entry, Kind};
use super::error::sys;
use super::{Applier, TarError};

/// Before the name of something that is gone.
const WHITEOUT: &[u8] = b".wh.";
/// In a directory: nothing from below shows through.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of AUFS, which had the idea first; they mean nothing here.
const AUFS: &[u8] = b".wh..wh.";

/// Where an entry goes.
struct Place {
    path: Vec<u8>,
    dir: Rc<OwnedFd>,
    name: Vec<u8>,
}

impl Applier {
    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Entries<'_>,
    ) -> Result<(), TarError> {
        let path = clean(&entry.path, self.options.limits.depth)?;
        if path.is_empty() {
            return self.root(entry);
        }
        let (above, name) = split(&path);
        let place = Place {
            dir: self.dirs.get(above)?,
            name: name.to_vec(),
            path: path.clone(),
        };
        if self.options.whiteouts && name.starts_with(WHITEOUT) {
            return self.whiteout(entry, above, &place);
        }
        match entry.kind {
            Kind::File => self.file(entry, content, &place),
            Kind::Directory => self.directory(entry, &place),
            Kind::Symlink => self.symlink(entry, &place),
            Kind::HardLink => self.hard_link(entry, &place),
            Kind::Char | Kind::Block | Kind::Fifo => self.node(entry, &place),
        }
    }

    /// `./`: the root directory itself, which has an owner and a mode too.
    fn root(&mut self, entry: &Entry) -> Result<(), TarError> {
        if entry.kind != Kind::Directory {
            let problem = "the root of a layer must be a directory";
            return Err(TarError::entry(&entry.path, problem));
        }
        let root = self.dirs.get(b"")?;
        self.attributes(root.as_fd(), entry, true)?;
        self.dirs.set_last(b"", entry.mode, entry.mtime);
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        content: &mut Entries<'_>,
        place: &Place,
    ) -> Result<(), TarError> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = self.in_place(place, "create", || {
            rustix::fs::openat(&place.dir, place.name.as_slice(), flags, mode)
        })?;
        let size = match &entry.sparse {
            None => copy(entry, content, &file, 0, u64::MAX)?,
            Some(sparse) => {
                for (offset, length) in &sparse.map {
                    copy(entry, content, &file, *offset, *length)?;
                }
                rustix::fs::ftruncate(&file, sparse.real)
                    .map_err(sys(&entry.path, "set its length"))?;
                sparse.real
            }
        };
        self.summary.size += size;
        self.attributes(file.as_fd(), entry, false)
    }

    fn directory(
        &mut self,
        entry: &Entry,
        place: &Place,
    ) -> Result<(), TarError> {
        let name = place.name.as_slice();
        let mode = Mode::from_raw_mode(0o755);
        let mut opaque = false;
        match rustix::fs::mkdirat(&place.dir, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => match self.existing(place)? {
                Existing::Directory => {}
                _ if self.options.keep_kinds => {
                    let problem =
                        "cannot overwrite non-directory with directory";
                    return Err(TarError::entry(&entry.path, problem));
                }
                other => {
                    // Deleted below and made anew here: of the directory
                    // below nothing may show.
                    opaque = other == Existing::Whiteout;
                    self.clear(place)?;
                    rustix::fs::mkdirat(&place.dir, name, mode)
                        .map_err(sys(&entry.path, "make"))?;
                }
            },
            Err(e) => return Err(sys(&entry.path, "make")(e)),
        }
        let flags = OFlags::RDONLY
            | OFlags::DIRECTORY
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&place.dir, name, flags, Mode::empty())
            .map_err(sys(&entry.path, "open"))?;
        self.attributes(dir.as_fd(), entry, true)?;
        if opaque {
            self.mark_opaque(&dir, &entry.path)?;
        }
        self.dirs.set_last(&place.path, entry.mode, entry.mtime);
        self.dirs.remember(&place.path, dir)?;
        Ok(())
    }

    fn symlink(
        &mut self,
        entry: &Entry,
        place: &Place,
    ) -> Result<(), TarError> {
        let target = entry.link.as_slice();
        if target.is_empty() || target.contains(&0) {
            let problem = "a symbolic link without a proper target";
            return Err(TarError::entry(&entry.path, problem));
        }
        let name = place.name.as_slice();
        self.in_place(place, "make the link", || {
            rustix::fs::symlinkat(target, &place.dir, name)
        })?;
        self.attributes_at(place.dir.as_fd(), name, entry, true)
    }

    /// The target is another entry of this layer, resolved in the layer. The
    /// link itself is not followed at its end: linkat(2) without
    /// AT_SYMLINK_FOLLOW makes a second name for a symbolic link.
    fn hard_link(
        &mut self,
        entry: &Entry,
        place: &Place,
    ) -> Result<(), TarError> {
        let target = clean(&entry.link, self.options.limits.depth)?;
        if target == place.path {
            // A file that is a link to itself is just that file.
            return Ok(());
        }
        let problem = |text| Err(TarError::entry(&entry.path, text));
        if target.is_empty() {
            return problem("a hard link to a directory");
        }
        let (above, old) = split(&target);
        let from = self.dirs.get(above)?;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(&from, old, nofollow) {
            Err(Errno::NOENT) => {
                return problem(
                    "a hard link to a file that is not in the layer",
                );
            }
            Err(e) => return Err(sys(&entry.path, "find its target")(e)),
            Ok(stat) => match Existing::of(&stat) {
                Existing::Directory => {
                    return problem("a hard link to a directory");
                }
                Existing::Whiteout => {
                    return problem("a hard link to a deleted file");
                }
                Existing::Other => {}
            },
        }
        let name = place.name.as_slice();
        self.in_place(place, "make the hard link", || {
            rustix::fs::linkat(&from, old, &place.dir, name, AtFlags::empty())
        })
    }

    fn node(&mut self, entry: &Entry, place: &Place) -> Result<(), TarError> {
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Block => FileType::BlockDevice,
            _ if (major, minor) == (0, 0) => {
                let problem = "a character device 0:0 means a deleted file \
                               to overlayfs; a layer says that with .wh.";
                return Err(TarError::entry(&entry.path, problem));
            }
            _ => FileType::CharacterDevice,
        };
        let name = place.name.as_slice();
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o600);
        let made = self.try_in_place(place, || {
            rustix::fs::mknodat(&place.dir, name, kind, mode, device)
        })?;
        match made {
            Ok(()) => self.attributes_at(place.dir.as_fd(), name, entry, false),
            // In a user namespace nobody may make devices, and a container
            // gets its own /dev anyway.
            Err(Errno::PERM) if kind != FileType::Fifo => {
                self.warn(
                    "device files cannot be made without root and are \
                     left out"
                        .to_owned(),
                );
                Ok(())
            }
            Err(e) => Err(sys(&entry.path, "make the device")(e)),
        }
    }

    fn whiteout(
        &mut self,
        entry: &Entry,
        above: &[u8],
        place: &Place,
    ) -> Result<(), TarError> {
        if place.name == OPAQUE {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir =
                rustix::fs::openat(&place.dir, c".", flags, Mode::empty())
                    .map_err(sys(above, "open"))?;
            return self.mark_opaque(dir, above);
        }
        if place.name.starts_with(AUFS) {
            return Ok(());
        }
        let name = &place.name[WHITEOUT.len()..];
        if name.is_empty() || name == b"." || name == b".." {
            let problem = "a whiteout that names nothing";
            return Err(TarError::entry(&entry.path, problem));
        }
        let gone = Place {
            name: name.to_vec(),
            path: Vec::new(),
            dir: Rc::clone(&place.dir),
        };
        let mode = Mode::empty();
        let kind = FileType::CharacterDevice;
        match rustix::fs::mknodat(&gone.dir, name, kind, mode, 0) {
            Ok(()) => Ok(()),
            // A whiteout speaks of lower layers only. A file of this layer
            // hides them by itself, a directory has to be told.
            Err(Errno::EXIST) => match self.existing(&gone)? {
                Existing::Directory => {
                    let flags = OFlags::RDONLY
                        | OFlags::DIRECTORY
                        | OFlags::NOFOLLOW
                        | OFlags::CLOEXEC;
                    let dir = rustix::fs::openat(&gone.dir, name, flags, mode)
                        .map_err(sys(&entry.path, "open"))?;
                    self.mark_opaque(dir, &entry.path)
                }
                _ => Ok(()),
            },
            Err(e) => Err(sys(&entry.path, "make the whiteout")(e)),
        }
    }

    /// Makes something new, if need be instead of what has its name.
    fn in_place<T>(
        &mut self,
        place: &Place,
        action: &'static str,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, TarError> {
        self.try_in_place(place, make)?.map_err(sys(&place.path, action))
    }

    fn try_in_place<T>(
        &mut self,
        place: &Place,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>, TarError> {
        match make() {
            Err(Errno::EXIST) => {
                if self.options.keep_kinds
                    && self.existing(place)? == Existing::Directory
                {
                    let problem =
                        "cannot overwrite directory with non-directory";
                    return Err(TarError::entry(&place.path, problem));
                }
                self.clear(place)?;
                Ok(make())
            }
            other => Ok(other),
        }
    }

    fn clear(&mut self, place: &Place) -> Result<(), TarError> {
        self.dirs.forget();
        remove_tree(&place.dir, &place.name)
            .map_err(sys(&place.path, "replace"))
    }

    fn existing(&self, place: &Place) -> Result<Existing, TarError> {
        let name = place.name.as_slice();
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&place.dir, name, nofollow)
            .map(|stat| Existing::of(&stat))
            .map_err(sys(&place.path, "look at"))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Existing {
    Directory,
    Whiteout,
    Other,
}

impl Existing {
    fn of(stat: &rustix::fs::Stat) -> Existing {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Existing::Directory,
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                Existing::Whiteout
            }
            _ => Existing::Other,
        }
    }
}

/// Copies at most `length` bytes of the content to an offset.
fn copy(
    entry: &Entry,
    content: &mut Entries<'_>,
    file: &OwnedFd,
    offset: u64,
    length: u64,
) -> Result<u64, TarError> {
    let mut done = 0;
    while done < length {
        let bytes = content.content()?;
        if bytes.is_empty() {
            break;
        }
        let most = usize::try_from(length - done).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(most)];
        let written = match rustix::io::pwrite(file, bytes, offset + done) {
            Err(Errno::INTR) => continue,
            other => other.map_err(sys(&entry.path, "write"))?,
        };
        content.consume(written);
        done += written as u64;
    }
    Ok(done)
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
