//! As an ordinary user, makes a process in a user namespace and lets the
//! learner map it.

use std::fs;
use std::io::{Read, Write};

use exercises::{Observation, Verdict, forked, observed};
use rustix::thread::{UnshareFlags, set_thread_groups, unshare_unsafe};

use super::learner;

const UID: u32 = 2001;
const GID: u32 = 2002;

pub fn check() -> Verdict {
    forked(|| {
        become_ordinary();
        let (pid, mut go) = waiting_child();
        let result = learner::map(pid, UID, GID);
        let maps = ["uid_map", "gid_map"].map(|name| {
            let text = fs::read_to_string(format!("/proc/{pid}/{name}"));
            text.unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        });
        let _ = go.write_all(b"!");
        judge(result, &maps)
    })
}

fn become_ordinary() {
    set_thread_groups(&[]).expect("setgroups");
    // SAFETY: plain system calls; and who has changed its user is no longer
    // dumpable, so /proc/PID would belong to root.
    unsafe {
        assert_eq!(libc::setresgid(GID, GID, GID), 0);
        assert_eq!(libc::setresuid(UID, UID, UID), 0);
        assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 1), 0);
    }
}

/// A process in a new user namespace that lives until it is written to.
fn waiting_child() -> (u32, fs::File) {
    let (wait, go) = rustix::pipe::pipe().expect("a pipe");
    let (ready, tell) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop((go, ready));
        // SAFETY: one thread, and no files are shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.expect("unshare");
        drop(tell);
        let _ = fs::File::from(wait).read(&mut [0]);
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(0) }
    }
    drop((wait, tell));
    // Ends when the other side is closed, which is after the unshare.
    let _ = fs::File::from(ready).read(&mut [0]);
    (pid.unsigned_abs(), go.into())
}

fn judge(result: std::io::Result<()>, maps: &[String; 2]) -> Verdict {
    let [uids, gids] = maps;
    let wanted = [format!("0 {UID} 1"), format!("0 {GID} 1")];
    if *maps == wanted {
        return Ok(vec![
            format!("uid_map: {uids}; gid_map: {gids}"),
            "all of it was written without being root".to_owned(),
        ]);
    }
    if let Err(error) = result {
        return Err(refused(&error, uids, gids));
    }
    if uids.is_empty() {
        return Err(observed("no-uid", "/proc/PID/uid_map is still empty"));
    }
    if gids.is_empty() {
        return Err(observed(
            "no-gid",
            "/proc/PID/gid_map is still empty: inside, the group is 65534 \
             (nogroup)",
        ));
    }
    Err(observed(
        "wrong",
        format!("uid_map is `{uids}` and gid_map `{gids}`, not {wanted:?}"),
    ))
}

fn refused(error: &std::io::Error, uids: &str, gids: &str) -> Observation {
    let (cause, which) = match (uids.is_empty(), gids.is_empty()) {
        (true, _) => ("refused", "uid_map is still empty"),
        (false, true) => ("setgroups", "uid_map is written, gid_map is not"),
        (false, false) => ("wrong", "both are written"),
    };
    observed(cause, format!("map returned an error: {error}; {which}"))
}
