//! Binds a directory of a tmpfs and writes at both places.

use std::fs;

use exercises::{Verdict, failed, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    let place = scratch();
    let (disk, target) = (place.join("disk"), place.join("target"));
    for dir in [&disk, &target] {
        fs::create_dir_all(dir).expect("a directory");
    }
    // A file system of its own, to see whether all of it becomes read-only.
    exercises::tmpfs(&disk, "mode=755");
    let source = disk.join("data");
    fs::create_dir(&source).expect("a directory");
    fs::write(source.join("hello"), "hi").expect("a file");
    learner::bind_read_only(&source, &target)
        .map_err(|error| failed("error", "bind_read_only", &error))?;
    if !target.join("hello").exists() {
        return Err(observed("not-there", "the file is not at the target"));
    }
    if fs::write(target.join("x"), "").is_ok() {
        let table = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let line = table.lines().rfind(|it| it.contains("/target "));
        return Err(observed(
            "writable",
            format!(
                "a file could be written below the target: `{}`",
                line.unwrap_or_default()
            ),
        ));
    }
    if let Err(error) = fs::write(source.join("x"), "") {
        return Err(observed(
            "everything",
            format!("the source cannot be written any more either: {error}"),
        ));
    }
    if !target.join("x").exists() {
        return Err(observed(
            "copy",
            "a new file of the source is not seen at the target",
        ));
    }
    Ok(vec![
        "writing at the target: Read-only file system".to_owned(),
        "writing at the source works, and the target shows it".to_owned(),
    ])
}
