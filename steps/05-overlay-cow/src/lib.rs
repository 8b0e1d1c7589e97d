//! Step 5: one writable layer over shared ones, by overlayfs.
//!
//! Step 4 copied the whole image for every container. Nothing of that is
//! needed: the kernel can show several directories as one.
//!
//! ```text
//!  merged     /bin/sh  /etc/hosts   /etc/motd     what the container sees
//!             ────────────────────────────────
//!  upperdir            /etc/hosts′                one per container: writes
//!  lowerdir            /etc/hosts   /etc/motd     ┐ one per image layer,
//!  lowerdir   /bin/sh                             ┘ read-only and shared
//! ```
//!
//! - A **lowerdir** is an unpacked image layer. No container can write to it,
//!   so a hundred containers may share it, on disk and in the page cache.
//! - The **upperdir** takes every write. Nobody else's, so it *is* what the
//!   container changed: `diff` lists it, `commit` packs it, `rm` deletes it.
//! - The first write to a file that exists only below copies it up, whole:
//!   **copy-up**. That is what the first write to a big file costs.
//! - Removing a file that exists below cannot remove it there. The upper
//!   directory gets a **whiteout** instead, a character device 0:0 of that
//!   name; a directory that hides all below it is marked **opaque**.
//! - The **workdir** is the kernel's own: a file is prepared there and then
//!   renamed into the upper directory, so that a crash leaves no half of it.
//!
//! This file holds the mount itself. [`OverlaySnapshots`] does the book
//! keeping around it, [`changes`](OverlaySnapshots::changes) reads the upper
//! directory, and the sidebars are named in the list of modules below.

#![deny(missing_docs)]

mod changes;
mod copied_up;
mod error;
mod host;
mod init;
mod legacy;
mod lower;
mod remove;
mod size;
mod snapshots;
mod traits;
mod verbs;
mod view;
mod volatile;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno as Nix;
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount, unmount as umount2,
};

pub use copied_up::CopiedUp;
pub use error::Error;
pub use host::{Xattrs, check_host};
pub use snapshots::{OverlaySnapshots, Usage};
pub use traits::Volatile;
pub use verbs::LayerVerbs;

use error::{errno, kernel_log};

/// The directories of one overlay.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// Read-only directories, the topmost first, as the kernel counts them.
    /// (Image configs list layers the other way round: the base first.)
    pub lowers: Vec<PathBuf>,
    /// Takes all writes.
    pub upper: PathBuf,
    /// Empty, on the same file system as `upper`: the kernel renames from
    /// here to there.
    pub work: PathBuf,
}

/// What may be chosen about an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Under which names the kernel finds its marks in the layers.
    pub xattrs: Xattrs,
    /// Never write the upper directory to disk on purpose: fsync(2) inside
    /// does nothing and unmounting does not wait. Right for a container that
    /// is thrown away; after a crash of the machine the kernel refuses to
    /// mount the same upper directory again, because it may be damaged.
    pub volatile: bool,
}

/// The kernel's own limit, `OVL_MAX_STACK`.
const MAX_LOWERS: usize = 500;

impl Overlay {
    // ANCHOR: mount
    /// Makes the overlay and attaches it to the directory `merged`.
    ///
    /// # Errors
    /// One variant of [`Error`] per step; nothing stays mounted.
    pub fn mount(&self, merged: &Path, options: Options) -> Result<(), Error> {
        match self.detached(options)? {
            Some(mount) => attach(&mount, merged),
            None => legacy::mount(self, merged, options),
        }
    }

    /// Makes the overlay as a file descriptor, visible nowhere yet. `None`
    /// if the kernel is too old (before 6.7) to take layers one by one.
    ///
    /// mount(2) would take one string for all directories, and it stops
    /// reading after a page: 57 layers with Docker's names. Here each layer
    /// is a call of its own, and each directory is an open file, so that
    /// neither the length of its path nor a rename can get in the way.
    ///
    /// # Errors
    /// One variant of [`Error`] per step.
    pub fn detached(&self, options: Options) -> Result<Option<OwnedFd>, Error> {
        self.check()?;
        let fs = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fs) => fs,
            Err(Errno::NOSYS) => return Ok(None),
            Err(source) => return Err(host::no_overlay(source)),
        };
        for (number, lower) in self.lowers.iter().enumerate() {
            match add(&fs, "lowerdir+", lower) {
                // Before 6.5 overlayfs has no parser of its own for this API,
                // and the one for such file systems takes no descriptors.
                Err(Error::Layer {
                    source: Nix::EINVAL | Nix::EOPNOTSUPP,
                    ..
                }) if number == 0 => return Ok(None),
                other => other?,
            }
        }
        add(&fs, "upperdir", &self.upper)?;
        add(&fs, "workdir", &self.work)?;
        set_options(&fs, options)?;
        fsconfig_create(&fs).map_err(|source| self.refused(source, &fs))?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .map(Some)
            .map_err(|source| self.refused(source, &fs))
    }
    // ANCHOR_END: mount

    fn check(&self) -> Result<(), Error> {
        match self.lowers.len() {
            0 => Err(Error::NoLayers),
            count if count > MAX_LOWERS => {
                // The lowest is ours, see `OverlaySnapshots`.
                Err(Error::TooManyLayers { count: count - 1 })
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, source: Errno, fs: &OwnedFd) -> Error {
        Error::Mount {
            lowers: self.lowers.len(),
            upper: self.upper.clone(),
            source: errno(source),
            kernel: kernel_log(fs),
            hint: host::explain(self, source),
        }
    }
}

/// Hands one directory to the file system that is being made.
fn add(fs: &OwnedFd, key: &'static str, dir: &Path) -> Result<(), Error> {
    let failed = |source: Errno| Error::Layer {
        key: key.trim_end_matches('+'),
        path: dir.to_owned(),
        source: errno(source),
        kernel: kernel_log(fs),
        hint: host::layer_hint(source),
    };
    // Not O_PATH: fsconfig(2) accepts such a descriptor only since 6.15.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(dir, flags, Mode::empty()).map_err(failed)?;
    match fsconfig_set_fd(fs, key, &fd) {
        // Before 6.13 only names are understood.
        Err(Errno::INVAL) => {
            let name = legacy::short_name(dir, fd.as_fd());
            fsconfig_set_string(fs, key, name.as_ref())
        }
        other => other,
    }
    .map_err(failed)
}

/// Everything that would let the upper directory hold more than plain files
/// is off: it must stay what a layer's tar can say. `redirect_dir` marks a
/// renamed directory instead of copying it up, `metacopy` a changed mode,
/// `index` ties the directory to this very file system.
fn set_options(fs: &OwnedFd, options: Options) -> Result<(), Error> {
    let failed = |option| {
        move |source| Error::Option {
            option,
            source: errno(source),
            kernel: kernel_log(fs),
        }
    };
    // What df(1) and mount(8) show where a disk has its device; without it
    // they say `none`.
    fsconfig_set_string(fs, "source", "overlay")
        .map_err(failed("source=overlay"))?;
    fsconfig_set_string(fs, "index", "off").map_err(failed("index=off"))?;
    match options.xattrs {
        Xattrs::Trusted => {
            fsconfig_set_string(fs, "redirect_dir", "off")
                .map_err(failed("redirect_dir=off"))?;
            fsconfig_set_string(fs, "metacopy", "off")
                .map_err(failed("metacopy=off"))?;
        }
        // This implies the two others, and contradicts them when named.
        Xattrs::User => {
            fsconfig_set_flag(fs, "userxattr").map_err(failed("userxattr"))?
        }
    }
    if options.volatile {
        fsconfig_set_flag(fs, "volatile").map_err(failed("volatile"))?;
    }
    Ok(())
}

/// Makes a detached mount visible at `target`.
///
/// # Errors
/// [`Error::Attach`]: no such directory, or not the right to mount there.
pub fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Error> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", CWD, target, flags).map_err(|source| Error::Attach {
        path: target.to_owned(),
        source: errno(source),
    })
}

/// Takes the overlay at `merged` away; no mount there is fine too.
///
/// # Errors
/// [`Error::Unmount`] if the kernel refuses.
pub fn unmount(merged: &Path) -> Result<(), Error> {
    loop {
        let flags = UnmountFlags::NOFOLLOW;
        let result = match umount2(merged, flags) {
            // A process still has a file open there, perhaps only for the
            // moment. Detached, the mount disappears at once from everyone's
            // sight and ends with the last open file.
            Err(Errno::BUSY) => umount2(merged, flags | UnmountFlags::DETACH),
            other => other,
        };
        match result {
            // Once more: after a crash two may lie on top of each other.
            Ok(()) => continue,
            // EINVAL is the kernel's word for "not a mount point".
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(source) => {
                return Err(Error::Unmount {
                    path: merged.to_owned(),
                    source: errno(source),
                    hint: host::unmount_hint(source),
                });
            }
        }
    }
}
