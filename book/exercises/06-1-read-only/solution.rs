use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, mount_bind, mount_remount};

/// `-v SOURCE:TARGET:ro`: shows a directory at another place, where nothing
/// can be written. At its own place it stays as it was.
pub fn bind_read_only(source: &Path, target: &Path) -> io::Result<()> {
    // BEGIN
    mount_bind(source, target)?;
    // The first call ignores all flags but MS_BIND, so it takes a second;
    // and with BIND that one is about this mount and not the file system.
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(target, flags, "")?;
    Ok(())
    // STARTER
    //= let flags = MountFlags::BIND | MountFlags::RDONLY;
    //= rustix::mount::mount(source, target, "", flags, None)?;
    //= Ok(())
    // END
}
