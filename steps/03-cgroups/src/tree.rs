//! Making and removing the directories.
//!
//! mkdir(2) makes the group, and the kernel fills it with files; rmdir(2)
//! takes it away although it looks full, if no process and no group is in
//! it. What needs care is what other containers do at the same moment, and
//! on v2 that a controller only reaches as far down as it was handed.

use std::fs::{self, DirBuilder};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::errno;
use crate::hierarchy::{Hierarchy, Mount, Version};
use crate::{Cgroup, Error, Group, Kind, Limits, controllers, file};

/// A group's name without a leading `/`, refused if it climbs.
pub(crate) fn clean(path: &str) -> Result<String, Error> {
    let trimmed = path.trim_matches('/');
    let normal = Path::new(trimmed)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if trimmed.is_empty() || !normal {
        return Err(Error::Path { path: path.to_owned() });
    }
    Ok(trimmed.to_owned())
}

/// Makes the group's directory in every hierarchy and notes it in `group`.
pub(crate) fn make(
    hierarchy: &Hierarchy,
    group: &mut Cgroup,
    limits: &Limits,
) -> Result<(), Error> {
    for mount in hierarchy.mounts() {
        let Some(base) = &mount.base else { continue };
        // Between our mkdir of the parent and that of the group, the last
        // other container may have gone and taken the parent with it.
        let mut result = make_path(mount, base, &group.path, limits);
        for _ in 0..10 {
            match &result {
                Err(error) if error.is_gone() => {}
                _ => break,
            }
            result = make_path(mount, base, &group.path, limits);
        }
        let dir = result?;
        group.groups.push(Group { mount: mount.clone(), dir });
    }
    Ok(())
}

/// Makes `base/a/b/c`. Groups on the way may exist, the last one may not.
fn make_path(
    mount: &Mount,
    base: &Path,
    path: &str,
    limits: &Limits,
) -> Result<PathBuf, Error> {
    let mut dir = base.to_owned();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if mount.version == Version::V2 {
            hand_down(mount, &dir, limits)?;
        }
        dir.push(part);
        match DirBuilder::new().create(&dir) {
            Ok(()) => {}
            Err(error) if errno(&error) != Errno::EEXIST => {
                return Err(cannot_make(dir, &error));
            }
            Err(_) if parts.peek().is_none() => {
                return Err(Error::Exists { dir });
            }
            Err(_) => {}
        }
        if mount.version == Version::V1 && mount.has(Kind::Cpuset) {
            controllers::cpuset::inherit(&dir)?;
        }
    }
    Ok(dir)
}

/// The answers of mkdir(2) that a person can do something about.
fn cannot_make(dir: PathBuf, error: &std::io::Error) -> Error {
    let source = errno(error);
    let hint = match source {
        Errno::EACCES | Errno::EPERM => {
            "; the group above is not delegated to this user"
        }
        Errno::EROFS => {
            "; cgroups are mounted read-only, as inside a container"
        }
        Errno::EAGAIN => "; cgroup.max.descendants of a group above is hit",
        _ => "",
    };
    Error::Make { dir, source, hint }
}

/// Enables the controllers for the groups below `dir` (v2).
///
/// A controller works in a group only if every group above it names it in
/// `cgroup.subtree_control`: limits are handed down, level by level.
fn hand_down(mount: &Mount, dir: &Path, limits: &Limits) -> Result<(), Error> {
    let control = dir.join("cgroup.subtree_control");
    let have = file::read(&control)?;
    let offered = file::read(&dir.join("cgroup.controllers"))?;
    for controller in controllers::ALL {
        let name = controller.kind.v2_name();
        let has = |list: &str| list.split_whitespace().any(|c| c == name);
        let kind = controller.kind;
        if kind.is_core_on_v2() || !mount.has(kind) || has(&have) {
            continue;
        }
        let asked = (controller.asked)(limits);
        // One controller a write: the kernel takes all or nothing, and one
        // that nobody asked for must not stop the others.
        let written = if has(&offered) {
            enable(dir, &control, name)
        } else {
            Err(not_delegated(dir, kind, asked.unwrap_or("it")))
        };
        if asked.is_some() {
            written?;
        }
    }
    Ok(())
}

/// Writes `+name`, and makes room if the group has processes itself.
///
/// "No internal processes": a v2 group either has processes or hands
/// controllers down, never both (the root of the machine may). Inside a
/// container with its own cgroup namespace the engine sits in what looks
/// like the root but is not, so the first write fails with `EBUSY`. The way
/// out is the one of Docker-in-Docker: all move to a group beside ours.
fn enable(dir: &Path, control: &Path, name: &str) -> Result<(), Error> {
    let value = format!("+{name}");
    let mut result = file::write(control, &value);
    for _ in 0..3 {
        let Err(Error::Write { source: Errno::EBUSY, .. }) = result else {
            break;
        };
        step_aside(dir)?;
        result = file::write(control, &value);
    }
    result
}

/// Puts all processes of `dir` into a new group `init` below it. They keep
/// their limits: those of a group hold for all groups below it together.
fn step_aside(dir: &Path) -> Result<(), Error> {
    let aside = dir.join("init");
    if let Err(error) = DirBuilder::new().create(&aside)
        && errno(&error) != Errno::EEXIST
    {
        return Err(cannot_make(aside, &error));
    }
    for pid in procs_in(dir)? {
        match file::attach(&aside, pid) {
            // It ended between the reading and the moving.
            Err(Error::Attach { source: Errno::ESRCH, .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The error for a controller that `dir` does not get from above: it names
/// the file that would have to be written, and how that is done for good.
fn not_delegated(dir: &Path, kind: Kind, flag: &'static str) -> Error {
    let name = kind.v2_name();
    let above = dir.parent().unwrap_or(dir).join("cgroup.subtree_control");
    let reason = format!(
        "{} does not list it, because {} does not hand it down. As root: \
         echo +{name} > {}; for a user's own engine: systemctl edit \
         user@.service, with Delegate=cpu cpuset io memory pids below \
         [Service]",
        dir.join("cgroup.controllers").display(),
        dir.parent().unwrap_or(dir).display(),
        above.display(),
    );
    Error::NoController { kind, flag, reason }
}

/// Every process in `dir` and in the groups below it.
pub(crate) fn procs(dir: &Path) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for dir in all_below(dir) {
        found.extend(procs_in(&dir)?);
    }
    Ok(found)
}

/// A file that is gone is a group that is gone, with nobody in it.
fn procs_in(dir: &Path) -> Result<Vec<u32>, Error> {
    let text = file::read_opt(&dir.join("cgroup.procs"))?;
    let text = text.unwrap_or_default();
    Ok(text.lines().filter_map(|pid| pid.parse().ok()).collect())
}

/// `dir` and all groups below it, deepest first. A container with a cgroup
/// namespace (systemd in it, Docker in it) makes groups of its own.
pub(crate) fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Control files are no directories, so every directory is a group.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(all_below(&entry.path()));
        }
    }
    found.push(dir.to_owned());
    found
}

/// Removes `dir` and what is below it.
///
/// A process that was just reaped may still be counted for a moment: the
/// kernel takes it out of its group in the last part of exit, and rmdir says
/// `EBUSY` until then. So we ask again, until `deadline`.
pub(crate) fn remove(group: &Group, deadline: Instant) -> Result<(), Error> {
    let mut pause = Duration::from_millis(1);
    loop {
        let result = remove_once(&group.dir);
        let busy =
            matches!(result, Err(Error::Remove { source: Errno::EBUSY, .. }));
        if !busy || Instant::now() >= deadline {
            result?;
            break;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    // The last container takes the common parent with it, if that is one of
    // ours by its name; an administrator's (`--cgroup-parent`) stays. Others
    // may still be there, or come in this moment: then rmdir refuses, and
    // that is fine.
    if let Some(parent) = group.dir.parent()
        && let Some(name) = parent.file_name()
        && name.as_encoded_bytes().starts_with(crate::PARENT.as_bytes())
    {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

/// Children first: a group with groups below it is as busy as one with
/// processes.
fn remove_once(dir: &Path) -> Result<(), Error> {
    for dir in all_below(dir) {
        match fs::remove_dir(&dir) {
            Ok(()) => {}
            Err(error) if errno(&error) == Errno::ENOENT => {}
            Err(error) => {
                let procs = procs(&dir).unwrap_or_default();
                return Err(Error::Remove {
                    source: errno(&error),
                    procs,
                    dir,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_climb_are_refused() {
        assert_eq!(clean("/skiff/web/").unwrap(), "skiff/web");
        for bad in ["", "/", "../web", "a/../../b", "."] {
            assert!(clean(bad).is_err(), "{bad:?}");
        }
    }
}
