//! What `ps` shows for a process that is not the command yet.
//!
//! Until the execve the new process is a copy of the engine, and its command
//! line is the engine's, with paths of the host in it. Everybody in the
//! container can read that: `/proc/PID/cmdline` is open to all. With
//! `--init` the copy even stays, as PID 1.
//!
//! The command line is no property of the kernel's. It is the memory where
//! the program found its arguments, and the program may write there; that
//! is how servers show their state in `ps`.

/// Where the arguments of this program are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Title {
    start: usize,
    length: usize,
}

/// What is shown instead.
const TEXT: &[u8] = b"container-init";

impl Title {
    /// Asks proc_pid_stat(5), fields 48 and 49. `None` if the kernel does
    /// not say, or if there is no room: then nothing is hidden, which is
    /// untidy and not dangerous.
    pub(crate) fn find() -> Option<Title> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is a name that may contain spaces.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(45);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        let length = end.checked_sub(start)?;
        (start != 0 && length > TEXT.len()).then_some(Title { start, length })
    }

    /// Child: writes over it, in its own copy of the memory.
    pub(crate) fn replace(self) {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel put the arguments there, on this process's
        // stack, which stays mapped and writable. Nobody in the child reads
        // them again, and `TEXT` fits with a zero behind it.
        unsafe {
            start.write_bytes(0, self.length);
            start.copy_from_nonoverlapping(TEXT.as_ptr(), TEXT.len());
        }
        let _ = rustix::thread::set_name(c"container-init");
    }
}
