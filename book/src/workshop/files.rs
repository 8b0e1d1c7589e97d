//! Files of the workshop, which belong to whoever the workspace belongs to.
//!
//! The checks want root and a learner's editor does not have it: what a root
//! shell made, the editor could not save.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use anyhow::{Context, Result};

/// Puts a file into `root/workshop`, in one step in place of an old one.
pub(super) fn write(root: &Path, name: &str, text: &str) -> Result<()> {
    let dir = root.join("workshop");
    make_dir(root, &dir)?;
    let (new, file) = (dir.join(format!(".{name}.new")), dir.join(name));
    fs::write(&new, text)
        .and_then(|()| give_to_owner_of(root, &new))
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("write {}", file.display()))
}

/// Makes a directory below `root`, unless it is there.
pub(super) fn make_dir(root: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)
        .and_then(|()| give_to_owner_of(root, dir))
        .with_context(|| format!("make {}", dir.display()))
}

/// Only root may give a file away, and only root has to.
fn give_to_owner_of(root: &Path, path: &Path) -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(root)?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_writes_belongs_to_the_owner_of_the_workspace() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: not root, who alone can make this mistake");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        chown(root.path(), Some(1234), Some(1235)).unwrap();
        write(root.path(), "01-1.rs", "fn a() {}").unwrap();
        for path in ["workshop", "workshop/01-1.rs"] {
            let about = fs::metadata(root.path().join(path)).unwrap();
            assert_eq!((about.uid(), about.gid()), (1234, 1235), "{path}");
        }
    }
}
