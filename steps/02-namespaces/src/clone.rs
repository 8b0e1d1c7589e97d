//! clone3(2): one call makes the process and its namespaces.
//!
//! Rust's standard library has no fork, for a good reason: in the child only
//! the calling thread exists, and a lock that another thread held at that
//! moment (malloc has several) stays locked for ever. So the rule of this
//! crate: between the clone and the execve the child makes system calls and
//! touches memory that was laid out before, and nothing else.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::mountfd::last_errno;

/// Both sides of a clone.
pub(crate) enum Side {
    /// In the new process.
    Child,
    /// In the caller, with the new PID and a file descriptor that always
    /// means this process, even when the PID has been given away again.
    Parent(i32, OwnedFd),
}

/// `CLONE_INTO_CGROUP`; libc types it as an int, which cannot hold it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes a process with `namespaces` (`CLONE_NEW*`) of its own.
///
/// `sibling` makes it a child of the caller's parent instead of the caller.
///
/// # Safety
/// The child must not allocate, take a lock or return into code that does;
/// it may only make system calls until it executes a program or `_exit`s.
pub(crate) unsafe fn clone3(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    sibling: bool,
) -> Result<Side, Errno> {
    let mut pidfd: i32 = -1;
    let mut args = unused_args();
    args.flags = namespaces | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd).addr() as u64;
    if let Some(dir) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = dir.as_raw_fd().cast_unsigned().into();
    }
    if sibling {
        // The kernel takes the exit signal from the caller then.
        args.flags |= libc::CLONE_PARENT as u64;
    } else {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    // SAFETY: `args` is a valid clone_args of the given size. Without
    // CLONE_VM the child has a copy of all memory, so both sides return
    // from here with a stack of their own. The caller keeps the contract.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<libc::clone_args>(),
        )
    };
    match i32::try_from(pid).unwrap_or(-1) {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            // SAFETY: CLONE_PIDFD succeeded, so the kernel has stored a new
            // descriptor here that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent(pid, pidfd))
        }
        _ => Err(last_errno()),
    }
}

/// The struct may grow with the kernel; its size goes along as a version,
/// and what an older kernel does not know must be zero.
fn unused_args() -> libc::clone_args {
    // SAFETY: all fields are integers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// Ends the child at once, without what `exit` would run or flush twice.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// All signals blocked, until this is dropped: a handler of the caller's
/// program must not run in the child, where its file descriptors are shared
/// with the caller and its threads are gone.
pub(crate) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        // SAFETY: both sets live on this stack; sigfillset fills the first
        // and pthread_sigmask the second before they are read.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut old: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const all,
                &raw mut old,
            );
            SignalsBlocked(old)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by pthread_sigmask.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.0,
                std::ptr::null_mut(),
            );
        }
    }
}

/// In the child: every signal back to its default, none blocked. Ignored
/// signals survive an execve, and Rust programs ignore SIGPIPE: without
/// this, `yes | head` in a container would never end.
pub(crate) fn reset_signals() {
    // SAFETY: signal and sigprocmask are async-signal-safe, and the set is
    // initialised by sigemptyset. Numbers that may not be changed answer
    // EINVAL, which is what we want.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut(),
        );
    }
}
