//! What may be limited: a plain record, in the units Docker's API uses.

use serde::{Deserialize, Serialize};

use crate::device_rules::DeviceRule;

/// The limits of one group. `None` (or an empty list) means "leave the
/// kernel's default", which is mostly "no limit".
///
/// The field names and units are those of `HostConfig` in the Docker Engine
/// API, and each doc names the flag of `docker run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `--memory`: bytes that may be in RAM. At the limit the kernel first
    /// reclaims page cache, then the OOM killer takes a process.
    pub memory: Option<u64>,
    /// `--memory-swap`: bytes of memory **and** swap together, as in Docker;
    /// −1 for any amount of swap. Not set: twice the memory, see
    /// [`Limits::with_swap_default`].
    pub memory_swap: Option<i64>,
    /// `--memory-reservation`: bytes that are kept when the host runs short.
    pub memory_reservation: Option<u64>,
    /// `--memory-swappiness`: 0 to 100, v1 only.
    pub memory_swappiness: Option<u64>,
    /// `--oom-kill-disable`: processes at the limit wait instead of being
    /// killed, v1 only.
    pub oom_kill_disable: bool,
    /// The OOM killer takes the whole group, not one process of it, v2 only.
    pub oom_group: bool,
    /// `--cpus`, in billionths of a CPU: 500 000 000 is half a core.
    pub nano_cpus: Option<u64>,
    /// `--cpu-shares`: weight against other groups when the CPU is full,
    /// 2 to 262 144, usual value 1024.
    pub cpu_shares: Option<u64>,
    /// `--cpu-quota`: µs of CPU time per period; −1 takes a limit away.
    pub cpu_quota: Option<i64>,
    /// `--cpu-period`: length of a period in µs, 1000 to 1 000 000.
    pub cpu_period: Option<u64>,
    /// `--cpu-rt-runtime`: µs of real-time scheduling a period, v1 only.
    pub cpu_rt_runtime: Option<i64>,
    /// `--cpu-rt-period`: µs, v1 only.
    pub cpu_rt_period: Option<u64>,
    /// `--cpuset-cpus`: which CPUs, as in `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`: which NUMA nodes, as in `0-1`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`: how many processes and threads at once; 0 and −1 take
    /// a limit away.
    pub pids: Option<i64>,
    /// `--blkio-weight`: share of a busy disk against others, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// `--blkio-weight-device`.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// `--device-read-bps`, bytes a second.
    pub read_bps: Vec<DeviceRate>,
    /// `--device-write-bps`, bytes a second.
    pub write_bps: Vec<DeviceRate>,
    /// `--device-read-iops`, operations a second.
    pub read_iops: Vec<DeviceRate>,
    /// `--device-write-iops`, operations a second.
    pub write_iops: Vec<DeviceRate>,
    /// Which device nodes may be opened. `None`: all of them, as for
    /// `--privileged`; see [`crate::default_devices`] for the usual list.
    pub devices: Option<Vec<DeviceRule>>,
    /// Huge pages, by size.
    pub hugetlb: Vec<HugetlbLimit>,
}

/// A weight for one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// The device, as in `/dev/sda`.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate for one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The device, as in `/dev/sda`.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A limit for huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbLimit {
    /// As the kernel writes it in the file's name: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

impl Limits {
    /// These limits with Docker's rule for swap made explicit: who limits
    /// memory and says nothing of swap gets as much swap again. Without
    /// this a container "limited" to 100 MB could swap out the rest and
    /// slow the whole machine down without ever being killed.
    #[must_use]
    pub fn with_swap_default(&self) -> Self {
        let mut limits = self.clone();
        if limits.memory_swap.is_none() {
            limits.memory_swap = limits
                .memory
                .filter(|bytes| *bytes > 0)
                .map(|bytes| i64::try_from(bytes * 2).unwrap_or(-1));
        }
        limits
    }

    /// CPU quota and period in µs, from whichever flag was used; `None` if
    /// neither was. A quota below zero is "no limit".
    ///
    /// `--cpus 0.5` is 50 ms of CPU time in each 100 ms: the default period
    /// of the kernel's bandwidth control (`sched-bwc.rst`).
    pub(crate) fn cpu_bandwidth(&self) -> Option<(i64, u64)> {
        const PERIOD: u64 = 100_000;
        if let Some(nano) = self.nano_cpus.filter(|nano| *nano > 0) {
            let quota = u128::from(nano) * u128::from(PERIOD) / 1_000_000_000;
            return Some((i64::try_from(quota).unwrap_or(-1), PERIOD));
        }
        let quota = self.cpu_quota.filter(|quota| *quota != 0);
        let period = self.cpu_period.filter(|period| *period != 0);
        if quota.is_none() && period.is_none() {
            return None;
        }
        Some((quota.unwrap_or(-1), period.unwrap_or(PERIOD)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cpu_is_half_of_each_period() {
        let limits =
            Limits { nano_cpus: Some(500_000_000), ..Limits::default() };
        assert_eq!(limits.cpu_bandwidth(), Some((50_000, 100_000)));
    }

    #[test]
    fn a_quota_alone_uses_the_kernels_period() {
        let limits = Limits { cpu_quota: Some(20_000), ..Limits::default() };
        assert_eq!(limits.cpu_bandwidth(), Some((20_000, 100_000)));
        assert_eq!(Limits::default().cpu_bandwidth(), None);
    }

    #[test]
    fn memory_without_swap_gets_as_much_swap_again() {
        let limits = Limits { memory: Some(100), ..Limits::default() };
        assert_eq!(limits.with_swap_default().memory_swap, Some(200));
        assert_eq!(Limits::default().with_swap_default().memory_swap, None);
    }

    #[test]
    fn limits_travel_as_json_and_missing_fields_mean_no_limit() {
        let limits: Limits = serde_json::from_str(r#"{"pids": 7}"#).unwrap();
        assert_eq!(limits, Limits { pids: Some(7), ..Limits::default() });
    }
}
