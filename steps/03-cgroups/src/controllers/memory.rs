//! Memory. The limit counts page cache too, so a group *at* its limit is
//! normal: the kernel drops cache first. Only when nothing can be dropped
//! does the OOM killer take a process of the group, never one outside.
//!
//! Swap is counted in two ways. v1 has one counter for memory alone and one
//! for memory and swap together (`memsw`), which is where Docker's flag
//! `--memory-swap` has its odd meaning from. v2 counts swap alone.
//!
//! Kernel: `cgroup-v2.rst` "Memory", `cgroup-v1/memory.rst`.

use std::path::Path;

use nix::errno::Errno;

use super::Dir;
use crate::{Error, Limits, Stats, file};

/// The hard limit: reclaim, then the OOM killer.
const V2_MAX: &str = "memory.max";
/// What the group keeps while others have something to give up.
const V2_LOW: &str = "memory.low";
const V2_SWAP_MAX: &str = "memory.swap.max";
/// 1: a half-killed group is worse than none, take all of it.
const V2_OOM_GROUP: &str = "memory.oom.group";
const V1_LIMIT: &str = "memory.limit_in_bytes";
/// v1's "soft limit" is v2's `memory.low` seen from the other side: what
/// lies above it is taken first when the machine runs short.
const V1_SOFT_LIMIT: &str = "memory.soft_limit_in_bytes";
const V1_SWAP_LIMIT: &str = "memory.memsw.limit_in_bytes";
const V1_SWAPPINESS: &str = "memory.swappiness";
/// Written: 1 switches the killer off. Read: also the counter `oom_kill`.
const V1_OOM_CONTROL: &str = "memory.oom_control";

/// v1 has no word for "no limit". It answers with the largest number of
/// whole pages, which no machine has.
const V1_UNLIMITED: u64 = 1 << 62;

/// Zero means "no limit" in Docker's API, so it asks for nothing.
pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    let set = |value: Option<u64>| value.is_some_and(|bytes| bytes > 0);
    if set(limits.memory) {
        Some("--memory")
    } else if limits.memory_swap.is_some_and(|bytes| bytes != 0) {
        Some("--memory-swap")
    } else if set(limits.memory_reservation) {
        Some("--memory-reservation")
    } else if limits.memory_swappiness.is_some() {
        Some("--memory-swappiness")
    } else {
        limits.oom_kill_disable.then_some("--oom-kill-disable")
    }
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    match dir {
        Dir::V1(dir) => apply_v1(dir, limits),
        Dir::V2(dir) => apply_v2(dir, limits),
    }
}

fn apply_v1(dir: &Path, limits: &Limits) -> Result<(), Error> {
    let memory = limits.memory.filter(|bytes| *bytes > 0);
    let swap = limits.memory_swap.filter(|bytes| *bytes != 0);
    // The kernel refuses memory > memory+swap at every single write
    // (EINVAL), so a limit that grows needs the swap limit first, and one
    // that shrinks needs it last.
    let now = file::read_number(&dir.join(V1_SWAP_LIMIT))?;
    let grows = memory.zip(now).is_some_and(|(new, now)| new > now);
    let mut writes = vec![
        memory.map(|bytes| (V1_LIMIT, bytes.to_string())),
        swap.map(|bytes| (V1_SWAP_LIMIT, bytes.to_string())),
    ];
    if grows {
        writes.reverse();
    }
    for (name, value) in writes.into_iter().flatten() {
        match file::write(&dir.join(name), value) {
            // Booted with swapaccount=0, or built without it.
            Err(Error::Write { source: Errno::ENOENT, .. })
                if name == V1_SWAP_LIMIT && !swap_is_on() => {}
            other => other?,
        }
    }
    if let Some(bytes) = limits.memory_reservation.filter(|b| *b > 0) {
        file::write(&dir.join(V1_SOFT_LIMIT), bytes)?;
    }
    if let Some(value) = limits.memory_swappiness {
        file::write(&dir.join(V1_SWAPPINESS), value)?;
    }
    if limits.oom_kill_disable {
        file::write(&dir.join(V1_OOM_CONTROL), 1)?;
    }
    Ok(())
}

/// Everything but the swap limit is one file for one flag here. Flags for
/// which v2 has no file at all are refused rather than forgotten.
fn apply_v2(dir: &Path, limits: &Limits) -> Result<(), Error> {
    let only_v1 = [
        (limits.oom_kill_disable, "--oom-kill-disable"),
        (limits.memory_swappiness.is_some(), "--memory-swappiness"),
    ];
    for (set, flag) in only_v1 {
        if set {
            return Err(Error::Invalid(format!(
                "{flag} does not exist on cgroup v2: the kernel has no such \
                 setting per group there"
            )));
        }
    }
    let memory = limits.memory.filter(|bytes| *bytes > 0);
    if let Some(bytes) = memory {
        file::write(&dir.join(V2_MAX), bytes)?;
    }
    if let Some(value) = swap_v2(memory, limits.memory_swap) {
        let limited = value != "max";
        let written = file::write_opt(&dir.join(V2_SWAP_MAX), value)?;
        // Without swap in the machine nothing can get out of the limit.
        if !written && limited && swap_is_on() {
            return Err(Error::Invalid(
                "--memory-swap cannot be kept: this kernel does not count \
                 swap per group (memory.swap.max is missing); -1 leaves swap \
                 unlimited"
                    .into(),
            ));
        }
    }
    if let Some(bytes) = limits.memory_reservation.filter(|b| *b > 0) {
        file::write(&dir.join(V2_LOW), bytes)?;
    }
    if limits.oom_group {
        file::write(&dir.join(V2_OOM_GROUP), 1)?;
    }
    Ok(())
}

/// Docker's flag is memory and swap together, v2's file is swap alone.
fn swap_v2(memory: Option<u64>, both: Option<i64>) -> Option<String> {
    match (memory, both?) {
        (_, ..0) => Some("max".to_owned()),
        (_, 0) | (None, _) => None,
        (Some(memory), both) => {
            let both = u64::try_from(both).unwrap_or(u64::MAX);
            Some(both.saturating_sub(memory).to_string())
        }
    }
}

/// Whether the machine has any swap; one line of `/proc/swaps` is its head.
fn swap_is_on() -> bool {
    let swaps = file::read_opt(Path::new("/proc/swaps")).ok().flatten();
    swaps.is_some_and(|text| text.lines().count() > 1)
}

/// The kernel counts per group since Linux 4.13. On v2 the counter of a
/// group includes the groups below it; on v1 it does not, so a kill in a
/// group that the container made itself is not seen there.
pub(crate) fn oom_kills(dir: Dir<'_>) -> Result<u64, Error> {
    let file = match dir {
        Dir::V1(dir) => dir.join(V1_OOM_CONTROL),
        Dir::V2(dir) => dir.join("memory.events"),
    };
    Ok(file::read_keyed(&file)?.get("oom_kill").copied().unwrap_or(0))
}

/// Reads are not atomic: `memory.current` may be newer than `memory.stat`,
/// which is why nobody should expect the parts to add up to the whole.
pub(crate) fn stats(dir: Dir<'_>, stats: &mut Stats) -> Result<(), Error> {
    let memory = &mut stats.memory;
    memory.oom_kills = oom_kills(dir)?;
    match dir {
        Dir::V1(dir) => {
            let number = |name| file::read_number(&dir.join(name));
            memory.usage = number("memory.usage_in_bytes")?.unwrap_or(0);
            memory.max_usage = number("memory.max_usage_in_bytes")?;
            memory.limit =
                number(V1_LIMIT)?.filter(|bytes| *bytes < V1_UNLIMITED);
            memory.failcnt = number("memory.failcnt")?.unwrap_or(0);
            memory.stat = file::read_keyed(&dir.join("memory.stat"))?;
            // total_…: with the groups below, as usage_in_bytes is.
            memory.inactive_file = get(&memory.stat, "total_inactive_file");
        }
        Dir::V2(dir) => {
            let number = |name| file::read_number(&dir.join(name));
            memory.usage = number("memory.current")?.unwrap_or(0);
            memory.max_usage = number("memory.peak")?;
            memory.limit = number(V2_MAX)?;
            let events = file::read_keyed(&dir.join("memory.events"))?;
            memory.failcnt = get(&events, "oom");
            memory.stat = file::read_keyed(&dir.join("memory.stat"))?;
            memory.inactive_file = get(&memory.stat, "inactive_file");
        }
    }
    Ok(())
}

fn get(stat: &std::collections::BTreeMap<String, u64>, name: &str) -> u64 {
    stat.get(name).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::swap_v2;

    #[test]
    fn swap_alone_is_what_remains_of_both_together() {
        assert_eq!(swap_v2(Some(100), Some(150)).as_deref(), Some("50"));
        assert_eq!(swap_v2(Some(100), Some(100)).as_deref(), Some("0"));
        assert_eq!(swap_v2(Some(100), Some(-1)).as_deref(), Some("max"));
        assert_eq!(swap_v2(Some(100), None), None);
        assert_eq!(swap_v2(None, Some(150)), None);
    }
}
