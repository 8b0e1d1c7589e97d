//! Running a piece of a check in a process of its own: what the learner's
//! code does to namespaces or to the root directory ends with that process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::report::{Verdict, decode, encode, observed};

/// Much longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `work` in a forked process and returns its verdict.
///
/// It may do in there what a program may do: a check has one thread.
pub fn forked(work: impl FnOnce() -> Verdict) -> Verdict {
    forked_within(PATIENCE, work)
}

/// Like [`forked`]; what takes longer than `limit` is killed and observed
/// as `hangs`.
pub fn forked_within(
    limit: Duration,
    work: impl FnOnce() -> Verdict,
) -> Verdict {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: a check has one thread, so no lock of another one is copied
    // while it is held.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        drop(read);
        let code = child(work, write);
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(code) }
    }
    drop(write);
    let status = wait_until(pid, Instant::now() + limit);
    let Some(status) = status else {
        return Err(observed(
            "hangs",
            format!("still running after {} s", limit.as_secs()),
        ));
    };
    read_verdict(read).unwrap_or_else(|| {
        Err(observed("died", format!("the process ended with {status}")))
    })
}

fn child(work: impl FnOnce() -> Verdict, write: OwnedFd) -> i32 {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    // The panic hook has reported already.
    let Ok(verdict) = result else { return 101 };
    let _ = File::from(write).write_all(encode(&verdict).as_bytes());
    0
}

/// Does not wait for the end of the stream: a process that the learner's
/// code left behind may hold the other end.
fn read_verdict(read: OwnedFd) -> Option<Verdict> {
    rustix::io::ioctl_fionbio(&read, true).expect("a pipe that does not block");
    let mut bytes = Vec::new();
    let _ = File::from(read).read_to_end(&mut bytes);
    decode(&String::from_utf8_lossy(&bytes))
}

/// Waits for the child `pid` until `deadline`, then kills it: `None`.
pub fn wait_until(pid: i32, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = status_of(pid) {
            return Some(status);
        }
        if Instant::now() > deadline {
            // SAFETY: kill and waitpid on a child that was not waited for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}

/// How the child `pid` ended, if it has.
pub fn status_of(pid: i32) -> Option<ExitStatus> {
    let mut status = 0;
    // SAFETY: the pointer is valid for the duration of the call.
    let found = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    match found {
        0 => None,
        found if found == pid => Some(ExitStatus::from_raw(status)),
        // Somebody else has waited for it. That it is gone is all we know.
        _ => Some(ExitStatus::from_raw(0)),
    }
}
