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

use rustix::fs::{
    Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat_raw,
};
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
        let place = (parent.as_fd(), self.full());
        open_or_make(root, place, Missing::File, item, MAX_LINKS)
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

/// Walks down `prefixes`, making each directory that is missing.
fn make_dirs(
    root: BorrowedFd<'_>,
    prefixes: &[CString],
    item: usize,
) -> Result<OwnedFd, Fault> {
    let none = ResolveFlags::empty();
    let full = prefixes.last().map_or(HERE, CString::as_c_str);
    match open(root, full, DIRECTORY, none) {
        Err(Errno::NOENT) => {}
        found => return found.during(Call::Open, item),
    }
    let here = open(root, HERE, DIRECTORY, none);
    let mut here = here.during(Call::Open, item)?;
    for prefix in prefixes {
        let place = (here.as_fd(), prefix.as_c_str());
        here = open_or_make(root, place, Missing::Directory, item, MAX_LINKS)?;
    }
    Ok(here)
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// As many as the kernel follows in one lookup (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// What is made where a path leads to nothing.
#[derive(Clone, Copy)]
enum Missing {
    Directory,
    File,
}

impl Missing {
    /// Never follows a link in the last place.
    fn make(self, here: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        match self {
            Missing::Directory => {
                mkdirat(here, name, Mode::from_raw_mode(0o755))
            }
            Missing::File => {
                let flags = OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC
                    | OFlags::WRONLY;
                let mode = Mode::from_raw_mode(0o644);
                openat(here, name, flags, mode).map(drop)
            }
        }
    }

    fn place(self) -> OFlags {
        match self {
            Missing::Directory => DIRECTORY,
            Missing::File => OFlags::PATH,
        }
    }

    fn call(self) -> Call {
        match self {
            Missing::Directory => Call::Mkdir,
            Missing::File => Call::Create,
        }
    }
}

/// A path below the root, and the directory of its last name. That is held
/// by a descriptor which openat2 has found below the root, so what is made
/// in it is made there.
type Place<'a> = (BorrowedFd<'a>, &'a CStr);

/// Opens a path of which at most the last part is missing, and makes that.
fn open_or_make(
    root: BorrowedFd<'_>,
    (here, path): Place<'_>,
    missing: Missing,
    item: usize,
    links: u32,
) -> Result<OwnedFd, Fault> {
    let none = ResolveFlags::empty();
    match open(root, path, missing.place(), none) {
        Err(Errno::NOENT) => {}
        found => return found.during(Call::Open, item),
    }
    match missing.make(here, last_name(path)) {
        Err(Errno::EXIST) if links > 0 => {
            make_behind_link(root, (here, path), missing, item, links - 1)?;
        }
        made => made.during(missing.call(), item)?,
    }
    open(root, path, missing.place(), none).during(Call::Open, item)
}

/// What has a name and yet leads to nothing is a link. Its target is made,
/// as Docker does: an image may have `/data -> /srv/data` and no `/srv`. Put
/// behind the path of its directory, the link's text is a path from the root.
fn make_behind_link(
    root: BorrowedFd<'_>,
    (here, link): Place<'_>,
    missing: Missing,
    item: usize,
    links: u32,
) -> Result<(), Fault> {
    let name = last_name(link);
    let base = link.count_bytes() - name.count_bytes();
    // No string can be built here, but the stack has room for a path.
    let mut path = [0u8; libc::PATH_MAX as usize];
    let too_long = || Err(Errno::NAMETOOLONG).during(Call::Open, item);
    let Some((directory, text)) = path.split_at_mut_checked(base) else {
        return too_long();
    };
    directory.copy_from_slice(&link.to_bytes()[..base]);
    let length = match readlinkat_raw(here, name, &mut *text) {
        // Made by somebody else in the meantime.
        Err(Errno::INVAL) => return Ok(()),
        read => read.during(Call::Open, item)?,
    };
    if length == text.len() {
        return too_long();
    }
    let start = if text.first() == Some(&b'/') { base } else { 0 };
    let path = &mut path[start..=base + length];
    let end = path.len() - 1;
    let top = open(root, HERE, DIRECTORY, ResolveFlags::empty());
    let mut here = top.during(Call::Open, item)?;
    for at in 1..=end {
        if at < end && path[at] != b'/' {
            continue;
        }
        let what = if at < end { Missing::Directory } else { missing };
        let cut = std::mem::replace(&mut path[at], 0);
        let prefix = CStr::from_bytes_until_nul(path).unwrap_or(HERE);
        here = open_or_make(root, (here.as_fd(), prefix), what, item, links)?;
        path[at] = cut;
    }
    Ok(())
}

/// What follows the last slash.
fn last_name(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().rposition(|byte| *byte == b'/');
    let name = start.and_then(|at| bytes.get(at + 1..));
    name.and_then(|name| CStr::from_bytes_with_nul(name).ok()).unwrap_or(path)
}
