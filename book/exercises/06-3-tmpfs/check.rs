//! Mounts with the options that people use, and tries what they promise.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use exercises::{Observation, Verdict, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    let plain = mounted("plain", "")?;
    let small = mounted("small", "size=64k,mode=1770")?;
    let script = mounted("script", "exec")?;
    let locked = mounted("locked", "ro,noexec")?;
    let has = |dir: &Path, option: &str| {
        options(dir).split(',').any(|it| it == option)
    };
    for option in ["nosuid", "nodev", "noexec"] {
        if !has(&plain, option) {
            return Err(observed(
                "default",
                format!("`--tmpfs /x` has {}: no {option}", options(&plain)),
            ));
        }
    }
    if fs::write(small.join("x"), vec![0; 128 * 1024]).is_ok() {
        return Err(observed("size", "128 KiB fitted into size=64k"));
    }
    let mode = fs::metadata(&small).expect("about the directory").mode();
    if mode & 0o7777 != 0o1770 {
        return Err(observed(
            "size",
            format!("with mode=1770 the mode is {:o}", mode & 0o7777),
        ));
    }
    if !runs(&script) {
        return Err(observed(
            "exec",
            format!("`exec`: a program cannot be run; {}", options(&script)),
        ));
    }
    if !has(&locked, "ro") || fs::write(locked.join("x"), "").is_ok() {
        return Err(observed(
            "read-only",
            format!("`ro,noexec` has {}", options(&locked)),
        ));
    }
    Ok(vec![
        format!("without options: {}", options(&plain)),
        format!("size=64k,mode=1770: {}", options(&small)),
        "exec lets a program run, and ro lets nobody write".to_owned(),
    ])
}

fn mounted(name: &str, options: &str) -> Result<PathBuf, Observation> {
    let dir = scratch().join(name);
    fs::create_dir_all(&dir).expect("a directory");
    learner::tmpfs(&dir, options).map_err(|error| {
        observed("refused", format!("tmpfs with `{options}`: {error}"))
    })?;
    Ok(dir)
}

/// The fourth word of the line in /proc/self/mounts.
fn options(dir: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let place = format!(" {} ", dir.display());
    let line = table.lines().rfind(|line| line.contains(&place));
    let word = line.and_then(|line| line.split(' ').nth(3));
    word.unwrap_or("not mounted").to_owned()
}

fn runs(dir: &Path) -> bool {
    let program = dir.join("program");
    fs::write(&program, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("mode");
    Command::new(&program).status().is_ok_and(|it| it.success())
}
