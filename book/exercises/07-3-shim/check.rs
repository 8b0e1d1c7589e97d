//! Starts a shim that reports who it is, and lets an orphan come to it.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use exercises::{Observation, Verdict, failed, forked, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    forked(daemon)
}

/// The caller of `start`. What the shim tells comes through a file.
fn daemon() -> Verdict {
    let told = scratch().join("told");
    learner::start(tell).map_err(|error| failed("error", "start", &error))?;
    let deadline = Instant::now() + Duration::from_secs(3);
    while !told.exists() {
        if Instant::now() > deadline {
            return Err(observed("error", "the shim was not run"));
        }
        sleep(Duration::from_millis(10));
    }
    let told = fs::read_to_string(told).expect("read what was told");
    let word = |name: &str| {
        let found = told.lines().find_map(|it| it.strip_prefix(name));
        found.unwrap_or("?").trim().to_owned()
    };
    let me = std::process::id().to_string();
    judge(&me, &word("pid"), &word("parent"), &word("session"), &word("orphan"))
}

fn judge(
    me: &str,
    pid: &str,
    parent: &str,
    session: &str,
    orphan: &str,
) -> Verdict {
    // SAFETY: getsid has no preconditions.
    let mine = unsafe { libc::getsid(0) }.to_string();
    if parent == me {
        return Err(observed(
            "child",
            format!(
                "the shim ({pid}) is a child of the daemon ({me}), which \
                 would have to wait for it"
            ),
        ));
    }
    if session == mine {
        return Err(observed(
            "session",
            format!("the shim is in the daemon's session ({mine})"),
        ));
    }
    if orphan != pid {
        return Err(observed(
            "subreaper",
            format!(
                "a process of the shim lost its parent; it came to {orphan}, \
                 and the shim is {pid}"
            ),
        ));
    }
    zombies()?;
    Ok(vec![
        format!("the shim {pid} is no child of the daemon {me}"),
        format!("its session is {session}, not {mine}"),
        "a process that lost its parent came to the shim".to_owned(),
    ])
}

/// Children of the daemon that it has not waited for.
fn zombies() -> Result<(), Observation> {
    // SAFETY: a null pointer asks for no status.
    let left =
        unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    match left > 0 {
        true => Err(observed(
            "zombie",
            format!("the daemon has a child that has ended, {left}, a zombie"),
        )),
        false => Ok(()),
    }
}

/// In the shim: writes down what is known there, to appear at once.
fn tell() {
    let part = scratch().join("part");
    fs::write(&part, shim()).expect("tell");
    fs::rename(part, scratch().join("told")).expect("tell");
}

/// In the shim: who am I, and to whom do orphans come?
fn shim() -> String {
    // The shell ends at once; what it started asks for its parent later.
    let file = scratch().join("orphan");
    let script = format!(
        "(sleep 0.2; \
         exec sh -c 'echo $PPID > {}') &",
        file.display()
    );
    let status = Command::new("sh").args(["-c", &script]).status();
    status.expect("run sh");
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut orphan = String::new();
    while orphan.is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(20));
        orphan = fs::read_to_string(&file).unwrap_or_default();
    }
    let parent = std::os::unix::process::parent_id();
    // SAFETY: getsid has no preconditions.
    let session = unsafe { libc::getsid(0) };
    format!(
        "pid {}\nparent {parent}\nsession {session}\norphan {orphan}\n",
        std::process::id()
    )
}
