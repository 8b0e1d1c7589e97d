//! Mounts three layers with the learner's options and looks at who wins.

use std::fs;
use std::path::Path;

use exercises::{Verdict, observed, scratch};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::learner;

pub fn check() -> Verdict {
    let place = scratch();
    for dir in ["base", "libs", "app", "upper", "work", "merged"] {
        fs::create_dir_all(place.join(dir)).expect("a directory");
    }
    for layer in ["base", "libs", "app"] {
        fs::write(place.join(layer).join("who"), layer).expect("a file");
        fs::write(place.join(layer).join(layer), layer).expect("a file");
    }
    let options = learner::options(&["base", "libs", "app"], "upper", "work");
    let c_options = std::ffi::CString::new(options.clone()).expect("no NUL");
    let flags = MountFlags::empty();
    let mounted =
        mount("overlay", "merged", "overlay", flags, c_options.as_c_str());
    if let Err(error) = mounted {
        return Err(observed(
            "refused",
            format!("mount(2) refuses `{options}`: {error}"),
        ));
    }
    let seen = look(&place, &options);
    unmount("merged", UnmountFlags::DETACH).expect("unmount");
    seen
}

fn look(place: &Path, options: &str) -> Verdict {
    let merged = place.join("merged");
    for layer in ["base", "libs", "app"] {
        if !merged.join(layer).exists() {
            return Err(observed(
                "missing",
                format!("`{options}`: no file of the layer {layer} is seen"),
            ));
        }
    }
    let who = fs::read_to_string(merged.join("who")).unwrap_or_default();
    if who != "app" {
        return Err(observed(
            "order",
            format!(
                "`{options}`: all layers have a file `who`, and that of \
                 `{who}` is seen; `app` is on top"
            ),
        ));
    }
    if fs::write(merged.join("new"), "").is_err() {
        return Err(observed(
            "read-only",
            format!("`{options}`: nothing can be written"),
        ));
    }
    for layer in ["base", "libs", "app"] {
        if place.join(layer).join("new").exists() {
            return Err(observed(
                "order",
                format!("a new file was written to the layer {layer}"),
            ));
        }
    }
    if !place.join("upper/new").exists() {
        return Err(observed(
            "swapped",
            "a new file is not in `upper`, which is for what is written",
        ));
    }
    Ok(vec![
        format!("`{options}`"),
        "of three files called `who`, that of the topmost layer is seen".into(),
        "a new file went to `upper`".to_owned(),
    ])
}
