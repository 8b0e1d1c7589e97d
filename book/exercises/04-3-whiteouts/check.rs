//! Applies marks to a small tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use exercises::{Observation, Verdict, failed, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    let dir = tree();
    for (name, kind) in
        [("file", "a file"), ("sub", "a directory"), ("link", "a link")]
    {
        apply(&dir, &format!(".wh.{name}"))?;
        if dir.join(name).symlink_metadata().is_ok() {
            return Err(observed(
                "not-gone",
                format!("`.wh.{name}` was applied; `{name}`, {kind}, is there"),
            ));
        }
    }
    if !dir.join("keep").exists() {
        return Err(observed(
            "too-much",
            "a whiteout took away more than the one name behind `.wh.`",
        ));
    }
    let ordinary = learner::apply(&dir, "wh.notes")
        .map_err(|error| failed("ordinary", "apply of `wh.notes`", &error))?;
    if ordinary {
        return Err(observed("ordinary", "`wh.notes` was taken for a mark"));
    }
    let dir = tree();
    apply(&dir, ".wh..wh..opq")?;
    if !dir.is_dir() {
        return Err(observed("opaque", "the directory itself is gone"));
    }
    let left = listing(&dir);
    if !left.is_empty() {
        return Err(observed(
            "opaque",
            format!("`.wh..wh..opq` was applied; of below there are {left:?}"),
        ));
    }
    Ok(vec![
        "a file, a directory and a link were taken away by their marks".into(),
        "an opaque directory shows nothing of the layers below".to_owned(),
    ])
}

fn tree() -> PathBuf {
    let dir = scratch().join("dir");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("sub/sub")).expect("a directory");
    fs::write(dir.join("sub/sub/x"), "").expect("a file");
    fs::write(dir.join("file"), "").expect("a file");
    fs::write(dir.join("keep"), "").expect("a file");
    symlink("/nowhere", dir.join("link")).expect("a link");
    dir
}

fn apply(dir: &Path, name: &str) -> Result<(), Observation> {
    match learner::apply(dir, name) {
        Ok(true) => Ok(()),
        Ok(false) => Err(observed(
            "unknown",
            format!("`{name}` was not taken for a mark, and would be unpacked"),
        )),
        Err(error) if name.contains("opq") => {
            Err(failed("opaque", &format!("apply of `{name}`"), &error))
        }
        Err(error) => {
            Err(failed("kind", &format!("apply of `{name}`"), &error))
        }
    }
}

fn listing(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("read the directory");
    let names = entries.map(|it| it.expect("an entry").file_name());
    names.map(|it| it.to_string_lossy().into_owned()).collect()
}
