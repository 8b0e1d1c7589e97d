//! Limits that this host cannot keep: discarded, with a warning.
//!
//! Docker does so, in these sentences, and its users' scripts go on. It
//! happens on a kernel without a controller, and to an ordinary user to
//! whom no cgroup was delegated. A number of CPUs is no wish but a promise
//! to others on the machine, so that one is refused.

use cgroups::{Hierarchy, Kind};

use super::host_config::Resources;
use crate::engine::error::{Error, Result};

/// Takes out of `wanted` what cannot be; returns a line for each.
///
/// # Errors
/// [`Error::Invalid`] for CPUs where CPU time cannot be limited.
pub(super) fn discard(
    wanted: &mut Resources,
    host: &Hierarchy,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if !host.has(Kind::Memory) {
        memory(wanted, &mut lines);
    }
    let swaps = wanted.memory > 0 && wanted.memory_swap != -1;
    if swaps && !host.counts_swap() {
        wanted.memory_swap = -1;
        lines.push(
            "Your kernel does not support swap limit capabilities or the \
             cgroup is not mounted. Memory limited without swap.",
        );
    }
    if !host.has(Kind::Pids) && wanted.pids_limit.take() > Some(0) {
        lines.push(
            "Your kernel does not support PIDs limit capabilities or the \
             cgroup is not mounted. PIDs limit discarded.",
        );
    }
    if !host.has(Kind::Cpu) {
        cpu(wanted, &mut lines)?;
    }
    let cpuset = [&mut wanted.cpuset_cpus, &mut wanted.cpuset_mems];
    if !host.has(Kind::Cpuset) && cpuset.iter().any(|it| !it.is_empty()) {
        cpuset.into_iter().for_each(String::clear);
        lines.push(
            "Your kernel does not support cpuset or the cgroup is not \
             mounted. Cpuset discarded.",
        );
    }
    if !host.has(Kind::Io) {
        disks(wanted, &mut lines);
    }
    if !namespaces::in_first_user_namespace()
        && wanted.device_cgroup_rules.take().is_some_and(|it| !it.is_empty())
    {
        lines.push(
            "Only real root may filter devices: there are none here but \
             those of --device, with the rights that you have on the host. \
             Device cgroup rules discarded.",
        );
    }
    Ok(lines.into_iter().map(str::to_owned).collect())
}

fn memory(wanted: &mut Resources, lines: &mut Vec<&str>) {
    if std::mem::take(&mut wanted.memory) > 0 {
        lines.push(
            "Your kernel does not support memory limit capabilities or the \
             cgroup is not mounted. Limitation discarded.",
        );
    }
    wanted.memory_swap = 0;
    if std::mem::take(&mut wanted.memory_reservation) > 0 {
        lines.push(
            "Your kernel does not support memory soft limit capabilities or \
             the cgroup is not mounted. Limitation discarded.",
        );
    }
    // −1 is what the docker command sends for "not given".
    if wanted.memory_swappiness.take() >= Some(0) {
        lines.push(
            "Your kernel does not support memory swappiness capabilities or \
             the cgroup is not mounted. Memory swappiness discarded.",
        );
    }
    if wanted.oom_kill_disable.take() == Some(true) {
        lines.push(
            "Your kernel does not support OomKillDisable. OomKillDisable \
             discarded.",
        );
    }
}

fn cpu(wanted: &mut Resources, lines: &mut Vec<&str>) -> Result<()> {
    if wanted.nano_cpus > 0 {
        return Err(Error::Invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU \
             CFS scheduler or the cgroup is not mounted"
                .to_owned(),
        ));
    }
    if std::mem::take(&mut wanted.cpu_shares) > 0 {
        lines.push(
            "Your kernel does not support CPU shares or the cgroup is not \
             mounted. Shares discarded.",
        );
    }
    let period = std::mem::take(&mut wanted.cpu_period);
    let quota = std::mem::take(&mut wanted.cpu_quota);
    if period != 0 || quota != 0 {
        lines.push(
            "Your kernel does not support CPU CFS scheduler. CPU \
             period/quota discarded.",
        );
    }
    Ok(())
}

fn disks(wanted: &mut Resources, lines: &mut Vec<&str>) {
    if std::mem::take(&mut wanted.blkio_weight) > 0 {
        lines.push(
            "Your kernel does not support Block I/O weight or the cgroup is \
             not mounted. Weight discarded.",
        );
    }
    if !std::mem::take(&mut wanted.blkio_weight_device).is_empty() {
        lines.push(
            "Your kernel does not support Block I/O weight_device or the \
             cgroup is not mounted. Weight-device discarded.",
        );
    }
    let rates = [
        (
            &mut wanted.blkio_device_read_bps,
            "Your kernel does not support BPS Block I/O read limit or the \
             cgroup is not mounted. Block I/O BPS read limit discarded.",
        ),
        (
            &mut wanted.blkio_device_write_bps,
            "Your kernel does not support BPS Block I/O write limit or the \
             cgroup is not mounted. Block I/O BPS write limit discarded.",
        ),
        (
            &mut wanted.blkio_device_read_iops,
            "Your kernel does not support IOPS Block read limit or the \
             cgroup is not mounted. Block I/O IOPS read limit discarded.",
        ),
        (
            &mut wanted.blkio_device_write_iops,
            "Your kernel does not support IOPS Block write limit or the \
             cgroup is not mounted. Block I/O IOPS write limit discarded.",
        ),
    ];
    for (rate, line) in rates {
        if !std::mem::take(rate).is_empty() {
            lines.push(line);
        }
    }
}
