//! Owners, modes, extended attributes, times; in this order, because
//! chown(2) clears setuid bits and file capabilities.
//!
//! Everything but the content is set through the descriptor that made the
//! file, or on the name without following it: at no moment is there a path
//! that somebody could exchange in between, which is how a chmod through a
//! link came about in the `tar` crate (RUSTSEC-2026-0067).

use std::os::fd::AsRawFd;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::entries::Entry;
use super::error::{lossy, sys};
use super::{Applier, TarError, dirs};

/// Attributes that would make overlayfs see what is not in the layer
/// (redirects to other directories, contents of other files). They are how a
/// *mount* keeps its books and never belong into a tar.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Attributes that speak of the host they were made on, not of the file.
const HOST: [&[u8]; 4] =
    [b"security.selinux", b"security.ima", b"security.evm", b"system."];

impl Applier {
    /// For what has a descriptor of its own: files and directories. A
    /// directory's mode and times come last of all, see `dirs`.
    pub(super) fn attributes(
        &mut self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        directory: bool,
    ) -> Result<(), TarError> {
        if self.options.owners {
            let (uid, gid) = self.owner(entry);
            rustix::fs::fchown(fd, Some(uid), Some(gid))
                .map_err(|e| unmapped(entry, e))?;
        }
        if !directory {
            let mode = Mode::from_raw_mode(self.mode(entry));
            rustix::fs::fchmod(fd, mode)
                .map_err(sys(&entry.path, "set its mode"))?;
        }
        for (name, value) in self.wanted(entry)? {
            let flags = XattrFlags::empty();
            let set = rustix::fs::fsetxattr(fd, name, value, flags);
            self.set_or_warn(entry, name, set)?;
        }
        if !directory {
            rustix::fs::futimens(fd, &dirs::both(entry.mtime))
                .map_err(sys(&entry.path, "set its time"))?;
        }
        Ok(())
    }

    /// For what must not be opened: links, devices, FIFOs.
    pub(super) fn attributes_at(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        link: bool,
    ) -> Result<(), TarError> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if self.options.owners {
            let (uid, gid) = self.owner(entry);
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), nofollow)
                .map_err(|e| unmapped(entry, e))?;
        }
        if !link {
            // Links have no mode on Linux.
            chmod(dir, name, Mode::from_raw_mode(self.mode(entry)))
                .map_err(sys(&entry.path, "set its mode"))?;
        }
        for (key, value) in self.wanted(entry)? {
            // There is no setxattrat(2) before Linux 6.13; the descriptor's
            // path in /proc leads to the same place.
            let mut path = Vec::from("/proc/self/fd/");
            path.extend(dir.as_raw_fd().to_string().bytes());
            path.push(b'/');
            path.extend(name);
            let flags = XattrFlags::empty();
            let set = rustix::fs::lsetxattr(path, key, value, flags);
            self.set_or_warn(entry, key, set)?;
        }
        rustix::fs::utimensat(dir, name, &dirs::both(entry.mtime), nofollow)
            .map_err(sys(&entry.path, "set its time"))
    }

    /// Marks a directory as hiding what lower layers have in it.
    pub(super) fn mark_opaque(
        &mut self,
        dir: impl AsFd,
        path: &[u8],
    ) -> Result<(), TarError> {
        let name = match self.options.trusted {
            true => "trusted.overlay.opaque",
            false => "user.overlay.opaque",
        };
        rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty()).map_err(
            sys(
                path,
                "mark the directory as opaque (does the \
                 data root's file system keep extended attributes?)",
            ),
        )
    }

    /// What `wanted` says, but no capabilities where they are not kept.
    fn wanted<'a>(
        &self,
        entry: &'a Entry,
    ) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a>, TarError>
    {
        let privileges = self.options.privileges;
        let kept = move |(name, _): &(&[u8], &[u8])| {
            privileges || *name != b"security.capability"
        };
        Ok(wanted(entry)?.filter(kept))
    }

    /// A file system that does not know an attribute, or a user who may not
    /// set it, is no reason to do without the image; but it is said.
    fn set_or_warn(
        &mut self,
        entry: &Entry,
        name: &[u8],
        set: Result<(), Errno>,
    ) -> Result<(), TarError> {
        let name = String::from_utf8_lossy(name).into_owned();
        match set {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::PERM) => {
                self.warn(format!(
                    "extended attribute {name} cannot be set here, first at \
                     {}: programs that rely on it will miss it",
                    lossy(&entry.path)
                ));
                Ok(())
            }
            Err(e) => Err(sys(&entry.path, "set an extended attribute")(e)),
        }
    }
}

/// The attributes to set; hostile ones are an error.
///
/// Two kinds are not set. What speaks of the host it came from would be wrong
/// here (an SELinux label) or cannot be right here (a POSIX ACL with IDs of
/// another system). What speaks of overlayfs would be an attack.
fn wanted(
    entry: &Entry,
) -> Result<impl Iterator<Item = (&[u8], &[u8])>, TarError> {
    for (name, _) in &entry.xattrs {
        if OVERLAY.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(TarError::entry(
                &entry.path,
                &format!(
                    "attribute {} would change how the layers are stacked",
                    lossy(name)
                ),
            ));
        }
        if name.is_empty() || name.contains(&0) {
            let problem = "an extended attribute without a proper name";
            return Err(TarError::entry(&entry.path, problem));
        }
    }
    let ours = |name: &[u8]| !HOST.iter().any(|p| name.starts_with(p));
    let all = entry.xattrs.iter().filter(move |(name, _)| ours(name));
    Ok(all.map(|(name, value)| (name.as_slice(), value.as_slice())))
}

impl Applier {
    /// The mode that it gets.
    pub(super) fn mode(&self, entry: &Entry) -> u32 {
        match self.options.privileges {
            true => entry.mode,
            false => entry.mode & 0o777,
        }
    }

    /// IDs as numbers: names are for `/etc/passwd` of the image, which this
    /// program never reads while unpacking.
    fn owner(&self, entry: &Entry) -> (Uid, Gid) {
        let own = (entry.uid, entry.gid);
        let (uid, gid) = self.options.owner.unwrap_or(own);
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }
}

/// chmod(2) by way of a descriptor that followed no link. `docker cp` unpacks
/// into containers that run, and a process there could put a link in the
/// place of a FIFO while we look away.
fn chmod(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode);
    if kind == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    // An O_PATH descriptor takes no fchmod(2), but its path in /proc does.
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    rustix::fs::chmod(path, mode)
}

/// EINVAL from chown(2) means: this ID does not exist in the user namespace.
fn unmapped(entry: &Entry, errno: Errno) -> TarError {
    if errno != Errno::INVAL {
        return sys(&entry.path, "set its owner")(errno);
    }
    TarError::entry(
        &entry.path,
        &format!(
            "its owner {}:{} is not mapped in this user namespace: give the \
             user more subordinate IDs in /etc/subuid and /etc/subgid \
             (65536 is usual)",
            entry.uid, entry.gid
        ),
    )
}
