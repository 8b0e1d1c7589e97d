use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The two directories that an overlay writes to.
pub struct Writable {
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// Makes them below `dir`, which is on a disk. `lower` is the topmost layer.
pub fn prepare(dir: &Path, lower: &Path) -> io::Result<Writable> {
    // BEGIN
    // Side by side on one file system: the kernel renames from one to the
    // other.
    let upper = dir.join("upper");
    let work = dir.join("work");
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    // The container's `/` is the upper directory, with its mode.
    let mode = fs::metadata(lower)?.permissions().mode();
    fs::set_permissions(&upper, Permissions::from_mode(mode))?;
    Ok(Writable { upper, work })
    // STARTER
    //= let _ = (lower, Permissions::from_mode(0o755));
    //= let upper = dir.join("upper");
    //= fs::create_dir_all(&upper)?;
    //= Ok(Writable { work: upper.clone(), upper })
    // END
}
