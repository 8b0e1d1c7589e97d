//! Reading and writing control files, with errors that name them.
//!
//! A control file looks like a file and is a function of the kernel: a write
//! is a call with one argument, its result the call's. Everything that a
//! user can do wrong with a limit comes back as an errno from here, so this
//! is where the numbers are turned into sentences.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::Error;
use crate::error::errno;

/// The whole text of a file that must be there.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::read(path, &error))
}

/// The text of a file that older kernels do not have, or of a group that
/// went away between two reads: `None` then. A group being removed answers
/// `ENODEV` on files that were open.
pub(crate) fn read_opt(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => match errno(&error) {
            Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP => Ok(None),
            _ => Err(Error::read(path, &error)),
        },
    }
}

/// A file with one number in it, or the word `max` for "no limit" (`None`).
pub(crate) fn read_number(path: &Path) -> Result<Option<u64>, Error> {
    let Some(text) = read_opt(path)? else { return Ok(None) };
    match text.trim() {
        "max" => Ok(None),
        number => number.parse().map(Some).map_err(|_| Error::Parse {
            file: path.to_owned(),
            text: number.to_owned(),
            expected: "a number or \"max\"",
        }),
    }
}

/// A "flat keyed" file such as `memory.stat`: a name and a number a line.
pub(crate) fn read_keyed(path: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let text = read_opt(path)?.unwrap_or_default();
    Ok(keyed(&text))
}

/// Lines that are not "name number" are left out: new kernels add lines, and
/// a new line must not break an old engine.
pub(crate) fn keyed(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(k, v)| Some((k.to_owned(), v.trim().parse().ok()?)))
        .collect()
}

/// Writes a value to a control file.
///
/// The kernel takes one value per write(2) and answers through its result,
/// so the file is opened without `O_CREAT` or `O_TRUNC` and written once:
/// a misspelt name is then `ENOENT` and not a new file.
pub(crate) fn write(path: &Path, value: impl ToString) -> Result<(), Error> {
    let value = value.to_string();
    let written = File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| {
        let source = errno(&error);
        let hint = write_hint(path, source);
        Error::Write { file: path.to_owned(), value, source, hint }
    })
}

/// [`write`] for a file that not every kernel has: `false` if it is missing.
pub(crate) fn write_opt(
    path: &Path,
    value: impl ToString,
) -> Result<bool, Error> {
    match write(path, value) {
        Ok(()) => Ok(true),
        Err(Error::Write { source: Errno::ENOENT, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the usual answers mean for that file. The same errno means different
/// things in different files: `EBUSY` is "processes inside" in one and "more
/// than that is in use" in another.
fn write_hint(path: &Path, error: Errno) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str());
    match (name.unwrap_or_default(), error) {
        ("cgroup.subtree_control", Errno::EBUSY) => {
            "; the group has processes of its own, and a v2 group with \
             processes cannot hand controllers down (\"no internal \
             processes\"): move them into a group below it first"
        }
        ("cgroup.subtree_control", Errno::ENOENT) => {
            "; the group above does not hand this controller down: see its \
             cgroup.subtree_control"
        }
        (
            "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes",
            Errno::EBUSY,
        ) => {
            "; the group uses more than that already and it could not be \
             reclaimed"
        }
        ("cpuset.cpus" | "cpuset.mems", Errno::EACCES | Errno::ENOSPC) => {
            "; the group above does not have these itself, or another group \
             owns them exclusively"
        }
        (_, Errno::ENOENT) => {
            "; this kernel does not have the file: the controller is not \
             enabled here or was built without this feature"
        }
        (_, Errno::EACCES | Errno::EPERM) => {
            "; the group is not delegated to this user"
        }
        (_, Errno::EROFS) => {
            "; cgroups are mounted read-only, as inside a container"
        }
        _ => "",
    }
}

/// Moves a process into the group at `dir`.
pub(crate) fn attach(dir: &Path, pid: u32) -> Result<(), Error> {
    match write(&dir.join("cgroup.procs"), pid) {
        Err(Error::Write { source, .. }) => Err(Error::Attach {
            pid,
            dir: dir.to_owned(),
            source,
            hint: attach_hint(source),
        }),
        other => other,
    }
}

/// Moving a process is the only write whose answer depends on two groups,
/// the new one and the one it comes from.
fn attach_hint(error: Errno) -> &'static str {
    match error {
        Errno::ESRCH => "; there is no such process (any more)",
        Errno::EACCES | Errno::EPERM => {
            "; moving needs write access to cgroup.procs of the new group \
             and of the first group above both the old and the new one"
        }
        Errno::EBUSY => {
            "; the group hands controllers down to groups below it and can \
             have no processes of its own"
        }
        Errno::ENOSPC => "; cpuset.cpus or cpuset.mems of the group is empty",
        Errno::EINVAL => {
            "; kernel threads and, in a group without real-time time, \
             real-time processes cannot be moved"
        }
        _ => "",
    }
}

/// Undoes the octal escapes (`\040` for a space) of `/proc/*/mountinfo`.
pub(crate) fn unescape(text: &str) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = text.get(at + 1..at + 4);
        let code = octal.and_then(|o| u8::from_str_radix(o, 8).ok());
        match (bytes[at], code) {
            (b'\\', Some(code)) => {
                out.push(code);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_files_skip_lines_they_do_not_know() {
        let got = keyed("anon 4096\nodd line here\nfile 7\n");
        assert_eq!(got.len(), 2);
        assert_eq!(got["file"], 7);
    }

    #[test]
    fn mountinfo_escapes_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape(r"/end\04"), Path::new(r"/end\04"));
    }

    #[test]
    fn a_missing_control_file_is_named_and_never_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.max");
        let error = write(&path, 7).unwrap_err().to_string();
        assert!(error.contains("memory.max: ENOENT"), "{error}");
        assert!(!path.exists());
        assert!(!write_opt(&path, 7).unwrap());
    }
}
