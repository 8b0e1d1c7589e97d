//! A part of a volume: `--mount source=db,target=/data,volume-subpath=a/b`.
//!
//! The path goes through directories that a container wrote. It could make
//! `a` a link to `/etc`, or swap it in between our check and the mount, and
//! so get the host's files (CVE-2021-30465 in runc, and Kubernetes'
//! CVE-2017-1002101, were that). So the path is walked once, by the kernel,
//! with the volume as its root, and what was found is mounted by file
//! descriptor at a place of our own. Nothing is looked up by name again.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::error::from_rustix;
use crate::{Error, Volume, make_dir};

/// Mounts `subpath` of the volume on `place` and returns `place`.
pub(crate) fn mount(
    volume: &Volume,
    subpath: &str,
    place: &Path,
) -> Result<PathBuf, Error> {
    let failed = |error| {
        let source = from_rustix(error);
        Error::Subpath {
            name: volume.name.clone(),
            subpath: subpath.to_owned(),
            source,
            hint: hint(source),
        }
    };
    let path = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(
        &volume.mountpoint,
        path | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(failed)?;
    // IN_ROOT: an absolute link starts at the volume, and `..` stops there.
    // NO_MAGICLINKS: those of /proc jump to anywhere, and are no paths.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let part =
        rustix::fs::openat2(&root, subpath, path, Mode::empty(), resolve)
            .map_err(failed)?;
    let stat = rustix::fs::fstat(&part).map_err(failed)?;
    unmount(place)?;
    seat(place, FileType::from_raw_mode(stat.st_mode))?;
    // A copy of the mount, from this very directory down, whatever its name
    // may lead to by now; then put in place.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(part.as_fd(), c"", flags).map_err(failed)?;
    let from_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree.as_fd(), c"", CWD, place, from_fd).map_err(failed)?;
    Ok(place.to_owned())
}

/// A mount needs something of its own kind to sit on.
fn seat(place: &Path, kind: FileType) -> Result<(), Error> {
    if kind == FileType::Directory {
        return make_dir(place, 0o700);
    }
    if let Some(parent) = place.parent() {
        make_dir(parent, 0o700)?;
    }
    fs::File::create(place)
        .map(drop)
        .map_err(|error| Error::directory("make", place, &error))
}

/// What openat2(2) means by it.
fn hint(error: Errno) -> &'static str {
    match error {
        Errno::ENOENT => {
            "; it must exist before the container starts, nothing makes it"
        }
        Errno::ENOTDIR => "; a part of it is a file",
        Errno::ELOOP => "; it goes through a link that is not allowed",
        Errno::ENOSYS => "; openat2(2) needs Linux 5.6",
        _ => "",
    }
}

/// Takes away what [`mount`] made; that there is nothing is no error.
pub(crate) fn unmount(place: &Path) -> Result<(), Error> {
    match umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(source) => {
            return Err(Error::Unmount { path: place.to_owned(), source });
        }
    }
    let gone = fs::remove_dir(place).or_else(|_| fs::remove_file(place));
    match gone {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::directory("remove", place, &error))
        }
        _ => Ok(()),
    }
}
