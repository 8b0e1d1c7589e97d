//! Mounts an overlay with the learner's directories, under a umask that a
//! daemon might have, and enters it as an ordinary user.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use exercises::{Verdict, failed, forked, observed, scratch};
use rustix::mount::{MountFlags, mount};

use super::learner::{Writable, prepare};

pub fn check() -> Verdict {
    let place = scratch();
    let (lower, disk) = (place.join("lower"), place.join("disk"));
    let merged = place.join("merged");
    for dir in [&lower, &disk, &merged] {
        fs::create_dir_all(dir).expect("a directory");
        let all = Permissions::from_mode(0o755);
        fs::set_permissions(dir, all).expect("a mode");
    }
    fs::write(lower.join("hello"), "hi").expect("a file");
    exercises::tmpfs(&disk, "mode=755");
    // SAFETY: umask has no preconditions.
    unsafe { libc::umask(0o077) };
    let made = prepare(&disk, &lower)
        .map_err(|error| failed("error", "prepare", &error))?;
    let seen = directories(&made)?;
    let Writable { upper, work } = &made;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let options = CString::new(options).expect("no NUL");
    let flags = MountFlags::empty();
    mount("overlay", &merged, "overlay", flags, options.as_c_str()).map_err(
        |error| observed("refused", format!("mount(2) refuses: {error}")),
    )?;
    forked(|| enter(&merged))?;
    Ok(seen)
}

fn directories(made: &Writable) -> Verdict {
    let (upper, work) = (&made.upper, &made.work);
    if upper.starts_with(work) || work.starts_with(upper) {
        return Err(observed(
            "nested",
            format!("upper is {}, work {}", upper.display(), work.display()),
        ));
    }
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev());
    match (device(upper), device(work)) {
        (Ok(a), Ok(b)) if a != b => Err(observed(
            "two-disks",
            format!(
                "{} and {} are on two file systems",
                upper.display(),
                work.display()
            ),
        )),
        (Ok(_), Ok(_)) => Ok(vec![
            "upper and work are side by side on one file system".to_owned(),
            "an ordinary user can enter the container's `/`".to_owned(),
        ]),
        other => Err(observed("error", format!("not there: {other:?}"))),
    }
}

/// As a user who is not root.
fn enter(merged: &Path) -> Verdict {
    // SAFETY: plain system calls.
    unsafe {
        assert_eq!(libc::setgid(1234), 0);
        assert_eq!(libc::setuid(1234), 0);
    }
    match fs::read_to_string(merged.join("hello")) {
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            let mode = fs::metadata(merged).map_or(0, |it| it.mode());
            Err(observed(
                "mode",
                format!(
                    "the container's `/` has the mode {:o}, and a user who is \
                     not root reads /hello: {error}",
                    mode & 0o7777
                ),
            ))
        }
    }
}
