//! From `HostConfig`'s numbers to step 3's limits, and devices with them.

use std::path::Path;

use cgroups::{
    DeviceRate, DeviceRule, DeviceType, DeviceWeight, Limits, default_devices,
};

use super::devices;
use super::host_config::{HostConfig, Resources, ThrottleDevice};
use crate::engine::error::{Error, Result};

/// The limits that `host` asks for. `look` also resolves `--device` on this
/// machine, which only a start may do: the device may come later.
///
/// # Errors
/// [`Error::Invalid`] for a device that is not there.
pub(super) fn of(host: &HostConfig, look: bool) -> Result<Limits> {
    let resources = &host.resources;
    let mut limits = of_resources(resources)?;
    if host.privileged {
        return Ok(limits);
    }
    let mut rules = default_devices();
    if look {
        for mapping in &resources.devices {
            rules.extend(devices::rules(mapping)?);
        }
    }
    for rule in resources.device_cgroup_rules.iter().flatten() {
        rules.push(DeviceRule::parse(rule).map_err(Error::Invalid)?);
    }
    limits.devices = Some(rules);
    Ok(limits)
}

/// The part that can be changed while the container runs.
///
/// # Errors
/// [`Error::Invalid`] for a negative amount.
pub(super) fn of_resources(resources: &Resources) -> Result<Limits> {
    let mut limits = Limits {
        pids: resources.pids_limit.filter(|limit| *limit != 0),
        ..Limits::default()
    };
    memory(resources, &mut limits)?;
    cpu(resources, &mut limits)?;
    disks(resources, &mut limits);
    Ok(limits)
}

/// Zero is "not given".
fn amount(flag: &str, value: i64) -> Result<Option<u64>> {
    if value == 0 {
        return Ok(None);
    }
    u64::try_from(value).map(Some).map_err(|_| {
        Error::Invalid(format!("{flag} cannot be negative: {value}"))
    })
}

fn signed(value: i64) -> Option<i64> {
    Some(value).filter(|value| *value != 0)
}

fn memory(from: &Resources, to: &mut Limits) -> Result<()> {
    to.memory = amount("memory", from.memory)?;
    to.memory_swap = signed(from.memory_swap);
    to.memory_reservation =
        amount("memory reservation", from.memory_reservation)?;
    to.memory_swappiness = swappiness(from.memory_swappiness)?;
    to.oom_kill_disable = from.oom_kill_disable.unwrap_or(false);
    Ok(())
}

/// −1 is what the docker command sends for "not given".
fn swappiness(value: Option<i64>) -> Result<Option<u64>> {
    let given = value.filter(|value| *value != -1);
    given.map(u64::try_from).transpose().map_err(|_| {
        Error::Invalid(format!(
            "Invalid value: {}, valid memory swappiness range is 0-100",
            given.unwrap_or_default()
        ))
    })
}

fn cpu(from: &Resources, to: &mut Limits) -> Result<()> {
    let word = |text: &String| Some(text.clone()).filter(|it| !it.is_empty());
    to.nano_cpus = amount("CPUs", from.nano_cpus)?;
    to.cpu_shares = amount("CPU shares", from.cpu_shares)?;
    to.cpu_quota = signed(from.cpu_quota);
    to.cpu_period = amount("CPU period", from.cpu_period)?;
    to.cpu_rt_runtime = signed(from.cpu_realtime_runtime);
    to.cpu_rt_period =
        amount("CPU real-time period", from.cpu_realtime_period)?;
    to.cpuset_cpus = word(&from.cpuset_cpus);
    to.cpuset_mems = word(&from.cpuset_mems);
    Ok(())
}

fn disks(from: &Resources, to: &mut Limits) {
    to.blkio_weight = Some(from.blkio_weight).filter(|it| *it != 0);
    to.blkio_weight_device = from
        .blkio_weight_device
        .iter()
        .map(|it| DeviceWeight { path: it.path.clone(), weight: it.weight })
        .collect();
    to.read_bps = rates(&from.blkio_device_read_bps);
    to.write_bps = rates(&from.blkio_device_write_bps);
    to.read_iops = rates(&from.blkio_device_read_iops);
    to.write_iops = rates(&from.blkio_device_write_iops);
}

fn rates(list: &[ThrottleDevice]) -> Vec<DeviceRate> {
    list.iter()
        .map(|it| DeviceRate { path: it.path.clone(), rate: it.rate })
        .collect()
}

/// `10m` as bytes: a number, and `k`, `m`, `g` (or `kb`, `KiB`…) for powers
/// of 1024, as everywhere in Docker.
pub fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1u64 << 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// A rule for one device node.
pub(super) fn rule(
    path: &Path,
    (block, major, minor): (bool, u32, u32),
    access: &str,
) -> Result<DeviceRule> {
    let access = if access.is_empty() { "rwm" } else { access };
    if !access.chars().all(|it| "rwm".contains(it)) {
        return Err(Error::Invalid(format!(
            "invalid device mode {access:?} for {}",
            path.display()
        )));
    }
    let kind = if block { DeviceType::Block } else { DeviceType::Char };
    Ok(DeviceRule::allow(kind, Some(major), Some(minor), access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in
            [("10", 10), ("1k", 1024), ("64MB", 64 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        assert_eq!(bytes("ten"), None);
        assert_eq!(bytes(""), None);
    }

    #[test]
    fn what_the_docker_command_always_sends_sets_no_limit() {
        let json = r#"{"MemorySwappiness": -1, "OomKillDisable": false,
            "PidsLimit": 0, "Memory": 0, "CpuQuota": 0}"#;
        let host: HostConfig = serde_json::from_str(json).unwrap();
        let limits = of_resources(&host.resources).unwrap();
        assert_eq!(limits, Limits::default());
    }
}
