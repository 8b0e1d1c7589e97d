//! Number of processes and threads: the cure for the fork bomb. At the limit
//! fork(2) and clone(2) fail with `EAGAIN`; nothing is killed.
//!
//! Threads count as well, since for the kernel a thread is a task with a PID
//! of its own. A Java server may need hundreds.
//!
//! The file is the same in both dialects. Kernel: `cgroup-v1/pids.rst`.

use super::Dir;
use crate::{Error, Limits, Stats, file};

const MAX: &str = "pids.max";
const CURRENT: &str = "pids.current";

pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    limits.pids.filter(|pids| *pids > 0).map(|_| "--pids-limit")
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    let (Dir::V1(dir) | Dir::V2(dir)) = dir;
    match limits.pids {
        None => Ok(()),
        Some(1..) => file::write(&dir.join(MAX), limits.pids.unwrap_or(0)),
        // "No limit" is what a group has unless told otherwise, and the root
        // of the tree has no such file at all.
        Some(_) => file::write_opt(&dir.join(MAX), "max").map(|_| ()),
    }
}

pub(crate) fn stats(dir: Dir<'_>, stats: &mut Stats) -> Result<(), Error> {
    let (Dir::V1(dir) | Dir::V2(dir)) = dir;
    stats.pids.current = file::read_number(&dir.join(CURRENT))?.unwrap_or(0);
    stats.pids.limit = file::read_number(&dir.join(MAX))?;
    Ok(())
}
