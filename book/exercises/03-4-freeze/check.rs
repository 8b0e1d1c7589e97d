//! Freezes a process that counts, and looks whether it goes on counting and
//! whether it can notice.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use exercises::{
    Dialect, Group, Verdict, failed, forked_within, group, observed, scratch,
};

use super::learner;

pub fn check() -> Verdict {
    imitation()?;
    let group = group("cgroup.freeze", "freezer.state");
    let counter = Counter::start(&group);
    counter.must_count();
    let frozen = learner::freeze(group.dialect, &group.dir);
    frozen.map_err(|error| failed("error", "freeze", &error))?;
    let counts = counter.counts();
    // Asked after that: a signal takes a moment to arrive.
    let state = state(&counter.child.id().to_string());
    if counter.is_stopped() {
        return Err(observed(
            "stopped",
            "the process is in state T, stopped by a signal: its parent is \
             told, and whoever sends SIGCONT sets it going again",
        ));
    }
    if counts {
        return Err(observed("runs", "the process goes on counting"));
    }
    let thawed = learner::thaw(group.dialect, &group.dir);
    thawed.map_err(|error| failed("thaw", "thaw", &error))?;
    if !counter.goes_on() {
        return Err(observed("thaw", "after thaw the process stands still"));
    }
    Ok(vec![
        format!("frozen, the process did not count and was in state {state}"),
        "thawed, it went on, and never got a signal".to_owned(),
    ])
}

/// The other dialect, as plain files: both must have been thought of.
fn imitation() -> Verdict {
    let real = group("cgroup.freeze", "freezer.state");
    let files = [
        ("cgroup.freeze", "0"),
        ("cgroup.events", "populated 1\nfrozen 1"),
        ("freezer.state", "THAWED"),
        ("cgroup.procs", ""),
    ];
    let other = real.imitation_of_other(&files);
    let (file, on) = match other.dialect {
        Dialect::V1 => ("freezer.state", "FROZEN"),
        Dialect::V2 => ("cgroup.freeze", "1"),
    };
    // Plain files never say that it is done, unless it was asked for rightly.
    let _ = forked_within(Duration::from_secs(1), || {
        let _ = learner::freeze(other.dialect, &other.dir);
        Ok(Vec::new())
    });
    let has = other.read(file);
    if has != on {
        return Err(observed(
            "runs",
            format!("{:?}: {file} is `{has}`, not `{on}`", other.dialect),
        ));
    }
    Ok(Vec::new())
}

/// A shell in the group that adds a line to a file again and again. Dropped,
/// it is thawed and ended, or nothing could end the check.
struct Counter<'a> {
    group: &'a Group,
    file: PathBuf,
    child: Child,
}

impl<'a> Counter<'a> {
    fn start(group: &'a Group) -> Counter<'a> {
        let file = scratch().join("count");
        fs::write(&file, "").expect("a file");
        let script = format!(
            "echo $$ > {}/cgroup.procs; while :; do echo >> {}; sleep 0.01; \
             done",
            group.dir.display(),
            file.display()
        );
        let child = Command::new("sh").args(["-c", &script]).spawn();
        Counter { group, file, child: child.expect("start sh") }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |it| it.len())
    }

    /// One line may be on its way when the process stops.
    fn counts(&self) -> bool {
        let before = self.length();
        sleep(Duration::from_millis(300));
        self.length() > before + 1
    }

    /// A busy machine may need more than one look.
    fn goes_on(&self) -> bool {
        (0..10).any(|_| self.counts())
    }

    fn must_count(&self) {
        for _ in 0..100 {
            if self.counts() {
                return;
            }
        }
        panic!("the counter does not start");
    }

    /// By a signal. It may be that only the shell's child is: one that has
    /// not executed its program yet holds the shell up (vfork(2)).
    fn is_stopped(&self) -> bool {
        self.group.read("cgroup.procs").lines().any(|pid| state(pid) == 'T')
    }
}

/// The letter in /proc/PID/stat.
fn state(pid: &str) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.unwrap_or_default();
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    rest.chars().next().unwrap_or('?')
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        let (file, off) = match self.group.dialect {
            Dialect::V1 => ("freezer.state", "THAWED"),
            Dialect::V2 => ("cgroup.freeze", "0"),
        };
        let _ = fs::write(self.group.dir.join(file), off);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
