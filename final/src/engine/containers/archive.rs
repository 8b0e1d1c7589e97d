//! `docker cp`: files out of and into a container.

use std::ffi::OsStr;
use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use layers::apply::{self, LIMITS};
use namespaces::User;
use rustix::fs::{FileType, OFlags, readlinkat};
use rustix::io::Errno;
use serde::Serialize;

use super::Container;
use super::root::{path_of, resolve};
use super::tree::Tree;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::Attributes;

/// `X-Docker-Container-Path-Stat`: what is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathStat {
    /// Its base name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Go's `os.FileMode`: permissions, and bits for the type.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link leads, as a path in the container.
    pub link_target: String,
}

/// How a tar is unpacked into a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpack {
    /// A directory is not replaced by something else, nor the reverse.
    pub keep_kinds: bool,
    /// Files become the property of the container's user (`cp -a`).
    pub own: bool,
}

impl Engine {
    /// What is at `path`, without following a link at its end.
    ///
    /// # Errors
    /// [`Error::NotFound`] in Docker's words.
    pub fn path_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let container = &self.containers.find(name)?;
        self.with_root(container, |root| stat(root, name, path))
    }

    /// Writes what is at `path` as a tar whose names begin with its base
    /// name. The stat is handed over before the first byte.
    ///
    /// # Errors
    /// [`Error::NotFound`] in Docker's words, or what stopped the tar.
    pub fn pack(
        &self,
        name: &str,
        path: &str,
        found: impl FnOnce(PathStat) + Send,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let container = &self.containers.find(name)?;
        self.with_root(container, |root| {
            found(stat(root, name, path)?);
            self.tell(container, "archive-path", Attributes::new());
            let (parent, last) = open_parent(root, path)
                .map_err(|errno| missing(errno, name, path))?;
            let mut tree = Tree::new(out);
            let packed = if last.is_empty() {
                // The directory itself, by a path that ends in `/.` or `/`.
                tree.directory(&parent, Path::new(&base_name(path)))
            } else {
                tree.entry(&parent, &last, Path::new(&last))
            };
            packed.and_then(|()| tree.finish()).map_err(Error::internal)
        })
    }

    /// Unpacks a tar into the directory at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] or [`Error::Forbidden`] in
    /// Docker's words; or what is wrong with the tar.
    pub fn unpack(
        &self,
        name: &str,
        path: &str,
        how: Unpack,
        tar: &mut (dyn BufRead + Send),
    ) -> Result<()> {
        let container = &self.containers.find(name)?;
        let read_only =
            container.with(|record| record.host_config.readonly_rootfs);
        self.with_root(container, |root| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let dir = match resolve(root, path, flags) {
                Err(Errno::NOTDIR) => {
                    let text = "extraction point is not a directory";
                    return Err(Error::Invalid(text.to_owned()));
                }
                other => other.map_err(|errno| missing(errno, name, path))?,
            };
            if read_only && !is_mounted_writable(&dir) {
                let text = "container rootfs is marked read-only";
                return Err(Error::Forbidden(text.to_owned()));
            }
            let options = apply::Options {
                owners: true,
                owner: if how.own { user_of(root, container)? } else { None },
                trusted: true,
                whiteouts: false,
                keep_kinds: how.keep_kinds,
                privileges: true,
                limits: LIMITS,
            };
            self.tell(container, "extract-to-dir", Attributes::new());
            apply::apply(&path_of(&dir), &mut &mut *tar, &options)
                .map_err(|error| Error::Invalid(error.to_string()))?;
            Ok(())
        })
    }
}

/// The container's user in numbers, unless that is root anyway.
fn user_of(
    root: &OwnedFd,
    container: &Container,
) -> Result<Option<(u32, u32)>> {
    let name = container.with(|record| record.config.user.clone());
    if name.is_empty() {
        return Ok(None);
    }
    let user = User::named(name)
        .resolve(&path_of(root))
        .map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(Some((user.uid, user.gid)))
}

/// A volume in a read-only container may be written.
fn is_mounted_writable(dir: &OwnedFd) -> bool {
    let flags = rustix::fs::fstatvfs(dir).map(|it| it.f_flag);
    flags.is_ok_and(|it| !it.contains(rustix::fs::StatVfsMountFlags::RDONLY))
        && rustix::fs::fstatfs(dir).is_ok_and(|it| it.f_type != OVERLAY_MAGIC)
}

/// statfs(2)'s number for overlayfs: the root itself.
const OVERLAY_MAGIC: rustix::fs::FsWord = 0x794c_7630;

fn missing(errno: Errno, container: &str, path: &str) -> Error {
    match errno {
        // The kernel says ELOOP of a magic link, too (`/proc/1/root`), which
        // leads out of the container.
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::NotFound(format!(
            "Could not find the file {path} in container {container}"
        )),
        errno => Error::Internal(format!("cannot open {path}: {errno}")),
    }
}

/// The directory that holds the last name of `path`, and that name; or the
/// directory itself and no name, if the path ends in `/`, `.` or `..`.
fn open_parent(
    root: &OwnedFd,
    path: &str,
) -> std::result::Result<(OwnedFd, String), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    if matches!(name, "" | "." | "..") {
        return Ok((resolve(root, path, flags)?, String::new()));
    }
    let dir = resolve(root, above, flags)?;
    rustix::fs::statat(&dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((dir, name.to_owned()))
}

/// Go's `path.Base`, which Docker names tar entries by.
fn base_name(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        None | Some("") => "/".to_owned(),
        Some(name) => name.to_owned(),
    }
}

fn stat(root: &OwnedFd, container: &str, path: &str) -> Result<PathStat> {
    let failed = |errno| missing(errno, container, path);
    let (dir, name) = open_parent(root, path).map_err(failed)?;
    let follow = if name.is_empty() { "." } else { name.as_str() };
    let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statat(&dir, follow, nofollow).map_err(failed)?;
    let mut link_target = String::new();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        link_target = match resolve(root, path, OFlags::PATH) {
            Ok(target) => inside(root, &target),
            // It leads nowhere: its own words.
            Err(_) => readlinkat(&dir, follow, Vec::new())
                .map(|text| text.to_string_lossy().into_owned())
                .map_err(failed)?,
        };
    }
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let time = Timestamp::new(stat.st_mtime, nanos).unwrap_or_default();
    Ok(PathStat {
        name: base_name(path),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: go_mode(stat.st_mode),
        mtime: time.to_string(),
        link_target,
    })
}

/// The path of an open file as the container sees it.
fn inside(root: &OwnedFd, fd: &OwnedFd) -> String {
    let read = |fd: &OwnedFd| std::fs::read_link(path_of(fd));
    let (Ok(root), Ok(path)) = (read(root), read(fd)) else {
        return String::new();
    };
    let relative = path.strip_prefix(&root).map(Path::to_owned);
    let relative: PathBuf = relative.unwrap_or(path);
    let text = String::from_utf8_lossy(relative.as_os_str().as_bytes());
    format!("/{}", text.trim_start_matches('/'))
}

/// Unix's mode bits as Go's `os.FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix != 0 { go } else { 0 };
    kind | mode & 0o777
        | bit(0o4000, 1 << 23)
        | bit(0o2000, 1 << 22)
        | bit(0o1000, 1 << 20)
}

/// Bytes of a name, which need not be text.
pub(super) fn name_of(name: &std::ffi::CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), 0x8000_01ed);
        assert_eq!(go_mode(0o120_777), 0x0800_01ff);
        assert_eq!(go_mode(0o041_777), 0x8010_01ff);
        assert_eq!(go_mode(0o104_755), 0x0080_01ed);
        assert_eq!(go_mode(0o020_666), 0x0420_01b6);
    }

    #[test]
    fn base_names_are_gos() {
        for (path, name) in
            [("/a/b", "b"), ("/a/", "a"), ("/a/.", "."), ("/", "/")]
        {
            assert_eq!(base_name(path), name);
        }
    }
}
