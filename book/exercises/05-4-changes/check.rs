//! Works in an overlay as a container would, and compares with what the
//! learner reads off the upper directory.

use std::fs;
use std::os::unix::fs::symlink;

use exercises::{Verdict, failed, observed, scratch};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::learner;

const WANTED: [(char, &str); 7] = [
    ('C', "/etc"),
    ('C', "/etc/hosts"),
    ('D', "/etc/motd"),
    ('A', "/etc/new"),
    ('A', "/etc/new/deep"),
    ('C', "/dangling"),
    ('A', "/dangling2"),
];

pub fn check() -> Verdict {
    let place = scratch();
    for dir in ["lower/etc", "upper", "work", "merged"] {
        fs::create_dir_all(place.join(dir)).expect("a directory");
    }
    fs::write(place.join("lower/etc/motd"), "").expect("a file");
    fs::write(place.join("lower/etc/hosts"), "").expect("a file");
    symlink("nowhere", place.join("lower/dangling")).expect("a link");
    let options = c"lowerdir=lower,upperdir=upper,workdir=work";
    let flags = MountFlags::empty();
    mount("overlay", "merged", "overlay", flags, options).expect("mount");
    let merged = place.join("merged");
    fs::remove_file(merged.join("etc/motd")).expect("remove");
    fs::write(merged.join("etc/hosts"), "changed").expect("write");
    fs::create_dir_all(merged.join("etc/new")).expect("a directory");
    fs::write(merged.join("etc/new/deep"), "").expect("a file");
    fs::remove_file(merged.join("dangling")).expect("remove");
    symlink("elsewhere", merged.join("dangling")).expect("a link");
    symlink("nowhere", merged.join("dangling2")).expect("a link");
    unmount("merged", UnmountFlags::DETACH).expect("unmount");

    let mut found = Vec::new();
    let (upper, lower) = (place.join("upper"), place.join("lower"));
    learner::changes(&upper, &lower, "", &mut found)
        .map_err(|error| failed("error", "changes", &error))?;
    for (letter, path) in WANTED {
        let got: Vec<char> = found
            .iter()
            .filter(|(_, found)| found == path)
            .map(|(letter, _)| *letter)
            .collect();
        if got == [letter] {
            continue;
        }
        let cause = match (letter, path) {
            (_, "/etc/new/deep" | "/etc/new") if got.is_empty() => "deep",
            (_, it) if got.is_empty() && it.starts_with("/etc/") => "deep",
            ('D', _) => "deleted",
            (_, "/dangling") => "link",
            _ => "changed",
        };
        return Err(observed(
            cause,
            format!("docker diff says `{letter} {path}`; found: {got:?}"),
        ));
    }
    if found.len() != WANTED.len() {
        return Err(observed("too-much", format!("found: {found:?}")));
    }
    let lines = found.iter().map(|(letter, path)| format!("{letter} {path}"));
    Ok(lines.collect())
}
