//! Kernel files that tell about the host, or let one change it.
//!
//! `/proc` and `/sys` are only partly namespaced: `/proc/kcore` is the
//! machine's memory, `/proc/sysrq-trigger` reboots it. What must not be read
//! is covered, what must not be written is mounted read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, ResolveFlags, fstat, major, minor};
use rustix::io::Errno;

use crate::Error;
use crate::inroot::RootPath;
use crate::mountfd::{Attributes, attach, clone_tree, set_attributes};
use crate::mounts::Fs;
use crate::sandbox::Sandbox;
use crate::wire::{Call, During, Fault};

/// The two lists, laid out for system calls.
#[derive(Debug)]
pub(crate) struct Masks {
    covered: Vec<RootPath>,
    read_only: Vec<RootPath>,
    null: RootPath,
    nothing: Fs,
    names: Vec<PathBuf>,
}

/// Prepares the paths of `sandbox`.
pub(crate) fn prepare(sandbox: &Sandbox) -> Result<Masks, Error> {
    let all = |paths: &[PathBuf]| {
        paths.iter().map(|path| RootPath::new(path)).collect()
    };
    let (masked, read_only) = (&sandbox.masked_paths, &sandbox.readonly_paths);
    let covered: Result<_, Error> = all(masked);
    Ok(Masks {
        covered: covered?,
        read_only: all(read_only)?,
        null: RootPath::new("/dev/null".as_ref())?,
        nothing: Fs::plain(c"tmpfs"),
        names: masked.iter().chain(read_only).cloned().collect(),
    })
}

impl Masks {
    /// For errors: which path is number `item`.
    pub(crate) fn name(&self, item: usize) -> String {
        let name = self.names.get(item);
        name.map_or_else(String::new, |name| name.display().to_string())
    }

    /// Child: covers the one list and freezes the other. A read-only path is
    /// a bind mount of itself: the attribute belongs to a mount, and a
    /// directory in the middle of `/proc` is none yet.
    ///
    /// Root inside cannot undo either: that takes mounting, and so
    /// CAP_SYS_ADMIN, which is not among what it keeps.
    pub(crate) fn apply(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        for (item, path) in self.covered.iter().enumerate() {
            if let Some(place) = find(path, root, item)? {
                self.cover(root, place.as_fd(), item)?;
            }
        }
        for (item, path) in self.read_only.iter().enumerate() {
            let item = self.covered.len() + item;
            if let Some(place) = find(path, root, item)? {
                let copy = clone_tree(place.as_fd(), c"", true)
                    .during(Call::Clone, item)?;
                set_attributes(copy.as_fd(), &Attributes::READ_ONLY, true)
                    .during(Call::Attributes, item)?;
                attach(copy.as_fd(), place.as_fd())
                    .during(Call::Attach, item)?;
            }
        }
        Ok(())
    }

    /// Child: an empty directory over a directory, /dev/null over a file.
    fn cover(
        &self,
        root: BorrowedFd<'_>,
        place: BorrowedFd<'_>,
        item: usize,
    ) -> Result<(), Fault> {
        let stat = fstat(place).during(Call::Open, item)?;
        let cover = if FileType::from_raw_mode(stat.st_mode).is_dir() {
            self.nothing.make(&Attributes::READ_ONLY, item)?
        } else {
            self.take_null(root, item)?
        };
        attach(cover.as_fd(), place).during(Call::Attach, item)
    }

    /// Child: `/dev/null`, if it is that. With a link in its place a
    /// container would have some other file mounted over the mask, writable
    /// (CVE-2025-31133). What is checked here is the open file itself.
    fn take_null(
        &self,
        root: BorrowedFd<'_>,
        item: usize,
    ) -> Result<OwnedFd, Fault> {
        let null = self
            .null
            .open(root, ResolveFlags::NO_SYMLINKS)
            .during(Call::Open, item)?;
        let stat = fstat(&null).during(Call::Open, item)?;
        let is_null = FileType::from_raw_mode(stat.st_mode).is_char_device()
            && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
        if !is_null {
            return Err(Errno::NODEV).during(Call::Open, item);
        }
        clone_tree(null.as_fd(), c"", false).during(Call::Clone, item)
    }
}

/// Child: a path that this kernel may not have. Which files there are
/// depends on how the kernel was built, and what is missing needs no cover.
fn find(
    path: &RootPath,
    root: BorrowedFd<'_>,
    item: usize,
) -> Result<Option<OwnedFd>, Fault> {
    match path.open(root, ResolveFlags::NO_SYMLINKS) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).during(Call::Open, item),
    }
}
