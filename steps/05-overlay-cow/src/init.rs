//! The lowest layer of all: what every container needs and no image has.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::remove;

/// Its directory's name, beside those of the image layers.
pub(crate) const NAME: &str = "init";

/// The files and directories that something is mounted upon in every
/// container. As the lowest layer they are there when the image lacks them
/// and hidden when it has its own, and nobody's `diff` shows them.
///
/// Docker makes such a layer for each container and puts it on top, where
/// it must take care not to cover the image's own files.
pub(crate) fn make(root: &Path) -> io::Result<()> {
    if root.join(NAME).exists() {
        return Ok(());
    }
    let temporary = root.join(format!("{}init", remove::DOOMED));
    fs::create_dir(&temporary)?;
    let diff = temporary.join("diff");
    for dir in ["dev", "proc", "sys", "etc"] {
        fs::create_dir_all(diff.join(dir))?;
    }
    for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"] {
        fs::write(diff.join(file), "")?;
    }
    symlink("/proc/mounts", diff.join("etc/mtab"))?;
    match fs::rename(&temporary, root.join(NAME)) {
        // Another process was as quick.
        Err(_) if root.join(NAME).exists() => fs::remove_dir_all(&temporary),
        other => other,
    }
}
