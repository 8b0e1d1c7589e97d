//! Makes a process with the learner's flags and compares its namespaces with
//! those of the check.

use exercises::{Verdict, link, observed};

use super::learner;

const WANTED: [(&str, &str); 5] = [
    ("pid", "it sees and can signal every process of the machine"),
    ("mnt", "what it mounts, everybody sees"),
    ("uts", "when it sets the host name, it renames the machine"),
    ("ipc", "it can attach the shared memory of others"),
    ("net", "it uses the machine's own addresses and ports"),
];

pub fn check() -> Verdict {
    let pid = spawn(learner::namespaces())?;
    let seen = look(pid);
    // SAFETY: kill and waitpid on our own child.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    seen
}

fn look(pid: i32) -> Verdict {
    let mut seen = Vec::new();
    for (kind, harm) in WANTED {
        let name = format!("ns/{kind}");
        let (ours, its) = (link("self", &name), link(pid, &name));
        if ours == its {
            return Err(observed(
                kind,
                format!(
                    "/proc/PID/ns/{kind} is {its} in the new process and \
                     outside: {harm}"
                ),
            ));
        }
        seen.push(format!("{kind}: {ours} outside, {its} inside"));
    }
    for kind in ["user", "cgroup", "time"] {
        let name = format!("ns/{kind}");
        if link("self", &name) != link(pid, &name) {
            return Err(observed(
                "too-many",
                format!("the {kind} namespace is a new one as well"),
            ));
        }
    }
    Ok(seen)
}

/// A process that waits to be killed.
fn spawn(flags: i32) -> Result<i32, exercises::Observation> {
    // SAFETY: zero is a value of every field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::try_from(flags).unwrap_or(0);
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the struct is valid; without CLONE_VM the child has its own
    // copy of all memory, and it only waits.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    };
    match i32::try_from(pid).unwrap_or(-1) {
        0 => loop {
            // SAFETY: pause has no preconditions.
            unsafe { libc::pause() };
        },
        -1 => {
            let error = std::io::Error::last_os_error();
            Err(observed("refused", format!("clone3 refuses: {error}")))
        }
        pid => Ok(pid),
    }
}
