//! From paths in a tar to directory descriptors inside the layer.
//!
//! `openat2(2)` with `RESOLVE_IN_ROOT` walks a path as if the layer were
//! `/`: absolute links and `..` stay inside, and there is no moment between
//! check and use, since the kernel does both at once.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::rc::Rc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, ResolveFlags, Timespec, Timestamps,
};
use rustix::io::Errno;

use super::TarError;
use super::error::sys;

/// Directory descriptors kept open; entries come sorted by directory, so a
/// few suffice.
const CACHE: usize = 128;
/// As many links as the kernel itself would follow.
const LINKS: usize = 40;

/// The layer's directory and what is known of those inside.
pub(super) struct Dirs {
    root: Rc<OwnedFd>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// Modes and times are set when everything is in place: each new file
    /// changes its directory's mtime, an ordinary user cannot put files into
    /// a directory that is already read-only, and nothing inherits a group
    /// from a setgid directory that is not one yet.
    last: HashMap<Vec<u8>, (u32, Timespec)>,
    /// Made because something is in them, but not in the tar themselves.
    implied: BTreeSet<Vec<u8>>,
}

impl Dirs {
    /// The one path that comes from us and not from the tar. From here on
    /// everything is relative to this descriptor.
    pub(super) fn open(dir: &Path) -> Result<Dirs, TarError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir, flags, Mode::empty())
            .map_err(sys(b".", "open the layer's directory"))?;
        Ok(Dirs {
            root: Rc::new(root),
            open: HashMap::new(),
            last: HashMap::new(),
            implied: BTreeSet::new(),
        })
    }

    /// The directory that `path` (cleaned) is, made if it does not exist.
    pub(super) fn get(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, TarError> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some(known) = self.open.get(path) {
            return Ok(Rc::clone(known));
        }
        let found = match self.look(path) {
            // Legal: the directory may be in a layer below, and only its
            // new file in this one.
            Err(Errno::NOENT) => self.make(path)?,
            other => other.map_err(sys(path, "enter its directory"))?,
        };
        self.remember(path, found)
    }

    /// Remembers a directory that was just made or opened. The cache is
    /// simply emptied when it is full: entries come sorted by directory, so
    /// an old one is hardly ever asked for again.
    pub(super) fn remember(
        &mut self,
        path: &[u8],
        dir: OwnedFd,
    ) -> Result<Rc<OwnedFd>, TarError> {
        if self.open.len() >= CACHE {
            self.open.clear();
        }
        let dir = Rc::new(dir);
        self.open.insert(path.to_vec(), Rc::clone(&dir));
        Ok(dir)
    }

    /// To be called when a directory or link was replaced: paths may lead
    /// elsewhere now.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// Mode and time that a directory shall have in the end.
    pub(super) fn set_last(&mut self, path: &[u8], mode: u32, time: Timespec) {
        self.implied.remove(path);
        self.last.insert(path.to_vec(), (mode, time));
    }

    /// Sets them, the deepest directories first: a mode that keeps us out
    /// must not come before what is below. Returns the directories that the
    /// tar did not describe.
    pub(super) fn finish(&mut self) -> Result<BTreeSet<Vec<u8>>, TarError> {
        let mut all: Vec<_> =
            std::mem::take(&mut self.last).into_iter().collect();
        all.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, (mode, time)) in all {
            let opened = match path.is_empty() {
                true => Ok(Rc::clone(&self.root)),
                false => self.look_straight(&path).map(Rc::new),
            };
            let dir = match opened {
                Ok(dir) => dir,
                // Replaced by something else later in the tar.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    self.implied.remove(&path);
                    continue;
                }
                Err(e) => return Err(sys(&path, "open")(e)),
            };
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode))
                .map_err(sys(&path, "set its mode"))?;
            rustix::fs::futimens(&dir, &both(time))
                .map_err(sys(&path, "set its time"))?;
        }
        Ok(std::mem::take(&mut self.implied))
    }

    /// `O_PATH` needs no permission on the directory itself, only on the way
    /// to it; new entries can be made in it all the same.
    fn look(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.openat2(path, OFlags::PATH, ResolveFlags::empty())
    }

    /// Without following any link: a directory that was announced and then
    /// replaced by a link must not pass its mode on to the link's target.
    fn look_straight(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.openat2(path, OFlags::RDONLY, ResolveFlags::NO_SYMLINKS)
    }

    /// `NO_MAGICLINKS` also refuses links like `/proc/self/root`, which jump
    /// instead of being walked.
    fn openat2(
        &self,
        path: &[u8],
        flags: OFlags,
        extra: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | extra;
        loop {
            let opened = rustix::fs::openat2(
                &self.root,
                path,
                flags,
                Mode::empty(),
                resolve,
            );
            // The kernel gives up when something, anywhere, was renamed
            // while it walked over a `..`; openat2(2) says to try again.
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                return opened;
            }
        }
    }

    /// Makes a directory that no entry has announced, and those above it. A
    /// link on the way that leads nowhere gets its target made, as `mkdir -p`
    /// would if it followed links.
    fn make(&mut self, path: &[u8]) -> Result<OwnedFd, TarError> {
        let mut todo: VecDeque<Vec<u8>> = parts(path).collect();
        let mut here: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            let below = join(&here, &name);
            match self.look(&below) {
                Ok(_) => {}
                Err(Errno::NOENT) => {
                    let above = match here.is_empty() {
                        true => Rc::clone(&self.root),
                        false => Rc::new(
                            self.look(&here).map_err(sys(&here, "enter"))?,
                        ),
                    };
                    if let Some(target) = link_at(&above, &name) {
                        links += 1;
                        if links > LINKS {
                            return Err(sys(path, "follow")(Errno::LOOP));
                        }
                        here = redirect(&here, &target, &mut todo, path)?;
                        continue;
                    }
                    let mode = Mode::from_raw_mode(0o755);
                    rustix::fs::mkdirat(&above, name.as_slice(), mode)
                        .map_err(sys(&below, "make its directory"))?;
                    self.set_last(&below, 0o755, EPOCH);
                    self.implied.insert(below.clone());
                }
                Err(e) => return Err(sys(&below, "enter its directory")(e)),
            }
            here = below;
        }
        self.look(path).map_err(sys(path, "enter its directory"))
    }
}

/// What nobody gave a time has this one: never the time of the unpacking, so
/// that the same tar always gives the same tree.
pub(super) const EPOCH: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Puts a link's target in front of what is still to be walked; returns
/// where the walk goes on.
fn redirect(
    here: &[u8],
    target: &[u8],
    todo: &mut VecDeque<Vec<u8>>,
    path: &[u8],
) -> Result<Vec<u8>, TarError> {
    let whole = match target.starts_with(b"/") {
        true => target.to_vec(),
        false => join(here, target),
    };
    let cleaned = clean_in_root(&whole);
    if cleaned.len() + path.len() > 4096 {
        return Err(sys(path, "follow")(Errno::NAMETOOLONG));
    }
    for part in parts(&cleaned).collect::<Vec<_>>().into_iter().rev() {
        todo.push_front(part);
    }
    Ok(Vec::new())
}

/// Where a symbolic link leads; `None` when it is none.
fn link_at(dir: &impl AsFd, name: &[u8]) -> Option<Vec<u8>> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new()).ok()?;
    Some(target.into_bytes())
}

/// The components of a cleaned path.
fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|p| !p.is_empty()).map(<[u8]>::to_vec)
}

/// Paths in a tar are bytes, in whatever encoding its maker had.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir.is_empty() {
        true => name.to_vec(),
        false => [dir, b"/", name].concat(),
    }
}

/// Resolves `.` and `..` as text; `..` at the top stays at the top.
///
/// For the targets of links; the kernel does the same with them in a walk
/// with `RESOLVE_IN_ROOT`.
fn clean_in_root(path: &[u8]) -> Vec<u8> {
    let mut stack: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(stack.pop()),
            name => stack.push(name),
        }
    }
    stack.join(&b'/')
}

/// A path of a tar without `.`, `..` and a leading slash. One that would go
/// above the layer has no honest meaning and is refused.
pub(super) fn clean(path: &[u8], depth: usize) -> Result<Vec<u8>, TarError> {
    let mut stack: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if stack.pop().is_none() {
                    let problem = "leads out of the layer (..)";
                    return Err(TarError::entry(path, problem));
                }
            }
            name => stack.push(name),
        }
    }
    if stack.len() > depth {
        return Err(TarError::Limit {
            what: format!("a path of {} components", stack.len()),
            limit: depth as u64,
        });
    }
    Ok(stack.join(&b'/'))
}

/// Opens a directory in a directory, and nothing else: a link to one fails.
/// With `O_PATH` alone, fchmod(2) and fsetxattr(2) would refuse it (EBADF).
pub(super) fn open_dir(dir: &impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Removes a file, link or whole directory, following no link. Its depth is
/// that of the tar's paths, which is limited, so recursion is safe.
pub(super) fn remove_tree(dir: &impl AsFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return other,
    }
    let inner = open_dir(dir, name)?;
    let mut names = Vec::new();
    // All names first: removing while reading may skip some (readdir(3)).
    for entry in Dir::read_from(&inner)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    for name in names {
        remove_tree(&inner, &name)?;
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// Access and modification time, the same: a layer knows only one.
pub(super) fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_never_lead_out() {
        let clean = |p: &str| clean(p.as_bytes(), 8);
        assert_eq!(clean("./a//b/../c/").unwrap(), b"a/c");
        assert_eq!(clean("/etc/passwd").unwrap(), b"etc/passwd");
        assert_eq!(clean("./").unwrap(), b"");
        for path in ["..", "a/../..", "/../x", "a/b/../../../c"] {
            let error = clean(path).unwrap_err().to_string();
            assert!(error.contains("leads out"), "{path}: {error}");
        }
        assert!(clean("1/2/3/4/5/6/7/8/9").is_err());
    }
}
