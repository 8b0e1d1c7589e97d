//! What the host must offer, and sentences for when it does not.
//!
//! overlayfs asks little of the lower directories: any file system will do
//! that can be listed. The *upper* one has to hold device nodes (whiteouts)
//! and extended attributes (marks), must be able to rename a file over
//! another atomically with RENAME_WHITEOUT, and has to tell the type of a
//! file when it is listed. ext4, xfs, btrfs and tmpfs do; the others of the
//! table below do not, and the kernel says EINVAL for each of them.

use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, RawDir, open, statfs};
use rustix::io::Errno;

use crate::error::errno;
use crate::{Error, Overlay};

/// Under which extended attributes overlayfs keeps its marks.
///
/// `trusted.*` can be set by real root only, so no program in a container
/// can forge one. Who is root only in a user namespace of his own has to
/// use `user.*`, which the kernel knows since 5.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xattrs {
    /// `trusted.overlay.…`
    Trusted,
    /// `user.overlay.…`, mount option `userxattr`.
    User,
}

impl Xattrs {
    /// What this process can use.
    pub fn of_this_process() -> Xattrs {
        if rustix::process::geteuid().is_root()
            && namespaces::in_first_user_namespace()
        {
            Xattrs::Trusted
        } else {
            Xattrs::User
        }
    }

    /// Marks a directory that hides all below it.
    pub(crate) fn opaque(self) -> &'static str {
        match self {
            Xattrs::Trusted => "trusted.overlay.opaque",
            Xattrs::User => "user.overlay.opaque",
        }
    }

    /// Marks a file that was copied up, with a handle of the original.
    pub(crate) fn origin(self) -> &'static str {
        match self {
            Xattrs::Trusted => "trusted.overlay.origin",
            Xattrs::User => "user.overlay.origin",
        }
    }
}

/// File systems on which an upper directory cannot be, by their magic number
/// in statfs(2), with the reason.
const UNFIT: &[(i64, &str, &str)] = &[
    (
        0x794c_7630,
        "overlayfs itself (are we inside a container?)",
        "an upper directory cannot be on another overlay; put the data root \
         on a volume, a bind mount or a tmpfs",
    ),
    (
        0x6969,
        "NFS",
        "whiteouts need device nodes and trusted.* attributes, which NFS \
         lacks; put the data root on a local disk",
    ),
    (
        0x0102_1997,
        "9p (a directory of the machine around this virtual one)",
        "9p cannot hold an upper directory; put the data root on this \
         machine's own disk, under WSL for example below /var/lib",
    ),
    (
        0x4d44,
        "FAT",
        "FAT has neither owners nor links; put the data root on ext4, xfs \
         or btrfs",
    ),
    (
        0xf15f,
        "eCryptfs",
        "eCryptfs cannot hold an upper directory; put the data root outside \
         of the encrypted home",
    ),
];

/// Looks whether the directory can hold upper directories, before the first
/// container fails for a reason that is only in the kernel's log.
///
/// # Errors
/// [`Error::Host`] names the file system, the reason and the way out.
pub fn check_host(dir: &Path) -> Result<(), Error> {
    if let Some((what, hint)) = unfit(dir) {
        return Err(Error::Host { path: dir.to_owned(), what, hint });
    }
    if has_file_types(dir)? {
        return Ok(());
    }
    Err(Error::Host {
        path: dir.to_owned(),
        what: "a file system that does not tell the type of a file in its \
               directories (d_type in readdir(3))",
        hint: "overlayfs would show whiteouts as files; an xfs must be made \
               with mkfs.xfs -n ftype=1",
    })
}

fn unfit(dir: &Path) -> Option<(&'static str, &'static str)> {
    let magic = statfs(dir).ok()?.f_type;
    let known = UNFIT.iter().find(|(number, ..)| *number == magic)?;
    Some((known.1, known.2))
}

/// Whether readdir(3) fills in `d_type` here. An xfs that was made without
/// `ftype` does not, and Docker refuses it as well: `ls` in a container would
/// show whiteouts as files that cannot be opened. `.` and `..` are in every
/// directory, so no probe file is needed.
fn has_file_types(dir: &Path) -> Result<bool, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(dir, flags, Mode::empty()).map_err(Error::io("open", dir))?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(fd, &mut buffer);
    match entries.next() {
        Some(Ok(entry)) => Ok(entry.file_type() != FileType::Unknown),
        Some(Err(source)) => Err(Error::io("read", dir)(source)),
        None => Ok(true),
    }
}

/// fsopen(2) or mount(2) does not know the file system at all. A kernel that
/// has it as a module loads it by itself, unless modules are forbidden.
pub(crate) fn no_overlay(source: Errno) -> Error {
    Error::Context {
        source: errno(source),
        hint: match source {
            Errno::NODEV => {
                "; this kernel has no overlayfs: modprobe overlay, or a \
                 kernel with CONFIG_OVERLAY_FS"
            }
            Errno::PERM => {
                "; mounting takes CAP_SYS_ADMIN: run as root, or in a user \
                 namespace of your own"
            }
            _ => "",
        },
    }
}

/// Why a directory could not be opened or used.
pub(crate) fn layer_hint(source: Errno) -> &'static str {
    match source {
        Errno::NOENT => {
            "; it is gone, or was never made: the image is not whole"
        }
        Errno::NOTDIR => "; it is not a directory",
        Errno::LOOP => "; the same directory is in the stack twice",
        Errno::MFILE | Errno::NFILE => {
            "; too many open files: raise the limit with ulimit -n"
        }
        _ => "",
    }
}

/// Why the whole stack was refused. The kernel has one EINVAL for many
/// mistakes and writes the reason only into its log, so look for oneself.
pub(crate) fn explain(overlay: &Overlay, source: Errno) -> String {
    if let Some((what, hint)) = unfit(&overlay.upper) {
        return format!("; it is on {what}: {hint}");
    }
    if crate::volatile::mark(&overlay.work).exists() {
        return "; it was mounted with the option 'volatile' before the \
                machine was last booted, so its content may be damaged: \
                remove the container"
            .to_owned();
    }
    match source {
        Errno::PERM => "; it takes CAP_SYS_ADMIN and, in a user namespace, \
                        Linux 5.11 or later"
            .to_owned(),
        Errno::BUSY => {
            "; upperdir or workdir is in use by another overlay".to_owned()
        }
        Errno::LOOP => "; one of the directories lies inside another, or is \
                        in the stack twice"
            .to_owned(),
        Errno::NOMEM | Errno::NOSPC => {
            "; the limits on mounts are in /proc/sys/fs/mount-max".to_owned()
        }
        Errno::INVAL => "; dmesg tells the kernel's reason".to_owned(),
        _ => String::new(),
    }
}

/// Why a mount stays.
pub(crate) fn unmount_hint(source: Errno) -> &'static str {
    match source {
        Errno::PERM => "; it takes CAP_SYS_ADMIN, as mounting did",
        _ => "",
    }
}
