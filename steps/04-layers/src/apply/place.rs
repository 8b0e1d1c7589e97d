//! Putting one entry into the layer.
//!
//! The rule for all kinds: resolve the *directory* (links in it count, but
//! inside the layer only), then make the last component new, following
//! nothing. What has the name already is removed first, unless both are
//! directories. So an entry can be replaced but never written through.

use std::rc::Rc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{clean, open_dir, remove_tree};
use super::entries::{Entries, Entry, Kind};
use super::error::sys;
use super::{Applier, TarError};

/// Before the name of something that is gone.
///
/// The three names are those of the OCI image specification ("Whiteouts"),
/// and AUFS's before.
const WHITEOUT: &[u8] = b".wh.";
/// In a directory: nothing from below shows through.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of AUFS, which had the idea first; they mean nothing here.
const AUFS: &[u8] = b".wh..wh.";

/// Where an entry goes.
struct Place {
    /// Cleaned, from the layer's root.
    path: Vec<u8>,
    /// The directory that it is in, links on the way resolved.
    dir: Rc<OwnedFd>,
    /// Its last component: never a path, so it cannot lead anywhere.
    name: Vec<u8>,
}

impl Applier {
    /// Makes what the entry says, where it says. An entry's last component
    /// is never followed, whatever is there already.
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
    ///
    /// Many tars begin with it. Without it the root has mode 0755.
    fn root(&mut self, entry: &Entry) -> Result<(), TarError> {
        if entry.kind != Kind::Directory {
            let problem = "the root of a layer must be a directory";
            return Err(TarError::entry(&entry.path, problem));
        }
        let root = self.dirs.get(b"")?;
        self.attributes(root.as_fd(), entry, true)?;
        self.dirs.set_last(b"", self.mode(entry), entry.mtime);
        Ok(())
    }

    /// `O_EXCL` and `O_NOFOLLOW`: always a new file, never one that a link
    /// leads to, and never a FIFO that would have us wait for a reader. Until
    /// its owner is set nobody else may read it.
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

    /// A directory that comes twice is one: the second time says only what
    /// its attributes are.
    fn directory(
        &mut self,
        entry: &Entry,
        place: &Place,
    ) -> Result<(), TarError> {
        let opaque = self.make_directory(entry, place)?;
        let dir = open_dir(&place.dir, &place.name)
            .map_err(sys(&entry.path, "open"))?;
        self.attributes(dir.as_fd(), entry, true)?;
        if opaque {
            self.mark_opaque(&dir, &entry.path)?;
        }
        self.dirs.set_last(&place.path, self.mode(entry), entry.mtime);
        self.dirs.remember(&place.path, dir)?;
        Ok(())
    }

    /// True when it takes the place of a whiteout: the directory below was
    /// deleted and this one made anew, so nothing of the old may show.
    fn make_directory(
        &mut self,
        entry: &Entry,
        place: &Place,
    ) -> Result<bool, TarError> {
        let mode = Mode::from_raw_mode(0o755);
        let make =
            || rustix::fs::mkdirat(&place.dir, place.name.as_slice(), mode);
        match make() {
            Ok(()) => return Ok(false),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(sys(&entry.path, "make")(e)),
        }
        let before = self.existing(place)?;
        if before == Existing::Directory {
            return Ok(false);
        }
        if self.options.keep_kinds {
            // Docker's words.
            let problem = "cannot overwrite non-directory with directory";
            return Err(TarError::entry(&entry.path, problem));
        }
        self.clear(place)?;
        make().map_err(sys(&entry.path, "make"))?;
        Ok(before == Existing::Whiteout)
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
    ///
    /// Both names are of this layer. A link into a lower layer is not
    /// possible: overlayfs copies a file up as a new inode, so a tar that
    /// needs it was not made from a layer.
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

    /// A device file is only a name for a driver; whether a container may
    /// open it is for the cgroup to say (step 3).
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
        if kind != FileType::Fifo && !self.options.privileges {
            self.warn("device files are left out".to_owned());
            return Ok(());
        }
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

    /// Deleting is adding: the lower layer cannot be changed, so this one
    /// says that a name of it does not count.
    fn whiteout(
        &mut self,
        entry: &Entry,
        above: &[u8],
        place: &Place,
    ) -> Result<(), TarError> {
        if place.name == OPAQUE {
            // Attributes cannot be set through the O_PATH descriptor.
            let dir = open_dir(&place.dir, b".");
            return self.mark_opaque(dir.map_err(sys(above, "open"))?, above);
        }
        if place.name.starts_with(AUFS) {
            return Ok(());
        }
        let name = &place.name[WHITEOUT.len()..];
        if name.is_empty() || name == b"." || name == b".." {
            let problem = "a whiteout that names nothing";
            return Err(TarError::entry(&entry.path, problem));
        }
        // Since Linux 5.8 this one device needs no privilege.
        let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
        match rustix::fs::mknodat(&place.dir, name, kind, mode, 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => self.hide_below(entry, place, name),
            Err(e) => Err(sys(&entry.path, "make the whiteout")(e)),
        }
    }

    /// A whiteout speaks of lower layers only, and this layer has something
    /// of that name. A file hides what is below by itself, a directory has
    /// to be told.
    fn hide_below(
        &mut self,
        entry: &Entry,
        place: &Place,
        name: &[u8],
    ) -> Result<(), TarError> {
        match open_dir(&place.dir, name) {
            Ok(dir) => self.mark_opaque(dir, &entry.path),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(e) => Err(sys(&entry.path, "open")(e)),
        }
    }

    /// Makes something new, if need be instead of what has its name.
    ///
    /// `make` is called a second time after the old thing is gone, and must
    /// not be half done by the first.
    fn in_place<T>(
        &mut self,
        place: &Place,
        action: &'static str,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, TarError> {
        self.try_in_place(place, make)?.map_err(sys(&place.path, action))
    }

    /// First tries, then looks: nearly always there is nothing in the way.
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

    /// Removes what is in the way. Cached directories may have been in it.
    fn clear(&mut self, place: &Place) -> Result<(), TarError> {
        self.dirs.forget();
        remove_tree(&place.dir, &place.name)
            .map_err(sys(&place.path, "replace"))
    }

    /// Looks at the name itself, not at what a link leads to.
    fn existing(&self, place: &Place) -> Result<Existing, TarError> {
        let name = place.name.as_slice();
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&place.dir, name, nofollow)
            .map(|stat| Existing::of(&stat))
            .map_err(sys(&place.path, "look at"))
    }
}

/// What has the name already, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
enum Existing {
    Directory,
    Whiteout,
    Other,
}

impl Existing {
    /// overlayfs takes exactly this device for a whiteout; see
    /// `fs/overlayfs/util.c`, `ovl_is_whiteout`.
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

/// Copies at most `length` bytes of the content to an offset, straight from
/// the buffer that the other thread filled.
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

/// The directory and the last component; the root is the empty path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
