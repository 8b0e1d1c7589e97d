use std::sync::atomic::{AtomicI32, Ordering};

static COMMAND: AtomicI32 = AtomicI32::new(0);

extern "C" fn pass_on(signal: libc::c_int) {
    // SAFETY: kill may be called in a signal handler (signal-safety(7)).
    unsafe { libc::kill(COMMAND.load(Ordering::Relaxed), signal) };
}

/// What PID 1 does while the command, its child, runs: passes SIGTERM on,
/// takes care of every process that has lost its parent, and returns the
/// wait status of the command when that ends.
pub fn init(command: i32) -> i32 {
    COMMAND.store(command, Ordering::Relaxed);
    // BEGIN
    let handler = pass_on as extern "C" fn(libc::c_int);
    // SAFETY: the handler makes one system call that is allowed in it.
    unsafe { libc::signal(libc::SIGTERM, handler as usize) };
    loop {
        let mut status = 0;
        // SAFETY: the pointer is valid; -1 stands for any child.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if ended == command {
            return status;
        }
    }
    // STARTER
    //= let mut status = 0;
    //= // SAFETY: the pointer is valid.
    //= unsafe { libc::waitpid(command, &raw mut status, 0) };
    //= status
    // END
}
