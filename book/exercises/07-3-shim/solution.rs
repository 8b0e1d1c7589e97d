use std::io;

/// Starts `shim` in a process that outlives the caller: not the caller's
/// child, in a session of its own, and the one to whom orphans come.
pub fn start(shim: impl FnOnce()) -> io::Result<()> {
    // BEGIN
    // SAFETY: the caller has one thread.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        middle => {
            // It ends at once, and has to be waited for like any child.
            // SAFETY: a null pointer asks for no status.
            unsafe { libc::waitpid(middle, std::ptr::null_mut(), 0) };
            return Ok(());
        }
    }
    // SAFETY: system calls without preconditions; after the second fork the
    // one in the middle goes, and its child has no parent of ours.
    unsafe {
        libc::setsid();
        if libc::fork() != 0 {
            libc::_exit(0);
        }
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
    shim();
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(0) }
    // STARTER
    //= // SAFETY: the caller has one thread.
    //= match unsafe { libc::fork() } {
    //=     -1 => Err(io::Error::last_os_error()),
    //=     0 => {
    //=         shim();
    //=         // SAFETY: _exit has no preconditions.
    //=         unsafe { libc::_exit(0) }
    //=     }
    //=     _ => Ok(()),
    //= }
    // END
}
