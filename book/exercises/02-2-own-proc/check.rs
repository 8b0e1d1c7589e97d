//! Shares all mounts, as systemd does, makes the namespaces, and looks at
//! /proc from inside and from outside.

use std::fs;
use std::io::Seek;

use exercises::{Verdict, failed, forked, observed};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::learner;

pub fn check() -> Verdict {
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).expect("share all mounts");
    // Opened now: if the learner's /proc covers this one, no path leads here.
    let mut table = fs::File::open("/proc/self/mounts").expect("mounts");
    let before = proc_mounts(&mut table);
    let seen = forked(|| {
        let flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID;
        // SAFETY: a forked process with one thread.
        unsafe { unshare_unsafe(flags) }.expect("unshare");
        forked(inside)
    });
    let after = proc_mounts(&mut table);
    if after > before {
        return Err(observed(
            "leaks",
            format!(
                "/proc was mounted {before} times outside, and now it is \
                 mounted {after} times: `ps` shows the wrong processes to \
                 everybody"
            ),
        ));
    }
    seen
}

/// How often something is mounted on /proc itself.
fn proc_mounts(table: &mut fs::File) -> usize {
    table.rewind().expect("rewind");
    let text = std::io::read_to_string(table).expect("mounts");
    text.lines().filter(|line| line.contains(" /proc ")).count()
}

fn inside() -> Verdict {
    learner::own_proc().map_err(|error| failed("error", "own_proc", &error))?;
    let me = fs::read_link("/proc/self");
    let me = me.map(|it| it.display().to_string()).unwrap_or_default();
    if me != "1" {
        return Err(observed(
            "old-table",
            format!(
                "this process is PID 1, and `readlink /proc/self` says \
                 {me:?}: /proc still shows the old process table"
            ),
        ));
    }
    let table = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let last = table.lines().rfind(|line| line.contains(" /proc "));
    let last = last.unwrap_or_default().to_owned();
    let options = last.split(' ').nth(3).unwrap_or_default().to_owned();
    for option in ["nosuid", "nodev", "noexec"] {
        if !options.split(',').any(|it| it == option) {
            return Err(observed(
                "flags",
                format!("`{last}`: without {option}"),
            ));
        }
    }
    Ok(vec![
        "inside, `readlink /proc/self` is 1".to_owned(),
        format!("`{last}`"),
        "outside, /proc is what it was".to_owned(),
    ])
}
