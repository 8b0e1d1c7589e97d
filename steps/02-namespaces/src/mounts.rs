//! The mounts of a container, first as a list, then as mounts.
//!
//! An image is only files. What turns them into a running system is what
//! the kernel adds when asked: the process table as `/proc`, its objects as
//! `/sys`, a `/dev` in memory. And what the user wants to keep or share
//! comes as bind mounts of the host's directories.
//!
//! Every mount goes the same way: make it, detached; restrict it while
//! nobody can see it; find its place below the root; attach it. With
//! mount(2) a read-only bind mount took two calls, and was writable between
//! them.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use crate::cgroupfs::{self, Hierarchy};
use crate::idmap::maps_group;
use crate::inroot::RootPath;
use crate::mountfd::{Attributes, attach, clone_tree, set_attributes};
use crate::sandbox::{IdMap, Mount, MountOptions, Sandbox, Source};
use crate::wire::{Call, During, Fault};
use crate::{Error, Namespace};

/// A mount with everything laid out for system calls: options split into
/// keys and values, paths cut into their prefixes, all as C strings.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) target: RootPath,
    pub(crate) what: What,
    attributes: Attributes,
    /// For errors: `tmpfs on /dev/shm`.
    pub(crate) name: String,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum What {
    /// A tree of the host, and whether it is a single file: a file can only
    /// be mounted on a file, and the place has to be made accordingly.
    Bind { path: CString, recursive: bool, file: bool },
    /// A new file system.
    Fs(Fs),
    /// The cgroup tree, which has to wait for the cgroup namespace.
    Cgroup(Vec<Hierarchy>),
}

/// A file system type with its options, for fsopen(2) and fsconfig(2),
/// which take them one by one. mount(2) takes one string, and one page is
/// all that it may fill.
#[derive(Debug)]
pub(crate) struct Fs {
    pub(crate) kind: &'static CStr,
    pub(crate) options: Vec<(CString, Option<CString>)>,
}

/// Prepares every mount of the sandbox.
pub(crate) fn prepare(sandbox: &Sandbox) -> Result<Vec<Prepared>, Error> {
    let all = sandbox.mounts.iter();
    all.map(|mount| Prepared::new(mount, sandbox)).collect()
}

impl Prepared {
    fn new(mount: &Mount, sandbox: &Sandbox) -> Result<Prepared, Error> {
        let mut options = mount.options.clone();
        let what = match &mount.source {
            Source::Bind { path, recursive } => bind(path, *recursive)?,
            Source::Tmpfs { options: given } => {
                What::Fs(tmpfs(given, &mut options)?)
            }
            Source::Proc => What::Fs(Fs::plain(c"proc")),
            Source::Sysfs => What::Fs(Fs::plain(c"sysfs")),
            Source::Mqueue => What::Fs(Fs::plain(c"mqueue")),
            Source::Devpts => What::Fs(devpts(sandbox)),
            Source::Cgroup => What::Cgroup(cgroupfs::hierarchies()?),
        };
        let kind = match &mount.source {
            Source::Bind { path, .. } => path.display().to_string(),
            Source::Cgroup => "cgroup".to_owned(),
            _ => what.kind().to_owned(),
        };
        Ok(Prepared {
            target: RootPath::new(&mount.target)?,
            what,
            attributes: Attributes::of(&options),
            name: format!("{kind} on {}", mount.target.display()),
        })
    }

    /// Child: takes hold of the host's tree before the host is out of sight
    /// and before this namespace is cut loose, so that a shared mount is
    /// still a peer of the host's.
    pub(crate) fn take(&self, item: usize) -> Result<Option<OwnedFd>, Fault> {
        let What::Bind { path, recursive, .. } = &self.what else {
            return Ok(None);
        };
        clone_tree(CWD, path, *recursive).during(Call::Clone, item).map(Some)
    }

    /// Child: makes the mount and puts it in place.
    pub(crate) fn mount(
        &self,
        root: BorrowedFd<'_>,
        taken: Option<OwnedFd>,
        item: usize,
    ) -> Result<(), Fault> {
        let tree = match (&self.what, taken) {
            (What::Fs(fs), _) => fs.make(&self.attributes, item)?,
            (What::Bind { recursive, .. }, Some(tree)) => {
                // Read-only must hold for what is mounted below, too.
                set_attributes(tree.as_fd(), &self.attributes, *recursive)
                    .during(Call::Attributes, item)?;
                tree
            }
            (What::Bind { .. }, None) => {
                return Err(Errno::BADF).during(Call::Clone, item);
            }
            (What::Cgroup(_), _) => return Ok(()),
        };
        let place = self.place(root, item)?;
        attach(tree.as_fd(), place.as_fd()).during(Call::Attach, item)
    }

    /// Child: the cgroup tree, once the namespace shows it from inside.
    pub(crate) fn mount_cgroup(
        &self,
        root: BorrowedFd<'_>,
        item: usize,
    ) -> Result<(), Fault> {
        let What::Cgroup(hierarchies) = &self.what else { return Ok(()) };
        let place = self.place(root, item)?;
        cgroupfs::mount(hierarchies, &self.attributes, place.as_fd(), item)
    }

    /// The file or directory that will be covered, made if it is missing, as
    /// Docker does for volumes. It stays in the image's writable layer.
    fn place(
        &self,
        root: BorrowedFd<'_>,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        match &self.what {
            What::Bind { file: true, .. } => self.target.file(root, item),
            // An image whose /proc is a symbolic link could have its fake
            // /proc covered by a directory of its own, and then what we
            // believe to write to the kernel goes to a file of the image
            // (CVE-2019-16884, CVE-2019-19921).
            What::Fs(fs) if fs.is_kernel() => {
                self.target.dir(root, item)?;
                let strict = ResolveFlags::NO_SYMLINKS;
                self.target.open(root, strict).during(Call::Open, item)
            }
            _ => self.target.dir(root, item),
        }
    }
}

impl What {
    /// The file system's name, for errors.
    fn kind(&self) -> &str {
        match self {
            What::Fs(fs) => fs.kind.to_str().unwrap_or("?"),
            What::Bind { .. } => "bind",
            What::Cgroup(_) => "cgroup",
        }
    }
}

impl Fs {
    pub(crate) fn plain(kind: &'static CStr) -> Fs {
        Fs { kind, options: Vec::new() }
    }

    fn is_kernel(&self) -> bool {
        self.kind == c"proc" || self.kind == c"sysfs"
    }

    /// Child: a new, detached mount of this file system.
    pub(crate) fn make(
        &self,
        attributes: &Attributes,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        match self.try_make(attributes, item) {
            // sysfs shows a network namespace; only who owns that may mount
            // it. In a user namespace with the host's network we do not,
            // and the host's own /sys is the same view.
            Err(Fault { errno: Errno::PERM, .. }) if self.kind == c"sysfs" => {
                let tree =
                    clone_tree(CWD, c"/sys", true).during(Call::Clone, item)?;
                set_attributes(tree.as_fd(), attributes, true)
                    .during(Call::Attributes, item)?;
                Ok(tree)
            }
            result => result,
        }
    }

    fn try_make(
        &self,
        attributes: &Attributes,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        let fs = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .during(Call::FsOpen, item)?;
        // Shown in mount(8) where a disk has its device.
        fsconfig_set_string(&fs, c"source", self.kind)
            .during(Call::Configure, item)?;
        for (key, value) in &self.options {
            match value {
                Some(value) => {
                    fsconfig_set_string(&fs, key.as_c_str(), value.as_c_str())
                }
                None => fsconfig_set_flag(&fs, key.as_c_str()),
            }
            .during(Call::Configure, item)?;
        }
        fsconfig_create(&fs).during(Call::Configure, item)?;
        let bits = u32::try_from(attributes.set).unwrap_or(0);
        let flags = MountAttrFlags::from_bits_retain(bits);
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .during(Call::FsMount, item)
    }
}

/// A bind mount's source, looked at now: a missing one is the commonest
/// mistake, and here the error can still name the path.
fn bind(path: &Path, recursive: bool) -> Result<What, Error> {
    let meta = std::fs::metadata(path).map_err(|error| Error::File {
        doing: "find the bind source",
        path: path.to_owned(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })?;
    Ok(What::Bind {
        path: c_string(path.as_os_str().as_bytes())?,
        recursive,
        file: !meta.is_dir(),
    })
}

/// tmpfs with `--tmpfs` options, where mount(8)'s flags may be among them.
/// To the kernel `noexec` is no option of a file system but an attribute of
/// one mount of it.
fn tmpfs(given: &[String], options: &mut MountOptions) -> Result<Fs, Error> {
    let mut fs = Fs::plain(c"tmpfs");
    for option in given {
        match option.as_str() {
            "ro" => options.read_only = true,
            "rw" => options.read_only = false,
            "nosuid" => options.nosuid = true,
            "suid" => options.nosuid = false,
            "nodev" => options.nodev = true,
            "dev" => options.nodev = false,
            "noexec" => options.noexec = true,
            "exec" => options.noexec = false,
            other => fs.options.push(key_value(other)?),
        }
    }
    Ok(fs)
}

/// A devpts instance of the container's own: its terminals are numbered
/// from 0 and nobody outside can open them.
fn devpts(sandbox: &Sandbox) -> Fs {
    /// Group `tty` on every distribution.
    const TTY: u32 = 5;
    let mut options = vec![
        (c"ptmxmode".to_owned(), Some(c"0666".to_owned())),
        (c"mode".to_owned(), Some(c"0620".to_owned())),
    ];
    let maps_tty = |map: &IdMap| {
        TTY.checked_sub(map.inside).is_some_and(|off| off < map.count)
    };
    let mapped = match sandbox.namespaces.user {
        Namespace::New => sandbox.gid_map.iter().any(maps_tty),
        _ => maps_group(TTY),
    };
    // The kernel refuses a group that has no number outside.
    if mapped {
        options.push((c"gid".to_owned(), Some(c"5".to_owned())));
    }
    Fs { kind: c"devpts", options }
}

/// `key` or `key=value` for fsconfig.
pub(crate) fn key_value(
    option: &str,
) -> Result<(CString, Option<CString>), Error> {
    Ok(match option.split_once('=') {
        Some((key, value)) => {
            (c_string(key.as_bytes())?, Some(c_string(value.as_bytes())?))
        }
        None => (c_string(option.as_bytes())?, None),
    })
}

/// A C string, or an error that shows the text.
pub(crate) fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| {
        let text = String::from_utf8_lossy(bytes);
        Error::Invalid(format!("{text:?} contains a NUL byte"))
    })
}
