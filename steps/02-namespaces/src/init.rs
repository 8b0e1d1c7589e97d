//! `--init`: what PID 1 owes to the others, and most programs do not know.
//!
//! PID 1 inherits every orphan of its PID namespace and must collect it, or
//! zombies pile up. And the kernel drops signals for PID 1 that it has no
//! handler for: `docker stop` of a shell script takes ten seconds and then
//! kills it. So a PID 1 that does only these two things, and the command as
//! its child, where it is a process like any other.

use crate::clone::leave;

/// Child: collects whoever ends, hands signals on to `command`, and ends as
/// the command does. System calls only, like all of the child.
pub(crate) fn reap(command: i32) -> ! {
    // SAFETY: the sets and `info` are on this stack and filled before use;
    // all calls are plain system calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const all,
            std::ptr::null_mut(),
        );
        loop {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigwaitinfo(&raw const all, &raw mut info);
            match signal {
                libc::SIGCHLD => collect(command),
                // The kernel's own: about our terminal, or our faults.
                libc::SIGTTIN | libc::SIGTTOU | libc::SIGPIPE => {}
                signal if signal > 0 => {
                    libc::kill(command, signal);
                }
                _ => {}
            }
        }
    }
}

/// Collects all that have ended; several ends may share one SIGCHLD.
fn collect(command: i32) {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return;
        }
        if pid == command {
            // The end of PID 1 is the end of everybody in the namespace. A
            // signal cannot be passed on as one, since PID 1 is immune
            // against its own: 128 + n, as a shell does.
            leave(if libc::WIFSIGNALED(status) {
                128 + libc::WTERMSIG(status)
            } else {
                libc::WEXITSTATUS(status)
            });
        }
    }
}
