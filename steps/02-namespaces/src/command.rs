//! The command itself: where it is, and how execve(2) is called.
//!
//! `PATH` is a habit of shells and of the C library; the kernel takes a file
//! and nothing else. So the search is made here, in the container's root and
//! with the container's `PATH`, by simply trying: a check before the call
//! (is it there? may I execute it?) would be answered by another moment.

use std::ffi::{CStr, CString};

use rustix::fs::{Access, FileType, access, stat};
use rustix::io::Errno;

use crate::error::text;
use crate::mountfd::last_errno;
use crate::mounts::c_string;
use crate::wire::{Call, Fault};
use crate::{Error, Process};

/// Arguments and environment as the kernel wants them.
#[derive(Debug)]
pub(crate) struct Command {
    /// Files to try, in this order.
    candidates: Vec<CString>,
    args: Strings,
    env: Strings,
    /// `args[0]` as it was asked for.
    name: String,
}

/// Strings with the NULL-terminated array of pointers that execve takes. It
/// has to be complete before the clone, for it is a heap allocation.
#[derive(Debug)]
struct Strings {
    /// Owns what `pointers` point to; never touched after the build.
    _owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers lead into `_owned`, which moves along with them and
// is never changed; a thread may use them as it may use the strings.
unsafe impl Send for Strings {}

impl Strings {
    fn new(list: impl Iterator<Item = String>) -> Result<Strings, Error> {
        let owned: Vec<CString> = list
            .map(|text| c_string(text.as_bytes()))
            .collect::<Result<_, _>>()?;
        let mut pointers: Vec<_> = owned.iter().map(|it| it.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Strings { _owned: owned, pointers })
    }
}

/// Where a shell looks if nobody says, as in Docker's images.
const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Command {
    /// `home` is what `HOME` becomes if the environment has none: images
    /// rarely set it, and programs write their state into `$HOME`.
    pub(crate) fn prepare(
        process: &Process,
        home: &str,
    ) -> Result<Command, Error> {
        let Some(name) = process.args.first().filter(|it| !it.is_empty())
        else {
            return Err(Error::Invalid("no command specified".to_owned()));
        };
        let mut env = process.env.clone();
        if !env.iter().any(|pair| pair.starts_with("HOME=")) {
            env.push(format!("HOME={home}"));
        }
        let path = env.iter().rev().find_map(|it| it.strip_prefix("PATH="));
        let candidates = candidates(name, path.unwrap_or(DEFAULT_PATH));
        let candidates = candidates
            .iter()
            .map(|path| c_string(path.as_bytes()))
            .collect::<Result<_, _>>()?;
        Ok(Command {
            candidates,
            args: Strings::new(process.args.iter().cloned())?,
            env: Strings::new(env.into_iter())?,
            name: name.clone(),
        })
    }

    /// Child: becomes the command, or says which errno is the telling one.
    pub(crate) fn exec(&self) -> Fault {
        let mut worst = Errno::NOENT;
        for file in &self.candidates {
            let errno = execve(file, &self.args, &self.env);
            match errno {
                // The file is there, so something behind it is not: the
                // program in its `#!` line or its dynamic loader.
                Errno::NOENT if exists(file) => {
                    return fault(Call::Interpreter, errno);
                }
                Errno::NOENT | Errno::NOTDIR => {}
                // As a shell does: remember, and look further.
                Errno::ACCESS if is_dir(file) => worst = Errno::ISDIR,
                Errno::ACCESS => worst = errno,
                _ => return fault(Call::Exec, errno),
            }
        }
        fault(Call::Exec, worst)
    }

    /// Parent: Docker's sentence for the fault. Scripts compare exit codes
    /// (127, 126), and people search the web for these words.
    pub(crate) fn error(&self, fault: Fault) -> Error {
        let name = self.name.clone();
        let by_path = name.contains('/');
        match (fault.call, fault.errno) {
            (Call::Interpreter, _) => Error::NotFound(
                name,
                "no such file or directory (the file is there, but the \
                 interpreter in its first line, or its dynamic loader, \
                 is not in the image)"
                    .to_owned(),
            ),
            (_, Errno::NOENT) if by_path => {
                let why = format!("stat {name}: no such file or directory");
                Error::NotFound(name, why)
            }
            (_, Errno::NOENT) => {
                let why = "executable file not found in $PATH";
                Error::NotFound(name, why.to_owned())
            }
            (_, Errno::ACCESS) => {
                Error::NotExecutable(name, "permission denied".to_owned())
            }
            (_, Errno::ISDIR) => {
                Error::NotExecutable(name, "is a directory".to_owned())
            }
            (_, Errno::NOEXEC) => Error::NotExecutable(
                name,
                "exec format error (built for another machine, or a \
                 script without a first line like #!/bin/sh)"
                    .to_owned(),
            ),
            (_, errno) => Error::NotExecutable(name, text(errno)),
        }
    }
}

/// The files that `name` may be: itself if it has a slash, else one per
/// directory of `path`, where an empty directory means the current one.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.split(':')
        .map(|dir| match dir {
            "" => format!("./{name}"),
            dir => format!("{}/{name}", dir.trim_end_matches('/')),
        })
        .collect()
}

fn fault(call: Call, errno: Errno) -> Fault {
    Fault { call, item: 0, errno }
}

/// Only returns if it fails.
fn execve(file: &CStr, args: &Strings, env: &Strings) -> Errno {
    // SAFETY: the file is a C string; both arrays end with NULL and point
    // into strings that `Strings` keeps alive and unchanged.
    unsafe {
        libc::execve(
            file.as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
        );
    }
    last_errno()
}

fn exists(file: &CStr) -> bool {
    access(file, Access::EXISTS).is_ok()
}

/// execve answers EACCES for a directory, which says nothing.
fn is_dir(file: &CStr) -> bool {
    stat(file).is_ok_and(|it| FileType::from_raw_mode(it.st_mode).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_in_every_directory_of_path() {
        let found = candidates("ls", "/usr/bin/:/bin::rel");
        assert_eq!(found, ["/usr/bin/ls", "/bin/ls", "./ls", "rel/ls"]);
    }

    #[test]
    fn a_path_is_not_looked_up() {
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
    }
}
