//! Enters a small root directory in a forked process with its own mount
//! namespace, looks at what is mounted there, and tries to climb out.

use std::fs;
use std::path::Path;

use exercises::{Verdict, failed, forked, observed, scratch};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{chdir, chroot};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::learner;

pub fn check() -> Verdict {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("proc")).expect("a root directory");
    fs::write(root.join("hello"), "hi").expect("a file");
    fs::write(scratch().join("secret"), "machine").expect("a file");
    forked(|| inside(&root))
}

fn inside(root: &Path) -> Verdict {
    // SAFETY: a forked process with one thread; files are not shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("unshare");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private mounts");
    if let Err(error) = learner::enter(root) {
        return Err(match error.raw_os_error() {
            Some(libc::EINVAL) => failed("no-mount", "enter", &error),
            Some(libc::EBUSY) => failed("busy", "enter", &error),
            _ => failed("error", "enter", &error),
        });
    }
    if !Path::new("/hello").exists() {
        return Err(observed(
            "not-root",
            format!("`/hello` is not there: `/` is not {}", root.display()),
        ));
    }
    let before = mounts()?;
    if before.len() > 1 {
        return Err(observed(
            "old-root",
            format!(
                "{} mounts can be reached in this namespace, where the new \
                 root alone should be; the first is `{}`",
                before.len(),
                before[0]
            ),
        ));
    }
    if climbs_out() {
        return Err(observed(
            "chroot",
            "a root process made a directory, called chroot(2) on it, went \
             up with `..` and reads the machine's files again",
        ));
    }
    Ok(vec![
        format!("all that is mounted in this namespace: `{}`", before[0]),
        "chroot(2) into a directory and a hundred `..` lead back to this root"
            .to_owned(),
    ])
}

/// The mount table as seen from the new root, without the /proc that it
/// takes to read it.
fn mounts() -> Result<Vec<String>, exercises::Observation> {
    mount("proc", "/proc", "proc", MountFlags::empty(), None)
        .expect("mount /proc");
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let lines = table.lines().filter(|line| !line.contains(" /proc "));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    match lines.is_empty() {
        false => Ok(lines),
        true => Err(observed(
            "chroot",
            "no mount is at `/` in mountinfo: the \
             root directory is only a directory of another mount",
        )),
    }
}

/// The oldest way out of a chroot: be below its root and outside of it at
/// the same time.
fn climbs_out() -> bool {
    fs::create_dir("/x").expect("a directory");
    chroot("/x").expect("chroot");
    for _ in 0..100 {
        chdir("..").expect("up");
    }
    chroot(".").expect("chroot");
    scratch().join("secret").exists()
}
