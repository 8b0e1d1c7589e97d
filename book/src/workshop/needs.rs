//! What a machine must have for a check, and what to say if it has not.

use std::fs;

use ::transcript::sandbox;
use cgroups::{Hierarchy, Kind};
use serde::Deserialize;

/// One thing that a check needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Need {
    /// Making namespaces and mounts as root.
    Root,
    /// User namespaces for ordinary users.
    Userns,
    /// A group of its own with these controllers.
    CgroupMemory,
    CgroupCpu,
    CgroupPids,
    CgroupFreezer,
    /// The overlay file system.
    Overlay,
    /// The program `ip`.
    Ip,
}

impl Need {
    /// Why this cannot be had here, if it cannot.
    fn missing(self) -> Option<String> {
        match self {
            Need::Root => sandbox::missing(),
            Need::Userns => userns_missing(),
            Need::CgroupMemory => controller_missing(Kind::Memory, "memory"),
            Need::CgroupCpu => controller_missing(Kind::Cpu, "cpu"),
            Need::CgroupPids => controller_missing(Kind::Pids, "pids"),
            Need::CgroupFreezer => controller_missing(Kind::Freezer, "freezer"),
            Need::Overlay => overlay_missing(),
            Need::Ip => (!sandbox::installed("ip")).then(|| {
                "`ip` is not installed (the package is called iproute2)".into()
            }),
        }
    }

    /// Whether the check wants a control group.
    pub(crate) fn is_cgroup(self) -> bool {
        use Need::{CgroupCpu, CgroupFreezer, CgroupMemory, CgroupPids};
        matches!(self, CgroupMemory | CgroupCpu | CgroupPids | CgroupFreezer)
    }
}

/// The first of `needs` that this machine does not meet.
pub(crate) fn first_missing(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| need.missing())
}

fn userns_missing() -> Option<String> {
    // 0 where the administrator has forbidden them; absent without the
    // kernel option.
    let file = "/proc/sys/user/max_user_namespaces";
    let max = fs::read_to_string(file).unwrap_or_default();
    if matches!(max.trim(), "" | "0") {
        return Some(format!("user namespaces are off ({file})"));
    }
    let gate = "/proc/sys/kernel/unprivileged_userns_clone";
    let closed = fs::read_to_string(gate).is_ok_and(|it| it.trim() == "0");
    closed.then(|| format!("user namespaces are for root only ({gate} is 0)"))
}

fn controller_missing(kind: Kind, name: &str) -> Option<String> {
    match Hierarchy::detect() {
        Err(error) => Some(error.to_string()),
        Ok(hierarchy) => {
            let has = hierarchy
                .mounts()
                .iter()
                .any(|mount| mount.base.is_some() && mount.has(kind));
            (!has).then(|| {
                format!("the cgroup controller `{name}` cannot be used here")
            })
        }
    }
}

fn overlay_missing() -> Option<String> {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = known.lines().any(|line| line.ends_with("\toverlay"));
    (!has).then(|| "the kernel does not know overlay (modprobe overlay)".into())
}
