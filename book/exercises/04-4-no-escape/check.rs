//! Writes files whose names want to leave the root directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use exercises::{Verdict, failed, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    let place = scratch();
    let root = place.join("root");
    let outside = place.join("outside");
    fs::create_dir_all(root.join("etc")).expect("a directory");
    fs::create_dir_all(root.join("run")).expect("a directory");
    fs::create_dir_all(&outside).expect("a directory");
    symlink(&outside, root.join("link")).expect("a link");
    symlink(outside.join("x"), root.join("file-link")).expect("a link");
    symlink("../../run", root.join("var-run")).expect("a link");
    let attacks = [
        ("dot-dot", "../outside/x".to_owned()),
        ("dot-dot", "etc/../../outside/x".to_owned()),
        ("absolute", format!("{}/x", outside.display())),
        ("link", "link/x".to_owned()),
        ("link", "file-link".to_owned()),
    ];
    for (cause, name) in attacks {
        // An error is an answer as good as a file below the root.
        let _ = learner::write(&root, &name, b"gotcha");
        if fs::read_dir(&outside).expect("read").next().is_some() {
            return Err(observed(
                cause,
                format!("`{name}` was written outside of {}", root.display()),
            ));
        }
    }
    for name in ["etc/hosts", "/etc/hosts", "etc/../etc/hosts"] {
        good(&root, name, "etc/hosts")?;
    }
    // As every Debian image has it: a link that is meant to be followed.
    good(&root, "var-run/pid", "run/pid")?;
    Ok(vec![
        "five names that lead out led nowhere".to_owned(),
        "links and `..` that stay below the root still work".to_owned(),
    ])
}

fn good(root: &Path, name: &str, place: &str) -> Verdict {
    let _ = fs::remove_file(root.join(place));
    learner::write(root, name, b"good").map_err(|error| {
        failed("too-strict", &format!("write of `{name}`"), &error)
    })?;
    match fs::read(root.join(place)) {
        Ok(content) if content == b"good" => Ok(Vec::new()),
        other => Err(observed(
            "too-strict",
            format!("`{name}` should be at {place} of the root; {other:?}"),
        )),
    }
}
