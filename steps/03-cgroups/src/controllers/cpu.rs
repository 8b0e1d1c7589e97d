//! CPU time. Two limits that people mix up: the *quota* stops a group when
//! its time in this period is used up, even if the CPU is idle; the *weight*
//! only matters while others want the CPU too.
//!
//! `--cpus 0.5` is a quota of 50 ms in every 100 ms. Four busy threads use it
//! up in 12.5 ms and then all stand still for 87.5: an *average* of half a
//! core, with gaps that a web server's users can feel.
//!
//! Kernel: `scheduler/sched-bwc.rst`, `cgroup-v2.rst` "CPU".

use std::path::Path;

use super::Dir;
use crate::{Error, Limits, Stats, file};

/// Quota and period in one line: `50000 100000`, or `max 100000`.
const V2_MAX: &str = "cpu.max";
/// 1 to 10 000, usual value 100.
const V2_WEIGHT: &str = "cpu.weight";
const V1_QUOTA: &str = "cpu.cfs_quota_us";
const V1_PERIOD: &str = "cpu.cfs_period_us";
/// The same, 2 to 262 144, usual value 1024: Docker's scale is v1's.
const V1_SHARES: &str = "cpu.shares";
/// Real-time threads are outside quota and weight; only v1 can limit them,
/// and only on a kernel with `CONFIG_RT_GROUP_SCHED`.
const V1_RT_RUNTIME: &str = "cpu.rt_runtime_us";
const V1_RT_PERIOD: &str = "cpu.rt_period_us";

pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    if limits.nano_cpus.is_some_and(|nano| nano > 0) {
        return Some("--cpus");
    }
    if limits.cpu_bandwidth().is_some() {
        return Some("--cpu-quota");
    }
    if real_time(limits) {
        return Some("--cpu-rt-runtime");
    }
    limits.cpu_shares.filter(|s| *s > 0).map(|_| "--cpu-shares")
}

fn real_time(limits: &Limits) -> bool {
    limits.cpu_rt_runtime.is_some_and(|us| us != 0)
        || limits.cpu_rt_period.is_some_and(|us| us != 0)
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    match dir {
        Dir::V1(dir) => apply_v1(dir, limits),
        Dir::V2(dir) => apply_v2(dir, limits),
    }
}

fn apply_v1(dir: &Path, limits: &Limits) -> Result<(), Error> {
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        file::write(&dir.join(V1_SHARES), shares)?;
    }
    if let Some((quota, period)) = limits.cpu_bandwidth() {
        // The kernel checks quota against period at each write; with no
        // quota any period is fine.
        file::write(&dir.join(V1_QUOTA), -1)?;
        file::write(&dir.join(V1_PERIOD), period)?;
        file::write(&dir.join(V1_QUOTA), quota)?;
    }
    if let Some(us) = limits.cpu_rt_period.filter(|us| *us != 0) {
        file::write(&dir.join(V1_RT_PERIOD), us)?;
    }
    // Last: a budget must fit into its period.
    if let Some(us) = limits.cpu_rt_runtime.filter(|us| *us != 0) {
        file::write(&dir.join(V1_RT_RUNTIME), us)?;
    }
    Ok(())
}

fn apply_v2(dir: &Path, limits: &Limits) -> Result<(), Error> {
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        file::write(&dir.join(V2_WEIGHT), weight(shares))?;
    }
    if let Some((quota, period)) = limits.cpu_bandwidth() {
        // One write for both numbers: nothing can come between them.
        let max = match quota {
            ..0 => format!("max {period}"),
            quota => format!("{quota} {period}"),
        };
        file::write(&dir.join(V2_MAX), max)?;
    }
    if real_time(limits) {
        return Err(Error::Invalid(
            "--cpu-rt-runtime and --cpu-rt-period do not exist on cgroup v2: \
             the kernel has no real-time budget per group there"
                .into(),
        ));
    }
    Ok(())
}

/// v1 shares (2 to 262 144, usual 1024) as a v2 weight (1 to 10 000, usual
/// 100).
///
/// A straight line would turn the usual 1024 into 39 and so give every
/// container less than a plain process. A quadratic curve on the exponents
/// goes through all three points: least, usual, most.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    #[allow(clippy::cast_precision_loss, reason = "at most 2^18")]
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10 000"
    )]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// How often and how long the quota stopped the group.
pub(crate) fn throttling(dir: Dir<'_>, stats: &mut Stats) -> Result<(), Error> {
    let (dir, time, unit) = match dir {
        Dir::V1(dir) => (dir, "throttled_time", 1),
        Dir::V2(dir) => (dir, "throttled_usec", 1000),
    };
    let stat = file::read_keyed(&dir.join("cpu.stat"))?;
    let get = |name| stat.get(name).copied().unwrap_or(0);
    stats.cpu.periods = get("nr_periods");
    stats.cpu.throttled_periods = get("nr_throttled");
    stats.cpu.throttled = get(time) * unit;
    Ok(())
}

/// The time that was used, by the kernel's own clock for this group. v1
/// counts in ns and by CPU, v2 in µs and as a sum.
pub(crate) fn usage(dir: Dir<'_>, stats: &mut Stats) -> Result<(), Error> {
    let cpu = &mut stats.cpu;
    match dir {
        Dir::V1(dir) => {
            let number =
                |name| Ok(file::read_number(&dir.join(name))?.unwrap_or(0));
            cpu.total = number("cpuacct.usage")?;
            cpu.user = number("cpuacct.usage_user")?;
            cpu.system = number("cpuacct.usage_sys")?;
            let each = file::read_opt(&dir.join("cpuacct.usage_percpu"))?;
            cpu.per_cpu = each
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|ns| ns.parse().ok())
                .collect();
        }
        Dir::V2(dir) => {
            let stat = file::read_keyed(&dir.join("cpu.stat"))?;
            let ns = |name| stat.get(name).copied().unwrap_or(0) * 1000;
            cpu.total = ns("usage_usec");
            cpu.user = ns("user_usec");
            cpu.system = ns("system_usec");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn the_usual_share_is_the_usual_weight() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 100);
        assert_eq!(weight(262_144), 10_000);
        assert_eq!(weight(u64::MAX), 10_000);
    }
}
