//! The control group: each file that sets or shows a limit.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::read;
use crate::engine::containers::{Container, stop};
use crate::engine::error::{Error, Result};

/// A container's control group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Group {
    /// Its directories: one on v2, one a hierarchy on v1.
    pub directories: Vec<PathBuf>,
    /// Its files.
    pub controls: Vec<Control>,
}

/// A file of a control group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Control {
    /// The whole path: `cat` it, or write to it.
    pub path: PathBuf,
    /// What is in it now.
    pub value: String,
    /// What that means.
    pub meaning: String,
}

/// Files worth a look, in this order, under v2's names and v1's: a machine
/// has those of one kind.
const FILES: [(&str, &str); 25] = [
    ("memory.max", "memory: no more than this"),
    ("memory.high", "memory: slow down from here on"),
    ("memory.swap.max", "swap: no more than this"),
    ("memory.current", "memory: in use"),
    ("memory.peak", "memory: the most it ever was"),
    ("memory.limit_in_bytes", "memory: no more than this"),
    ("memory.memsw.limit_in_bytes", "memory and swap: no more than this"),
    ("memory.usage_in_bytes", "memory: in use"),
    ("memory.max_usage_in_bytes", "memory: the most it ever was"),
    ("memory.oom_control", "memory: what happens at the limit"),
    ("memory.events", "memory: how often the limit was met"),
    ("cpu.max", "CPU: microseconds in each period"),
    ("cpu.weight", "CPU: share when others want it too"),
    ("cpu.cfs_quota_us", "CPU: microseconds in each period"),
    ("cpu.cfs_period_us", "CPU: length of a period"),
    ("cpu.shares", "CPU: share when others want it too"),
    ("cpu.stat", "CPU: time used, and how often it was stopped"),
    ("cpuset.cpus", "CPU: only these"),
    ("io.max", "disks: no faster than this"),
    ("pids.max", "processes: no more than this"),
    ("pids.current", "processes: now"),
    ("cgroup.freeze", "frozen (pause)"),
    ("freezer.state", "frozen (pause)"),
    ("cgroup.procs", "processes in it, as the host counts"),
    ("devices.list", "device nodes it may use"),
];

/// A group with the PIDs in it.
pub(super) struct Found {
    pub(super) group: Group,
    pub(super) members: Vec<u32>,
}

/// The group of a container that runs.
///
/// # Errors
/// [`Error::Internal`] if the tree cannot be read.
pub(super) fn look(container: &Container) -> Result<Option<Found>> {
    let Some(cgroup) = stop::cgroup(container)? else { return Ok(None) };
    let directories: Vec<_> = cgroup.dirs().map(PathBuf::from).collect();
    let mut controls: Vec<Control> = Vec::new();
    for (name, meaning) in FILES {
        // On v1 every hierarchy has a cgroup.procs with the same PIDs, and
        // two controllers in one have all files of both.
        let mut places = directories.iter().map(|dir| dir.join(name));
        let found = places.find_map(|path| {
            let value = words(&read(&path)?);
            // Empty is how cpuset.cpus and io.max say "no limit".
            if value.is_empty() {
                return None;
            }
            Some(Control { path, value, meaning: meaning.to_owned() })
        });
        controls.extend(found);
    }
    let members = cgroup.procs().map_err(Error::internal)?;
    let group = Group { directories, controls };
    Ok(Some(Found { group, members }))
}

/// One line, whatever the file has.
fn words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(", ")
}
