use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Prepares a command to live without the terminal that it was started from:
/// a session of its own, no input, and both outputs at the end of `log`.
pub fn detach(command: &mut Command, log: &Path) -> io::Result<()> {
    // BEGIN
    let out = OpenOptions::new().append(true).create(true).open(log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    // SAFETY: setsid is a system call and nothing else.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    Ok(())
    // STARTER
    //= // The terminal sends a signal to this group when it is closed.
    //= command.process_group(0);
    //= command.stdin(Stdio::inherit());
    //= let _ = (log, OpenOptions::new());
    //= Ok(())
    // END
}
