use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;

/// The first use of a new volume: what the image has at that place is copied
/// into it, and its root gets the image's owner and mode.
pub fn populate(image: &Path, volume: &Path) -> io::Result<()> {
    // BEGIN
    // Only once: later, what is in the volume is the user's data.
    if fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    // STARTER
    //= // This runs at every start of a container.
    // END
    copy(image, volume)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        let about = entry.metadata()?;
        if about.is_symlink() {
            symlink(fs::read_link(&old)?, &new)?;
            lchown(&new, Some(about.uid()), Some(about.gid()))?;
        } else if about.is_dir() {
            fs::create_dir(&new)?;
            copy(&old, &new)?;
        } else {
            fs::copy(&old, &new)?;
            same_rights(&old, &new)?;
        }
    }
    // BEGIN
    same_rights(from, to)
    // STARTER
    //= Ok(())
    // END
}

/// Gives `new` the owner and the mode of `old`.
fn same_rights(old: &Path, new: &Path) -> io::Result<()> {
    // BEGIN
    let about = fs::metadata(old)?;
    chown(new, Some(about.uid()), Some(about.gid()))?;
    // After chown, which takes away set-user-ID.
    fs::set_permissions(new, about.permissions())
    // STARTER
    //= let _ = (new, chown::<&Path>);
    //= fs::metadata(old).map(drop)
    // END
}
