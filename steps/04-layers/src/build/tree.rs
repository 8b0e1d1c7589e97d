//! The files that a COPY may take from, and their fingerprint.
//!
//! A [`Tree`] is the build context, seen through `.dockerignore`, or the
//! file system of another stage. The fingerprint of a set of sources is the
//! heart of the layer cache: path, type, mode, owner and content count, times
//! do not, so that a fresh `git clone` still hits.

use super::glob::{self, Pattern};
use super::ignore::{Ignore, clean};
use super::rootpath::resolve;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory to copy from.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// Where it is on this machine.
    pub(super) root: PathBuf,
    /// What is to be overlooked.
    pub(super) ignore: Ignore,
    /// Whether owners are kept (another stage) or not (the context, whose
    /// owners are those of whoever checked the sources out).
    pub(super) owners: bool,
}

/// One thing named by a COPY's source, after patterns were expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Relative to the root, as written: gives the name of the copy.
    pub(super) name: String,
    /// The real place, links resolved.
    pub(super) path: PathBuf,
}

/// A file's path and fingerprint, for `build --explain`.
pub(super) type Print = (String, String);

impl Tree {
    /// What a source stands for: one file, or all that match its pattern.
    pub(super) fn find(&self, source: &str) -> Result<Vec<Found>, String> {
        let name = clean(source);
        if !glob::is_pattern(&name) {
            let missing = || {
                format!(
                    "file not found in build context or excluded by \
                     .dockerignore: stat {name}: file does not exist"
                )
            };
            if self.ignore.excludes(&name) && self.ignore.prunes() {
                return Err(missing());
            }
            let path = resolve(&self.root, Path::new(&name));
            let path = path.map_err(|error| format!("{name}: {error}"))?;
            fs::symlink_metadata(&path).map_err(|_| missing())?;
            return Ok(vec![Found { name, path }]);
        }
        let pattern = Pattern::of_names(&name)?;
        let mut found = Vec::new();
        let depth = name.split('/').count();
        self.matching("", depth, &pattern, &mut found)
            .map_err(|error| format!("{name}: {error}"))?;
        match found.is_empty() {
            true => Err("no source files were specified".into()),
            false => Ok(found),
        }
    }

    /// Goes as deep as the pattern has components, and no deeper: `*` never
    /// crosses a directory.
    fn matching(
        &self,
        directory: &str,
        depth: usize,
        pattern: &Pattern,
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        for name in self.names(directory)? {
            let path = resolve(&self.root, Path::new(&name))?;
            if depth > 1 {
                if path.is_dir() {
                    self.matching(&name, depth - 1, pattern, found)?;
                }
            } else if pattern.matches(&name) {
                found.push(Found { name, path });
            }
        }
        Ok(())
    }

    /// Sorted names in a directory, as paths from the root, without those
    /// that are ignored.
    fn names(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        // Resolved, or a link in a pattern's way would list the host.
        let real = resolve(&self.root, Path::new(directory))?;
        for entry in fs::read_dir(real)? {
            let name = entry?.file_name();
            let name = name.to_str().ok_or_else(|| {
                let text = format!("file name {name:?} is not UTF-8");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            let path = match directory {
                "" => name.to_owned(),
                _ => format!("{directory}/{name}"),
            };
            if !self.ignore.excludes(&path) || self.may_hold_more(&path) {
                names.push(path);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether an excluded path is a directory that a later `!pattern`
    /// might bring files back from.
    fn may_hold_more(&self, path: &str) -> bool {
        !self.ignore.prunes() && is_directory(&self.root.join(path))
    }

    /// Calls `visit` for `from` and everything below it that is not
    /// ignored, parents first. The path handed over is relative to the root.
    pub(super) fn walk(
        &self,
        from: &Path,
        visit: &mut dyn FnMut(&str, &Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = from.strip_prefix(&self.root).unwrap_or(from);
        let name = name.to_str().unwrap_or_default().to_owned();
        self.walk_name(&name, visit).map(drop)
    }

    /// An excluded directory is shown only if something in it is not.
    fn walk_name(
        &self,
        name: &str,
        visit: &mut dyn FnMut(&str, &Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        let meta = fs::symlink_metadata(self.root.join(name))?;
        if !meta.is_dir() {
            return visit(name, &meta);
        }
        if !name.is_empty()
            && self.ignore.excludes(name)
            && !self.holds(name)?
        {
            return Ok(());
        }
        visit(name, &meta)?;
        for inner in self.names(name)? {
            self.walk_name(&inner, visit)?;
        }
        Ok(())
    }

    /// Whether an excluded directory has anything in it that is not.
    fn holds(&self, directory: &str) -> io::Result<bool> {
        for name in self.names(directory)? {
            let deeper = is_directory(&self.root.join(&name));
            if !self.ignore.excludes(&name) || deeper && self.holds(&name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The fingerprints of everything that `found` stands for. Names are
    /// part of them, the context's own place is not.
    pub(super) fn prints(&self, found: &[Found]) -> io::Result<Vec<Print>> {
        let mut prints = Vec::new();
        for source in found {
            self.walk(&source.path, &mut |name, meta| {
                let print = self.print(&self.root.join(name), meta)?;
                prints.push((name.to_owned(), print));
                Ok(())
            })?;
        }
        Ok(prints)
    }

    /// What makes a file another file. Not its times: a fresh checkout has new
    /// ones.
    fn print(&self, path: &Path, meta: &Metadata) -> io::Result<String> {
        let mut hash = Sha256::new();
        hash.update(meta.mode().to_le_bytes());
        if self.owners {
            hash.update(meta.uid().to_le_bytes());
            hash.update(meta.gid().to_le_bytes());
        }
        if meta.is_symlink() {
            hash.update(fs::read_link(path)?.as_os_str().as_bytes());
        } else if meta.is_file() {
            let mut content = Hashing(&mut hash);
            io::copy(&mut File::open(path)?, &mut content)?;
        } else if !meta.is_dir() {
            hash.update(meta.rdev().to_le_bytes());
        }
        Ok(hex(&hash.finalize()))
    }
}

/// A directory itself, not a link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// A writer that only counts into a digest.
struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
