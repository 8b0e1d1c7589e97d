use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

/// Gives the caller, who is alone in a new mount namespace and PID 1 of a new
/// PID namespace, a /proc that shows the new process table, and shows it to
/// nobody else.
pub fn own_proc() -> io::Result<()> {
    // BEGIN
    // On most machines `/` is shared: what is mounted here would appear in
    // the namespace that this one was copied from.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None)?;
    Ok(())
    // STARTER
    //= // This works, for everybody on this machine.
    //= mount("proc", "/proc", "proc", MountFlags::empty(), None)?;
    //= Ok(())
    // END
}
