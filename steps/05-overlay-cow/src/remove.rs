//! Removing a directory tree that a container has written: any names, any
//! depth, any modes, and possibly interrupted halfway by a crash.
//!
//! std's `remove_dir_all` walks by directory descriptors (openat(2),
//! unlinkat(2)), so a link that a process puts in its way does not lead it
//! out of the tree (CVE-2022-21658 was about exactly that).

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::Error;

/// What is to be removed is renamed first, to this and its name. So a
/// writable layer is there whole or not at all, and the next start of the
/// engine finishes what a crash interrupted.
pub(crate) const DOOMED: &str = "removing-";

/// Removes `root/name`; that it is not there is fine.
pub(crate) fn tree(root: &Path, name: &str) -> Result<(), Error> {
    let doomed = root.join(format!("{DOOMED}{name}"));
    // Left by a removal of the same name that was interrupted.
    delete(&doomed)?;
    let dir = root.join(name);
    match fs::rename(&dir, &doomed) {
        Ok(()) => delete(&doomed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io("remove", &dir)(source)),
    }
}

/// Finishes all interrupted removals.
pub(crate) fn sweep(root: &Path) -> Result<(), Error> {
    for name in crate::view::sorted_names(root)? {
        if name.to_string_lossy().starts_with(DOOMED) {
            delete(&root.join(name))?;
        }
    }
    Ok(())
}

fn delete(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Root may do anything; an ordinary user not even empty a directory
        // of his own without x, and the kernel makes `work/work` with mode
        // 000 to keep everybody out.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(dir).and_then(|()| fs::remove_dir_all(dir))
        }
        Err(error) => Err(error),
    }
    .map_err(Error::io("remove", dir))
}

/// Gives the owner the right to empty each directory. Only reached by an
/// ordinary user, in a tree where everything is his.
fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
