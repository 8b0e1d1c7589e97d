//! Fills a new volume as PostgreSQL's image wants it, and an old one.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use exercises::{Observation, Verdict, failed, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    let place = scratch();
    let (image, new, old) =
        (place.join("image"), place.join("new"), place.join("old"));
    for dir in [&image.join("conf.d"), &new, &old] {
        fs::create_dir_all(dir).expect("a directory");
    }
    file(&image.join("conf"), "image", 999, 0o640);
    file(&image.join("helper"), "image", 999, 0o4755);
    file(&image.join("conf.d/a"), "image", 999, 0o600);
    symlink("/nowhere", image.join("link")).expect("a link");
    rights(&image.join("conf.d"), 999, 0o750);
    rights(&image, 999, 0o700);
    fs::write(old.join("conf"), "mine").expect("a file");
    for volume in [&new, &old] {
        learner::populate(&image, volume)
            .map_err(|error| failed("error", "populate", &error))?;
    }
    let kept = fs::read_to_string(old.join("conf")).unwrap_or_default();
    let count = fs::read_dir(&old).expect("read").count();
    if kept != "mine" || count != 1 {
        return Err(observed(
            "overwritten",
            format!(
                "a volume with the user's data was filled again: `conf` has \
                 {kept:?}, and there are {count} entries"
            ),
        ));
    }
    for name in ["conf", "helper", "conf.d", "conf.d/a", "link"] {
        if new.join(name).symlink_metadata().is_err() {
            return Err(observed("missing", format!("no `{name}`")));
        }
    }
    same(&new.join("conf"), 999, 0o640)?;
    same(&new.join("helper"), 999, 0o4755)?;
    same(&new.join("conf.d/a"), 999, 0o600)?;
    same(&new.join("conf.d"), 999, 0o750)?;
    same(&new, 999, 0o700)?;
    Ok(vec![
        "the new volume has the image's files, owners and modes".to_owned(),
        "its root belongs to user 999 and has the mode 700".to_owned(),
        "the old volume has the user's data and nothing else".to_owned(),
    ])
}

fn file(path: &Path, content: &str, owner: u32, mode: u32) {
    fs::write(path, content).expect("a file");
    rights(path, owner, mode);
}

fn rights(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), Some(owner)).expect("an owner");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

fn same(path: &Path, owner: u32, mode: u32) -> Result<(), Observation> {
    let about = fs::metadata(path).expect("about the file");
    let (got, name) = (about.mode() & 0o7777, path.display());
    let (user, root) = (about.uid(), path.ends_with("new"));
    if user == owner && got == mode && about.gid() == owner {
        return Ok(());
    }
    let cause = if root {
        "root"
    } else if about.is_dir() {
        "directory"
    } else if user == owner && got == mode & 0o777 && mode > 0o777 {
        "set-user-id"
    } else {
        "rights"
    };
    Err(observed(
        cause,
        format!(
            "{name} has owner {user}:{} and mode {got:o}; in the image it is \
             {owner}:{owner} and {mode:o}",
            about.gid()
        ),
    ))
}
