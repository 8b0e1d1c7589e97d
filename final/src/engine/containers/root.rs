//! A container's root directory, as a file descriptor.
//!
//! Paths inside a container are resolved *by the kernel, in that root*
//! (openat2(2) with `RESOLVE_IN_ROOT`). Checking them as text and opening
//! them afterwards loses against a container that swaps a directory for a
//! link in between (CVE-2018-15664).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use namespaces::Source;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change,
    move_mount, open_tree,
};

use super::Container;
use super::record::Record;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Engine {
    /// Calls `work` with the root of a container, running or not, with its
    /// volumes in their places.
    ///
    /// # Errors
    /// `work`'s own, or why there is no root to be had.
    pub fn with_root<T: Send>(
        &self,
        container: &Container,
        work: impl FnOnce(&OwnedFd) -> Result<T> + Send,
    ) -> Result<T> {
        let pid = container.with(|record| record.state.pid);
        if pid != 0 {
            // What the process sees, with everything that is mounted there.
            let path = format!("/proc/{pid}/root");
            if let Ok(root) = open_root(Path::new(&path)) {
                return work(&root);
            }
        }
        // Nobody may start it while its root is mounted here.
        let _verb = container.begin();
        let record = container.record();
        std::thread::scope(|scope| {
            // In a mount namespace of its own, which ends with the thread
            // and takes all its mounts along.
            let thread = scope.spawn(|| {
                private_mounts()?;
                let root = self.mount_all(&record)?;
                let worked = work(&root);
                self.volumes.settle(&record.id, &record.own.claims)?;
                worked
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::internal("cannot read it")))
        })
    }

    fn mount_all(&self, record: &Record) -> Result<OwnedFd> {
        let own = &record.own;
        let merged = self
            .snapshots
            .mount(&record.id, &own.layers)
            .map_err(Error::internal)?;
        let root = open_root(&merged)?;
        // As for a start: a new volume gets the image's files before others.
        let mounts = self.volumes.prepare(&record.id, &own.claims, &merged)?;
        for mount in mounts {
            // Memory has nothing in it while nothing runs.
            let Source::Bind { path, .. } = &mount.source else { continue };
            let target = place(&root, &mount.target, path.is_dir());
            let target = target.map_err(|errno| {
                let place = mount.target.display();
                Error::Internal(format!("cannot mount at {place}: {errno}"))
            })?;
            bind(path, &target)?;
        }
        Ok(root)
    }
}

/// Opens the place of a mount inside `root`. What the image does not have is
/// made, as a start would.
fn place(
    root: &OwnedFd,
    target: &Path,
    directory: bool,
) -> std::result::Result<OwnedFd, Errno> {
    let text = target.to_string_lossy();
    let (Err(Errno::NOENT), Some(parent), Some(name)) = (
        resolve(root, &text, OFlags::PATH),
        target.parent(),
        target.file_name(),
    ) else {
        return resolve(root, &text, OFlags::PATH);
    };
    let parent = place(root, parent, true)?;
    if directory {
        mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    } else {
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&parent, name, new, Mode::from_raw_mode(0o644))?;
    }
    resolve(root, &text, OFlags::PATH)
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    openat(CWD, path, DIRECTORY, Mode::empty())
        .map_err(|errno| Error::io("open", path)(errno.into()))
}

/// Opens `path` in `root`; links lead wherever they lead *inside*.
///
/// # Errors
/// The kernel's.
pub(super) fn resolve(
    root: &OwnedFd,
    path: &str,
    flags: OFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let relative = path.trim_start_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    let flags = flags | OFlags::CLOEXEC;
    loop {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(root, relative, flags, Mode::empty(), how) {
            // A rename somewhere on the way: the kernel cannot be sure
            // that it has not left the root, and wants to be asked again.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// A path under which an open file can be reached by functions that only
/// take paths.
pub(super) fn path_of(fd: &OwnedFd) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Moves this thread into a mount namespace of its own.
fn private_mounts() -> Result<()> {
    use nix::sched::{CloneFlags, unshare};
    let failed = |errno: nix::errno::Errno| {
        Error::Internal(format!("cannot make a mount namespace: {errno}"))
    };
    // A thread shares its working directory with the others, and may not
    // leave their namespace before it has one of its own.
    unshare(CloneFlags::CLONE_FS).map_err(failed)?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|errno| {
        Error::Internal(format!("cannot make mounts private: {errno}"))
    })
}

fn bind(source: &Path, target: &OwnedFd) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let how = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let done = open_tree(CWD, source, flags)
        .and_then(|tree| move_mount(tree.as_fd(), "", target, "", how));
    done.map_err(|errno| Error::io("mount", source)(errno.into()))
}
