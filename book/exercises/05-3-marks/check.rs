//! Lets the learner mark an upper directory, mounts it over a lower one, and
//! lists what is seen.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use exercises::{Verdict, failed, observed, scratch};
use rustix::mount::{MountFlags, mount};

use super::learner;

pub fn check() -> Verdict {
    let place = scratch();
    for dir in ["lower/etc", "lower/srv", "upper/srv", "work", "merged"] {
        fs::create_dir_all(place.join(dir)).expect("a directory");
    }
    for file in ["lower/etc/motd", "lower/etc/hosts", "lower/srv/old"] {
        fs::write(place.join(file), "lower").expect("a file");
    }
    fs::create_dir_all(place.join("upper/etc")).expect("a directory");
    fs::write(place.join("upper/srv/new"), "upper").expect("a file");
    learner::whiteout(&place.join("upper/etc/motd"))
        .map_err(|error| failed("whiteout", "whiteout", &error))?;
    learner::opaque(&place.join("upper/srv"))
        .map_err(|error| failed("opaque", "opaque", &error))?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let options = CString::new(options).expect("no NUL");
    let flags = MountFlags::empty();
    mount("overlay", "merged", "overlay", flags, options.as_c_str())
        .expect("mount the overlay");
    look(&place)
}

fn look(place: &Path) -> Verdict {
    let etc = listing(&place.join("merged/etc"));
    if etc.iter().any(|it| it.starts_with(".wh.")) {
        return Err(observed(
            "tar-mark",
            format!("/etc shows {etc:?}: the kernel knows nothing of `.wh.`"),
        ));
    }
    if etc.iter().any(|it| it == "motd") {
        let mark = fs::symlink_metadata(place.join("upper/etc/motd"));
        let mark = mark.map_or("nothing".to_owned(), |it| {
            match it.file_type().is_char_device() {
                true => format!("a character device {:#x}", it.rdev()),
                false => format!("{:?}", it.file_type()),
            }
        });
        return Err(observed(
            "whiteout",
            format!(
                "/etc shows {etc:?}; in the upper directory motd is {mark}"
            ),
        ));
    }
    let srv = listing(&place.join("merged/srv"));
    if srv.iter().any(|it| it == "old") {
        return Err(observed(
            "opaque",
            format!("/srv shows {srv:?}; `old` is of the lower directory"),
        ));
    }
    if etc != ["hosts"] || srv != ["new"] {
        return Err(observed(
            "too-much",
            format!("/etc shows {etc:?} and /srv {srv:?}"),
        ));
    }
    Ok(vec![
        "/etc/motd is gone, and /etc/hosts is there".to_owned(),
        "/srv shows what is in the upper directory and nothing else".to_owned(),
    ])
}

fn listing(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("read the directory");
    let names = entries.map(|it| it.expect("an entry").file_name());
    let mut names: Vec<String> =
        names.map(|it| it.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
