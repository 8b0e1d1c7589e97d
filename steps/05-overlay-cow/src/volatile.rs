//! Mounting a volatile overlay a second time.
//!
//! The kernel leaves a mark in the work directory and refuses another mount
//! while it is there, because after a crash of the *machine* the upper
//! directory may lack what was never written to disk. Its documentation
//! (overlayfs.rst, "Volatile mount") lets who knows better remove the mark.
//! We know better as long as the machine has not been booted again: what is
//! not on disk is still in memory then.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::Error;

/// In which boot the layer was mounted volatile.
const BOOT: &str = "volatile";

/// Writes down that the writable layer in `dir` is volatile in this boot;
/// but not over an older note that the kernel's mark belongs to.
pub(crate) fn note(dir: &Path) -> Result<(), Error> {
    let path = dir.join(BOOT);
    if mark(&dir.join("work")).exists() {
        return Ok(());
    }
    boot_id()
        .and_then(|id| fs::write(&path, id))
        .map_err(Error::io("write", &path))
}

/// Removes the kernel's mark if that is safe. When it is not, the mark stays
/// and the kernel refuses the mount, with our explanation.
pub(crate) fn forgive(dir: &Path) -> Result<(), Error> {
    let mark = mark(&dir.join("work"));
    if !mark.exists() {
        return Ok(());
    }
    let then = fs::read_to_string(dir.join(BOOT)).unwrap_or_default();
    let now = boot_id().unwrap_or_default();
    if now.is_empty() || then != now {
        return Ok(());
    }
    match fs::remove_dir_all(&mark) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io("remove", &mark)(error))
        }
        _ => Ok(()),
    }
}

/// The kernel's mark below a work directory.
pub(crate) fn mark(work: &Path) -> PathBuf {
    work.join("work/incompat/volatile")
}

/// A new random number at every boot (random(4)).
fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}
