//! For the tests of all crates: what they need, and what they leave behind.
//!
//! Tests of containers use real mounts, cgroups and namespaces, which outlive
//! the test's process if something goes wrong. A test that passes and leaves
//! a mount behind has found a bug without saying so; this module says it.

use std::fs;
use std::path::{Path, PathBuf};

/// Says why a test does not run here. Return from the test after it.
pub fn skip(test: &str, reason: &str) {
    eprintln!("SKIP: {test}: {reason}");
}

/// Whether we are root; if not, says that `test` is skipped.
pub fn root_or_skip(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

/// Everything in the kernel whose description contains one of `markers`:
/// mounts, cgroups, network links, pinned network namespaces, processes.
/// Empty is good.
///
/// Give the test's data root and its container IDs, which nobody else's
/// mounts, cgroups and processes have in their names. A container's veth
/// has a name of its own; add the prefix that the test uses.
pub fn leftovers(markers: &[&str]) -> Vec<String> {
    let ours = |text: &str| {
        markers.iter().any(|it| !it.is_empty() && text.contains(it))
    };
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    for mount in mounts.unwrap_or_default().lines() {
        if ours(mount) {
            found.push(format!("mount: {mount}"));
        }
    }
    for link in names("/sys/class/net") {
        if ours(&link) {
            found.push(format!("link: {link}"));
        }
    }
    for group in cgroup_roots().iter().flat_map(|it| directories(it)) {
        if ours(&group.to_string_lossy()) {
            found.push(format!("cgroup: {}", group.display()));
        }
    }
    found.extend(processes().filter(|it| ours(it)));
    found
}

/// As [`leftovers`], but gives the kernel a moment: a mount or a cgroup is
/// released some milliseconds after the last process in it has been reaped.
pub fn leftovers_after(
    patience: std::time::Duration,
    markers: &[&str],
) -> Vec<String> {
    let began = std::time::Instant::now();
    loop {
        let found = leftovers(markers);
        if found.is_empty() || began.elapsed() > patience {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Names of what is in a directory; none if there is no such directory.
fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

/// Command lines with their PIDs, without our own and its parents': a test
/// runner may have the markers among its arguments.
fn processes() -> impl Iterator<Item = String> {
    let own = std::process::id().to_string();
    names("/proc")
        .into_iter()
        .filter(move |pid| pid.bytes().all(|it| it.is_ascii_digit()))
        .filter(move |pid| *pid != own)
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            Some(format!("process: {pid} {line}"))
        })
}

/// Where cgroup hierarchies are mounted, v1 and v2.
fn cgroup_roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut roots = Vec::new();
    for line in mounts.lines() {
        // proc_pid_mountinfo(5): field 5 is the mount point; the type
        // follows the lone dash.
        let point = line.split(' ').nth(4);
        let kind = line.split(" - ").nth(1).and_then(|it| it.split(' ').next());
        if let (Some(point), Some("cgroup" | "cgroup2")) = (point, kind) {
            roots.push(PathBuf::from(point));
        }
    }
    roots
}

/// All directories below `root`. A group that vanishes meanwhile is fine.
fn directories(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                found.push(entry.path());
                todo.push(entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_arguments_until_it_has_ended() {
        let marker = crate::id::hex64();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read x", &marker])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let patience = std::time::Duration::from_secs(2);
        let began = std::time::Instant::now();
        let mut found = leftovers(&[&marker]);
        // The parent of a vfork(2) goes on when the child has given the old
        // memory back, a moment before its new arguments can be read.
        while found.is_empty() && began.elapsed() < patience {
            found = leftovers(&[&marker]);
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(found[0].starts_with("process: "), "{found:?}");
        assert!(leftovers_after(patience, &[&marker]).is_empty());
    }
}
