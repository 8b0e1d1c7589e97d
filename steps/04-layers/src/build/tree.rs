//! The files that a COPY may take from, and their fingerprint.
//!
//! A [`Tree`] is the build context, seen through `.dockerignore`, or the
//! file system of another stage. The fingerprint of a set of sources is the
//! heart of the layer cache: path, type, mode, owner and content count, times
//! do not, so that a fresh `git clone` still hits.

use super::glob::{self, Pattern};
use super::ignore::{Ignore, clean};
use super::rootpath::resolve;
use crate::DiffId;
use serde::{Deserialize, Serialize};
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
    /// How many directories of the name stand before a `/./`.
    pub(super) pivot: usize,
    /// The real place, links resolved.
    pub(super) path: PathBuf,
}

/// The fingerprint of one file: what makes it another file. Not its times: a
/// fresh checkout has new ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    /// From the root of its tree.
    pub(super) path: String,
    /// `st_mode`: type and permissions.
    pub(super) mode: u32,
    /// Where owners are kept.
    pub(super) owner: Option<(u32, u32)>,
    /// A digest of its bytes or of a link's target, or a device's number.
    pub(super) content: String,
}

impl Print {
    /// All files of another stage or image.
    pub(super) fn of_layers(name: &str, layers: &[DiffId]) -> Self {
        let list: Vec<&str> = layers.iter().map(|it| it.0.as_str()).collect();
        Self {
            path: format!("the files of {name}"),
            mode: 0,
            owner: None,
            content: hex(&Sha256::digest(list.join(" "))),
        }
    }

    /// Whether it is a file, a directory, a link…
    pub(super) fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Without its type.
    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

impl Found {
    /// What `COPY --parents` keeps of the name: all, or what is behind `/./`.
    pub(super) fn kept(&self) -> String {
        let parts = self.name.split('/').skip(self.pivot);
        parts.collect::<Vec<_>>().join("/")
    }
}

impl Tree {
    /// What a source stands for: one file, or all that match its pattern.
    pub(super) fn find(&self, source: &str) -> Result<Vec<Found>, String> {
        let name = clean(source);
        let before = source.split_once("/./").map(|(before, _)| clean(before));
        let pivot = before.map_or(0, |it| depth(&it));
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
            return Ok(vec![Found { name, pivot, path }]);
        }
        let pattern = Pattern::of_names(&name)?;
        let mut found = Vec::new();
        let mut visit = |name, path| found.push(Found { name, pivot, path });
        self.matching("", depth(&name), &pattern, &mut visit)
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
        found: &mut dyn FnMut(String, PathBuf),
    ) -> io::Result<()> {
        for name in self.names(directory)? {
            let path = resolve(&self.root, Path::new(&name))?;
            if depth > 1 {
                if path.is_dir() {
                    self.matching(&name, depth - 1, pattern, found)?;
                }
            } else if pattern.matches(&name) {
                found(name, path);
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
                prints.push(self.print(name, meta)?);
                Ok(())
            })?;
        }
        Ok(prints)
    }

    fn print(&self, name: &str, meta: &Metadata) -> io::Result<Print> {
        let path = self.root.join(name);
        let content = if meta.is_symlink() {
            let target = fs::read_link(path)?;
            hex(&Sha256::digest(target.as_os_str().as_bytes()))
        } else if meta.is_file() {
            let mut hash = Sha256::new();
            io::copy(&mut File::open(path)?, &mut Hashing(&mut hash))?;
            hex(&hash.finalize())
        } else if meta.is_dir() {
            String::new()
        } else {
            meta.rdev().to_string()
        };
        Ok(Print {
            path: name.to_owned(),
            mode: meta.mode(),
            owner: self.owners.then(|| (meta.uid(), meta.gid())),
            content,
        })
    }
}

/// How many components a clean path has.
fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
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
