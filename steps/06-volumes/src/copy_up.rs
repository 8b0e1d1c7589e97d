//! First use: what the image has at the place of an empty volume is copied
//! into it. That is how a volume over `/usr/share/nginx/html` starts with
//! nginx's own page, and one over `/var/lib/postgresql/data` belongs to the
//! user `postgres` and not to root.
//!
//! Docker does this for volumes and never for binds: what a user names by a
//! path is the user's, and must not be filled with somebody else's files.
//!
//! All of it goes by file descriptors and never follows a symbolic link: the
//! volume may be mounted in another, running container, which could turn a
//! directory into a link to the host's `/etc` between two of our steps.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat,
    Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::{Errno, Result as Answer};

use crate::Error;
use crate::error::from_rustix;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Copies what is at `target` inside `rootfs` into the directory `volume`,
/// if that is empty. Says whether anything was copied.
///
/// Owner, mode and times of the directory itself are taken over even if
/// there is nothing in it. A `target` that the image does not have, or that
/// is no directory, is nothing to copy.
///
/// # Errors
/// [`Error::CopyUp`] names the step and the file.
pub fn copy_up(
    rootfs: &Path,
    target: &Path,
    volume: &Path,
) -> Result<bool, Error> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |error| Error::CopyUp { action, path, source: from_rustix(error) }
    };
    let to = rustix::fs::open(volume, DIRECTORY, Mode::empty())
        .map_err(failed("open", volume))?;
    if !is_empty(to.as_fd()).map_err(failed("read", volume))? {
        return Ok(false);
    }
    let from = match open_in(rootfs, target) {
        Ok(from) => from,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(error) => return Err(failed("open", target)(error)),
    };
    let mut copy = Copy { links: HashMap::new(), at: PathBuf::new() };
    let copied = copy.directory(from.as_fd(), to.as_fd());
    copied.map_err(|(action, errno)| failed(action, &copy.at)(errno))
}

/// Opens a directory of the image as the container would see it: a link to
/// `/data` means the container's `/data`, not the host's (openat2(2)).
fn open_in(rootfs: &Path, target: &Path) -> Answer<OwnedFd> {
    let root = rustix::fs::open(rootfs, DIRECTORY, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&root, target, flags, Mode::empty(), resolve)
}

/// Whether nobody has put anything into it yet.
fn is_empty(dir: BorrowedFd<'_>) -> Answer<bool> {
    for entry in Dir::read_from(dir)? {
        // What mkfs puts into the root of a new ext4 is not data.
        let name = entry?.file_name().to_owned();
        if ![c".", c"..", c"lost+found"].contains(&name.as_c_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A failed step and its reason; the file is in [`Copy::at`].
type Step<T> = Result<T, (&'static str, Errno)>;

/// Names the step for whatever call is made in it.
trait During<T> {
    fn during(self, action: &'static str) -> Step<T>;
}

impl<T> During<T> for Answer<T> {
    fn during(self, action: &'static str) -> Step<T> {
        self.map_err(|errno| (action, errno))
    }
}

/// One copy of a tree, on its way.
struct Copy {
    /// Files with several names, by device and inode: the second name
    /// becomes a link to the first copy.
    links: HashMap<(u64, u64), (OwnedFd, CString)>,
    /// Where we are, for errors.
    at: PathBuf,
}

impl Copy {
    /// Says whether there was anything in it.
    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> Step<bool> {
        let mut any = false;
        for entry in Dir::read_from(from).during("read")? {
            let entry = entry.during("read")?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let part = OsString::from_vec(name.to_bytes().to_vec());
            self.at.push(part);
            self.entry(from, to, name)?;
            self.at.pop();
            any = true;
        }
        // Last: filling a directory changes its times, and one that may not
        // be written could not have been filled.
        let stat = rustix::fs::fstat(from).during("stat")?;
        copy_xattrs(from, to)?;
        owner_and_times(to, &stat)?;
        Ok(any)
    }

    /// One name in a directory, whatever it is.
    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
    ) -> Step<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(from, name, flags).during("stat")?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && self.link(&stat, to, name)? {
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                let mode = Mode::from_raw_mode(0o700);
                rustix::fs::mkdirat(to, name, mode).during("make")?;
                let from = open_at(from, name, DIRECTORY)?;
                let to = open_at(to, name, DIRECTORY)?;
                return self.directory(from.as_fd(), to.as_fd()).map(drop);
            }
            FileType::RegularFile => file(from, to, name, &stat)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())
                    .during("read")?;
                rustix::fs::symlinkat(target, to, name).during("make")?;
                special(to, name, &stat)?;
            }
            // A socket is of no use without the process behind it.
            FileType::Socket => return Ok(()),
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)
                    .during("make")?;
                special(to, name, &stat)?;
            }
        }
        self.remember(&stat, to, name)
    }

    /// Makes a hard link if the file was copied under another name.
    fn link(&self, stat: &Stat, to: BorrowedFd<'_>, name: &CStr) -> Step<bool> {
        let key = (stat.st_dev, stat.st_ino);
        let Some((dir, first)) = self.links.get(&key) else {
            return Ok(false);
        };
        rustix::fs::linkat(dir, first, to, name, AtFlags::empty())
            .during("link")?;
        Ok(true)
    }

    /// Notes where the first copy of a file with more names is.
    fn remember(
        &mut self,
        stat: &Stat,
        to: BorrowedFd<'_>,
        name: &CStr,
    ) -> Step<()> {
        if stat.st_nlink > 1 {
            let dir = to.try_clone_to_owned().map_err(|error| {
                let errno = Errno::from_io_error(&error);
                ("open", errno.unwrap_or(Errno::IO))
            })?;
            let key = (stat.st_dev, stat.st_ino);
            self.links.insert(key, (dir, name.to_owned()));
        }
        Ok(())
    }
}

/// `flags` must have NOFOLLOW: what was a directory when it was listed may be
/// a link by now.
fn open_at(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Step<OwnedFd> {
    rustix::fs::openat(dir, name, flags, Mode::empty()).during("open")
}

/// A regular file: content, then attributes, then owner, mode and times.
fn file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
) -> Step<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let write = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::EXCL
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC;
    let from = open_at(from, name, read)?;
    let to = rustix::fs::openat(to, name, write, Mode::from_raw_mode(0o600))
        .during("make")?;
    let (mut from, mut to) = (File::from(from), File::from(to));
    // std copies inside the kernel (copy_file_range), and on btrfs and XFS
    // shares the blocks.
    std::io::copy(&mut from, &mut to).map_err(|error| {
        ("copy", Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    copy_xattrs(from.as_fd(), to.as_fd())?;
    owner_and_times(to.as_fd(), stat)
}

/// The owner comes before the mode: chown(2) clears the set-user-ID bit. It
/// also drops `security.capability`, which is why [`copy_xattrs`] is called
/// with the owner set already when there are any.
fn owner_and_times(to: BorrowedFd<'_>, stat: &Stat) -> Step<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::fchmod(to, mode).during("set the mode of")?;
    rustix::fs::futimens(to, &times(stat)).during("set the times of")
}

/// The owner, and the extended attributes: capabilities of programs (ping,
/// for one), access lists, labels. See xattr(7).
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Step<()> {
    let stat = rustix::fs::fstat(from).during("stat")?;
    let (uid, gid) = owner(&stat);
    rustix::fs::fchown(to, Some(uid), Some(gid)).during("set the owner of")?;
    let mut names = vec![0u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(("read the attributes of", error)),
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // How overlayfs marks its own directories says nothing here.
        if name.to_bytes().starts_with(b"trusted.overlay.") {
            continue;
        }
        let size = rustix::fs::fgetxattr(from, name, &mut value[..])
            .during("read the attributes of")?;
        let set = rustix::fs::fsetxattr(
            to,
            name,
            &value[..size],
            XattrFlags::empty(),
        );
        // A volume on another file system (tmpfs, NFS) may not keep them.
        if !matches!(set, Err(Errno::NOTSUP)) {
            set.during("set the attributes of")?;
        }
    }
    Ok(())
}

/// Owner, mode and times of what cannot be opened without side effects.
fn special(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Step<()> {
    let (uid, gid) = owner(stat);
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(to, name, Some(uid), Some(gid), flags)
        .during("set the owner of")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // mknod's mode went through the umask. A link swapped in here would
        // be one that another container made in its own volume; fchmodat
        // cannot avoid it before Linux 6.6, but the node was just made by us
        // in a directory that we hold, and a node is only reachable by name.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 as RawMode);
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())
            .during("set the mode of")?;
    }
    rustix::fs::utimensat(to, name, &times(stat), flags)
        .during("set the times of")
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
