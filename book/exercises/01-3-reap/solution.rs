use std::io;
use std::process::Command;
use std::thread;

/// Starts a command as a daemon does: returns its PID at once, and takes care
/// that nothing of it is left when it has ended.
pub fn start(command: &mut Command) -> io::Result<u32> {
    // BEGIN
    let mut child = command.spawn()?;
    let pid = child.id();
    // One thread per child. It waits for this child and no other, so that
    // whoever else has children finds them.
    thread::spawn(move || child.wait());
    Ok(pid)
    // STARTER
    //= let child = command.spawn()?;
    //= Ok(child.id())
    // END
}
