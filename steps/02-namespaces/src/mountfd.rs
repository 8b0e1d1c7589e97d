//! Mounts as file descriptors: the mount API of Linux 5.2 and later.
//!
//! mount(2) takes paths, and a path means whatever the image's symbolic
//! links make of it at that instant. Here a mount is made first, detached
//! and invisible, restricted while nobody can see it, and then moved onto a
//! directory that is itself held by a file descriptor.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::sandbox::{MountOptions, Propagation};

/// mount_setattr(2): which attributes of a mount change, and to what. The
/// struct that the kernel reads; rustix does not have this call yet.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Attributes {
    /// `MOUNT_ATTR_*` to turn on.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_*` to turn off.
    pub(crate) clear: u64,
    /// One of `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`; 0 leaves it.
    pub(crate) propagation: u64,
    user_ns: u64,
}

impl Attributes {
    /// Read-only and nothing else.
    pub(crate) const READ_ONLY: Attributes = Attributes {
        set: libc::MOUNT_ATTR_RDONLY,
        clear: 0,
        propagation: 0,
        user_ns: 0,
    };

    /// Only a change of where later mounts travel.
    pub(crate) const fn propagation(flag: u64) -> Attributes {
        Attributes { set: 0, clear: 0, propagation: flag, user_ns: 0 }
    }

    /// The same without read-only.
    pub(crate) fn writable(&self) -> Attributes {
        Attributes { set: self.set & !libc::MOUNT_ATTR_RDONLY, ..*self }
    }

    /// What `options` say.
    pub(crate) fn of(options: &MountOptions) -> Attributes {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        Attributes {
            set: bit(options.read_only, libc::MOUNT_ATTR_RDONLY)
                | bit(options.nosuid, libc::MOUNT_ATTR_NOSUID)
                | bit(options.nodev, libc::MOUNT_ATTR_NODEV)
                | bit(options.noexec, libc::MOUNT_ATTR_NOEXEC),
            clear: 0,
            propagation: match options.propagation {
                Propagation::Private => libc::MS_PRIVATE,
                Propagation::Slave => libc::MS_SLAVE,
                Propagation::Shared => libc::MS_SHARED,
            },
            user_ns: 0,
        }
    }
}

/// Changes the mount behind `fd`, and with `recursive` all below it.
pub(crate) fn set_attributes(
    fd: BorrowedFd<'_>,
    attributes: &Attributes,
    recursive: bool,
) -> Result<(), Errno> {
    let flags =
        libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, and `attributes` points to a
    // `#[repr(C)]` struct of the size given, which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// A detached copy of the mount at `path`; with `recursive` of all below. A
/// bind mount is nothing but this: the same files at another place, with
/// attributes of its own.
pub(crate) fn clone_tree(
    at: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(at, path, flags)
}

/// Makes a detached mount visible on the file or directory `target`.
pub(crate) fn attach(
    mount: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// A file or directory of the host as a read-only mount that only this file
/// descriptor leads to: nobody can write to the file by way of it, not even
/// root in a container who finds it under `/proc/PID/exe`.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; ENOENT if there is no such file.
pub fn read_only_view(path: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let view = open_tree(CWD, path, flags)?;
    set_attributes(view.as_fd(), &Attributes::READ_ONLY, false)?;
    Ok(view)
}

/// The reason of the last failed call through libc.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
