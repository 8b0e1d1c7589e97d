//! Which CPUs and which memory nodes. The file names are the same in both
//! dialects; what differs is what an empty file means. On v2 it is "as the
//! group above". On v1 it is "none at all", and no process may enter such a
//! group (`ENOSPC`), so a new group has to copy its parent's values.
//!
//! Man page: cpuset(7).

use std::path::Path;

use super::Dir;
use crate::{Error, Limits, file};

const CPUS: &str = "cpuset.cpus";
const MEMS: &str = "cpuset.mems";

/// Docker sends an empty text for "not asked for".
pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    let set = |list: &Option<String>| {
        list.as_deref().is_some_and(|list| !list.is_empty())
    };
    if set(&limits.cpuset_cpus) {
        return Some("--cpuset-cpus");
    }
    set(&limits.cpuset_mems).then_some("--cpuset-mems")
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    let (Dir::V1(dir) | Dir::V2(dir)) = dir;
    let lists = [(CPUS, &limits.cpuset_cpus), (MEMS, &limits.cpuset_mems)];
    for (name, list) in lists {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            file::write(&dir.join(name), list)?;
        }
    }
    Ok(())
}

/// Fills the two files of a new v1 group from the group above.
pub(crate) fn inherit(dir: &Path) -> Result<(), Error> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    for name in [CPUS, MEMS] {
        let own = file::read(&dir.join(name))?;
        // Somebody else may have made this level and chosen its CPUs.
        if own.trim().is_empty() {
            let above = file::read(&parent.join(name))?;
            file::write(&dir.join(name), above.trim())?;
        }
    }
    Ok(())
}
