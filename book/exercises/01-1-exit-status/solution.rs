use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// The exit code that `docker run` reports for a command that was started.
pub fn ended(status: ExitStatus) -> i32 {
    // BEGIN
    match status.signal() {
        Some(signal) => 128 + signal,
        None => status.code().unwrap_or(125),
    }
    // STARTER
    //= // A process that a signal ended has no code.
    //= status.code().unwrap_or(1)
    // END
}

/// The exit code that `docker run` reports for a command that could not be
/// started.
pub fn not_started(error: &io::Error) -> i32 {
    // BEGIN
    match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    }
    // STARTER
    //= let _ = error;
    //= 125
    // END
}

/// Both together.
pub fn run(command: &mut Command) -> i32 {
    match command.status() {
        Ok(status) => ended(status),
        Err(error) => not_started(&error),
    }
}
