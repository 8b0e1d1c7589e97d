//! Runs the learner's init as PID 1 of a new PID namespace, with a command
//! that leaves an orphan behind and waits to be told to end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::Duration;

use exercises::{Verdict, forked_within, observed, scratch, wait_until};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::learner;

/// The subshell ends at once, and its `sleep` has lost its parent.
const SCRIPT: &str = "(sleep 0.1 &)
trap 'echo > told; exit 42' TERM
echo > ready
while :; do sleep 0.05; done";

pub fn check() -> Verdict {
    forked_within(Duration::from_secs(15), || {
        let flags = UnshareFlags::NEWPID | UnshareFlags::NEWNS;
        // SAFETY: a forked process with one thread.
        unsafe { unshare_unsafe(flags) }.expect("unshare");
        // SAFETY: as above.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            pid_one();
        }
        watch(pid)
    })
}

fn pid_one() -> ! {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private");
    mount("proc", "/proc", "proc", MountFlags::empty(), None).expect("proc");
    let child = Command::new("sh").args(["-c", SCRIPT]).spawn().expect("sh");
    let status = learner::init(child.id().cast_signed());
    let status = ExitStatus::from_raw(status);
    let code = status.code().unwrap_or(99);
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// From outside of the PID namespace.
fn watch(pid: i32) -> Verdict {
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !scratch().join("ready").exists() {
        assert!(std::time::Instant::now() < deadline, "sh did not start");
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(400));
    if let Some(status) = exercises::status_of(pid) {
        return Err(observed(
            "left-early",
            format!(
                "PID 1 ended ({status}) while the command was running, and \
                 took it along"
            ),
        ));
    }
    let zombies = zombies();
    if !zombies.is_empty() {
        // SAFETY: kill on our own child.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        return Err(observed(
            "orphans",
            format!(
                "the command left a `sleep` behind, which has ended since; \
                 its parent is PID 1, and it is still there: {}",
                zombies.join(", ")
            ),
        ));
    }
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    let wait = std::time::Instant::now() + Duration::from_secs(2);
    let status = wait_until(pid, wait);
    let told = scratch().join("told").exists();
    match status.map(|it| it.code()) {
        _ if !told => Err(observed(
            "signal",
            "PID 1 got SIGTERM; the command, which waits for it, never did",
        )),
        Some(Some(42)) => Ok(vec![
            "an orphan ended, and left no zombie".to_owned(),
            "SIGTERM to PID 1 reached the command, and its exit code 42 came \
             back"
                .to_owned(),
        ]),
        other => Err(observed(
            "status",
            format!("the command ended with 42, and PID 1 with {other:?}"),
        )),
    }
}

/// Children of PID 1 that have ended and were not waited for, by the /proc
/// that PID 1 has mounted in the namespace that it shares with us.
fn zombies() -> Vec<String> {
    let all = fs::read_dir("/proc").expect("read /proc");
    let stats = all.filter_map(|entry| {
        fs::read_to_string(entry.ok()?.path().join("stat")).ok()
    });
    stats
        .filter(|stat| stat.contains(") Z 1 "))
        .filter_map(|stat| Some(stat.split_once(" Z ")?.0.to_owned()))
        .collect()
}
