use std::io;
use std::path::Path;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::{chdir, pivot_root};

/// Makes `root` the root directory of this mount namespace and takes the old
/// one away. The caller has a mount namespace of its own, with everything in
/// it private.
pub fn enter(root: &Path) -> io::Result<()> {
    // BEGIN
    // Only a mount can become the root, and a directory becomes one by being
    // mounted on itself.
    mount_bind(root, root)?;
    chdir(root)?;
    // The old root goes on top of the new one, on the same spot…
    pivot_root(".", ".")?;
    // …from where it is taken away, busy as it is.
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    Ok(())
    // STARTER
    //= // This changes where paths begin, and nothing else. What was mounted
    //= // before is still there.
    //= rustix::process::chroot(root)?;
    //= chdir("/")?;
    //= Ok(())
    // END
}
