//! Paths inside the container's root, resolved by the kernel and only there.
//!
//! The root is the image's: `/etc` may be a symbolic link to `/`, or to
//! `/../../home`. And another container may swap a directory for a link
//! while we look, if both share a volume (CVE-2021-30465). openat2(2) with
//! `RESOLVE_IN_ROOT` treats the root as a chroot for one lookup, without a
//! gap between check and use.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use crate::Error;
use crate::wire::{Call, During, Fault};

/// A path relative to the root, with every prefix of it ready for system
/// calls: `a`, `a/b`, `a/b/c`. The root itself has none. The prefixes are
/// there because missing directories are made one by one, by a child that
/// cannot build a string.
#[derive(Debug)]
pub(crate) struct RootPath {
    prefixes: Vec<CString>,
    last: CString,
}

/// The root directory itself, for openat2 below it.
const HERE: &CStr = c".";

impl RootPath {
    /// Normalises an absolute path: `..` steps back, as in a URL.
    pub(crate) fn new(path: &Path) -> Result<RootPath, Error> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => parts.push(name.as_bytes()),
                Component::ParentDir => {
                    parts.pop();
                }
                _ => {}
            }
        }
        let text = |bytes: Vec<u8>| {
            CString::new(bytes).map_err(|_| {
                Error::Invalid(format!("{path:?} contains a NUL byte"))
            })
        };
        let prefixes = (1..=parts.len())
            .map(|count| text(parts[..count].join(&b'/')))
            .collect::<Result<_, _>>()?;
        let last = text(parts.last().copied().unwrap_or(b".").to_vec())?;
        Ok(RootPath { prefixes, last })
    }

    /// The whole path, `.` for the root.
    pub(crate) fn full(&self) -> &CStr {
        self.prefixes.last().map_or(HERE, CString::as_c_str)
    }

    /// Its last name, `.` for the root.
    pub(crate) fn name(&self) -> &CStr {
        &self.last
    }

    /// Opens it for use as a place (`O_PATH`).
    pub(crate) fn open(
        &self,
        root: BorrowedFd<'_>,
        extra: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        open(root, self.full(), OFlags::PATH, extra)
    }

    /// Opens the directory that it is in, making what is missing.
    pub(crate) fn parent(
        &self,
        root: BorrowedFd<'_>,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        let count = self.prefixes.len().saturating_sub(1);
        make_dirs(root, self.prefixes.get(..count).unwrap_or(&[]), item)
    }

    /// Opens it as a directory, making what is missing.
    pub(crate) fn dir(
        &self,
        root: BorrowedFd<'_>,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        make_dirs(root, &self.prefixes, item)
    }

    /// Opens it as a place for a file, making an empty one if missing.
    pub(crate) fn file(
        &self,
        root: BorrowedFd<'_>,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        match self.open(root, ResolveFlags::empty()) {
            Err(Errno::NOENT) => {}
            found => return found.during(Call::Open, item),
        }
        let parent = self.parent(root, item)?;
        let flags = OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::WRONLY;
        let mode = Mode::from_raw_mode(0o644);
        let made = rustix::fs::openat(&parent, self.name(), flags, mode);
        made.during(Call::Create, item)?;
        self.open(root, ResolveFlags::empty()).during(Call::Open, item)
    }
}

/// openat2 with this crate's rules.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    extra: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    // Magic links (`/proc/PID/root`) jump anywhere; nothing of ours needs
    // one, and CVE-2024-21626 was a working directory reached by one.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | extra;
    loop {
        let flags = flags | OFlags::CLOEXEC;
        match openat2(root, path, flags, Mode::empty(), resolve) {
            // A rename somewhere on the way made the lookup uncertain.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// Walks down `prefixes`, making each directory that is missing. mkdirat
/// never follows a link in the last place, and the place it is made in is
/// held by a descriptor that openat2 has found below the root.
fn make_dirs(
    root: BorrowedFd<'_>,
    prefixes: &[CString],
    item: usize,
) -> Result<OwnedFd, Fault> {
    let place = OFlags::PATH | OFlags::DIRECTORY;
    let none = ResolveFlags::empty();
    let full = prefixes.last().map_or(HERE, CString::as_c_str);
    match open(root, full, place, none) {
        Err(Errno::NOENT) => {}
        found => return found.during(Call::Open, item),
    }
    let mut here = open(root, HERE, place, none).during(Call::Open, item)?;
    for prefix in prefixes {
        here = match open(root, prefix, place, none) {
            Err(Errno::NOENT) => {
                let mode = Mode::from_raw_mode(0o755);
                let made = mkdirat(here.as_fd(), last_name(prefix), mode);
                made.during(Call::Mkdir, item)?;
                open(root, prefix, place, none).during(Call::Open, item)?
            }
            found => found.during(Call::Open, item)?,
        };
    }
    Ok(here)
}

/// What follows the last slash.
fn last_name(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().rposition(|byte| *byte == b'/');
    let name = start.and_then(|at| bytes.get(at + 1..));
    name.and_then(|name| CStr::from_bytes_with_nul(name).ok()).unwrap_or(path)
}
