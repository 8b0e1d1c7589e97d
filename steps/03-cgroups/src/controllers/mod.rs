//! One file per controller, each with v1 and v2 side by side.
//!
//! A *controller* is the part of the kernel that keeps one kind of limit. It
//! shows itself as files in every group: `memory.max` is the controller
//! `memory`, its setting `max`. All of ours have the same three functions,
//! and [`ALL`] is the list of them.

use std::path::Path;

use crate::hierarchy::Version;
use crate::{Error, Limits, Stats};

pub(crate) mod cpu;
pub(crate) mod cpuset;
pub(crate) mod devices;
mod devices_bpf;
pub(crate) mod freezer;
pub(crate) mod hugetlb;
pub(crate) mod io;
pub(crate) mod memory;
pub(crate) mod pids;

/// What kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CPU time: weight and quota.
    Cpu,
    /// CPU time used; a hierarchy of its own on v1.
    Cpuacct,
    /// Which CPUs and memory nodes.
    Cpuset,
    /// Bytes of RAM and swap.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Disk traffic.
    Io,
    /// Access to device nodes.
    Devices,
    /// Stopping the group.
    Freezer,
    /// Huge pages.
    Hugetlb,
}

impl Kind {
    /// The kernel's name on v1.
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::Io => "blkio",
            Self::Cpuacct => "cpuacct",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            other => other.v2_name(),
        }
    }

    /// The kernel's name on v2, as in `cgroup.controllers`.
    pub fn v2_name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::Hugetlb => "hugetlb",
            // These are no controllers there but part of every group.
            Self::Cpuacct | Self::Devices | Self::Freezer => "core",
        }
    }

    /// On v2 every group has it, nothing is to be handed down.
    pub fn is_core_on_v2(self) -> bool {
        self.v2_name() == "core"
    }
}

/// The directory of a group, for one controller. Matching on it puts the two
/// dialects of a controller side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dir<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

impl<'a> Dir<'a> {
    pub(crate) fn new(version: Version, dir: &'a Path) -> Self {
        match version {
            Version::V1 => Self::V1(dir),
            Version::V2 => Self::V2(dir),
        }
    }

    pub(crate) fn path(self) -> &'a Path {
        match self {
            Self::V1(dir) | Self::V2(dir) => dir,
        }
    }
}

/// What each controller can do.
#[derive(Debug)]
pub(crate) struct Controller {
    /// What it is for.
    pub(crate) kind: Kind,
    /// The flag that needs it, if `Limits` has something for it.
    pub(crate) asked: fn(&Limits) -> Option<&'static str>,
    /// Writes the limits that are set.
    pub(crate) apply: fn(Dir<'_>, &Limits) -> Result<(), Error>,
    /// Reads its counters.
    pub(crate) stats: fn(Dir<'_>, &mut Stats) -> Result<(), Error>,
}

/// All of them, in the order in which limits are written. cpuset is first:
/// on v1 no process may enter a group that has no CPUs.
pub(crate) const ALL: [Controller; 9] = [
    Controller {
        kind: Kind::Cpuset,
        asked: cpuset::asked,
        apply: cpuset::apply,
        stats: no_stats,
    },
    Controller {
        kind: Kind::Memory,
        asked: memory::asked,
        apply: memory::apply,
        stats: memory::stats,
    },
    Controller {
        kind: Kind::Cpu,
        asked: cpu::asked,
        apply: cpu::apply,
        stats: cpu::throttling,
    },
    Controller {
        kind: Kind::Cpuacct,
        asked: never,
        apply: no_limits,
        stats: cpu::usage,
    },
    Controller {
        kind: Kind::Pids,
        asked: pids::asked,
        apply: pids::apply,
        stats: pids::stats,
    },
    Controller {
        kind: Kind::Io,
        asked: io::asked,
        apply: io::apply,
        stats: io::stats,
    },
    Controller {
        kind: Kind::Devices,
        asked: devices::asked,
        apply: devices::apply,
        stats: no_stats,
    },
    Controller {
        kind: Kind::Freezer,
        asked: never,
        apply: no_limits,
        stats: no_stats,
    },
    Controller {
        kind: Kind::Hugetlb,
        asked: hugetlb::asked,
        apply: hugetlb::apply,
        stats: no_stats,
    },
];

/// For what has no limit of its own.
fn never(_: &Limits) -> Option<&'static str> {
    None
}

#[allow(clippy::unnecessary_wraps, reason = "an entry of the table")]
fn no_limits(_: Dir<'_>, _: &Limits) -> Result<(), Error> {
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "an entry of the table")]
fn no_stats(_: Dir<'_>, _: &mut Stats) -> Result<(), Error> {
    Ok(())
}
