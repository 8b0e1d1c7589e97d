//! `docker stats`: the counters of step 3 in Docker's shape.

use std::collections::BTreeMap;

use cgroups::{Cgroup, IoStats, Stats};
use serde_json::{Map, Value, json};

use super::state::now;
use super::{Container, stop};
use crate::engine::Engine;
use crate::engine::error::Result;

/// One look at a container's counters.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    read: String,
    stats: Stats,
    /// The whole machine's CPU time in ns, to compare with.
    system: u64,
    networks: BTreeMap<String, [u64; 8]>,
}

/// A container's counters, ready to be looked at again and again.
#[derive(Debug)]
pub struct Source {
    id: String,
    name: String,
    pid: i32,
    cgroup: Option<Cgroup>,
    /// Whether it is one of v2, where Docker counts less.
    on_v2: bool,
}

impl Engine {
    /// The counters of a container; all zero if it does not run.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::engine::Error::NotFound).
    pub fn stats(&self, container: &Container) -> Result<Source> {
        let (name, pid) =
            container.with(|record| (record.name.clone(), record.state.pid));
        let cgroup = if pid == 0 { None } else { stop::cgroup(container)? };
        let on_v2 = cgroup.is_some() && stop::hierarchy()?.is_v2();
        Ok(Source { id: container.id.clone(), name, pid, cgroup, on_v2 })
    }
}

impl Source {
    /// Looks now.
    pub fn sample(&self) -> Sample {
        let Some(cgroup) = &self.cgroup else { return Sample::default() };
        Sample {
            read: now(),
            // It may end while we look.
            stats: cgroup.stats().unwrap_or_default(),
            system: system_cpu(),
            networks: network_counters(self.pid),
        }
    }

    /// Docker's JSON for two looks; the first may be empty.
    pub fn json(&self, before: &Sample, now: &Sample) -> Value {
        let never = super::state::NEVER;
        let read = |sample: &Sample| match sample.read.as_str() {
            "" => never.to_owned(),
            read => read.to_owned(),
        };
        let mut json = json!({
            "name": self.name,
            "id": self.id,
            "read": read(now),
            "preread": read(before),
            "pids_stats": pids(now),
            "blkio_stats": blkio(&now.stats.io),
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": cpu(now),
            "precpu_stats": cpu(before),
            "memory_stats": memory(now),
        });
        if !now.networks.is_empty() {
            json["networks"] = networks(now);
        }
        if self.on_v2 {
            leave_out_v1(&mut json);
        }
        json
    }
}

/// What Docker shows on v1 alone. A peak that comes and goes with the
/// kernel's version would be taken for one that is 0.
fn leave_out_v1(json: &mut Value) {
    if let Some(memory) = json["memory_stats"].as_object_mut() {
        memory.shift_remove("max_usage");
    }
    json["blkio_stats"]["io_serviced_recursive"] = Value::Null;
}

fn pids(sample: &Sample) -> Value {
    let pids = &sample.stats.pids;
    match (pids.current, pids.limit) {
        (0, _) => json!({}),
        (current, None) => json!({ "current": current }),
        (current, Some(limit)) => {
            json!({ "current": current, "limit": limit })
        }
    }
}

fn cpu(sample: &Sample) -> Value {
    let cpu = &sample.stats.cpu;
    let mut usage = json!({
        "total_usage": cpu.total,
        "usage_in_kernelmode": cpu.system,
        "usage_in_usermode": cpu.user,
    });
    if !cpu.per_cpu.is_empty() {
        usage["percpu_usage"] = json!(cpu.per_cpu);
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut json = json!({
        "cpu_usage": usage,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled,
        },
    });
    if sample.system > 0 {
        json["system_cpu_usage"] = json!(sample.system);
        json["online_cpus"] = json!(cpus);
    }
    json
}

fn memory(sample: &Sample) -> Value {
    let memory = &sample.stats.memory;
    if sample.read.is_empty() {
        return json!({});
    }
    let total = {
        let info = rustix::system::sysinfo();
        info.totalram * u64::from(info.mem_unit)
    };
    let mut json = json!({
        "usage": memory.usage,
        "stats": memory.stat,
        // Without a limit of its own it may take what the machine has.
        "limit": memory.limit.unwrap_or(total).min(total),
    });
    if let Some(most) = memory.max_usage {
        json["max_usage"] = json!(most);
    }
    if memory.failcnt > 0 {
        json["failcnt"] = json!(memory.failcnt);
    }
    json
}

/// One entry for each device and direction, under v1's names.
fn blkio(io: &[IoStats]) -> Value {
    let list = |pick: fn(&IoStats) -> [(&'static str, u64); 2]| {
        let entry = |device: &IoStats| {
            let (major, minor) = (device.major, device.minor);
            pick(device).map(|(op, value)| {
                json!({
                    "major": major, "minor": minor, "op": op, "value": value,
                })
            })
        };
        json!(io.iter().flat_map(entry).collect::<Vec<_>>())
    };
    json!({
        "io_service_bytes_recursive":
            list(|it| [("read", it.read_bytes), ("write", it.write_bytes)]),
        "io_serviced_recursive":
            list(|it| [("read", it.read_ops), ("write", it.write_ops)]),
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn networks(sample: &Sample) -> Value {
    const KEYS: [&str; 8] = [
        "rx_bytes",
        "rx_packets",
        "rx_errors",
        "rx_dropped",
        "tx_bytes",
        "tx_packets",
        "tx_errors",
        "tx_dropped",
    ];
    let mut all = Map::new();
    for (name, counters) in &sample.networks {
        let pairs = KEYS.iter().zip(counters);
        let entry: Map<_, _> = pairs
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        all.insert(name.clone(), Value::Object(entry));
    }
    Value::Object(all)
}

/// `/proc/PID/net/dev` shows the interfaces of that process's namespace.
fn network_counters(pid: i32) -> BTreeMap<String, [u64; 8]> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev"));
    text.map_or_else(|_| BTreeMap::new(), |text| parse_net_dev(&text))
}

fn parse_net_dev(text: &str) -> BTreeMap<String, [u64; 8]> {
    let mut all = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let values: Vec<u64> = rest
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        // Eight columns for receiving, then eight for sending; the first
        // four of each are bytes, packets, errors, drops.
        if let [a, b, c, d, _, _, _, _, e, f, g, h, ..] = values[..]
            && name.trim() != "lo"
        {
            all.insert(name.trim().to_owned(), [a, b, c, d, e, f, g, h]);
        }
    }
    all
}

/// The first line of `/proc/stat`: the machine's CPU time by kind, in ticks
/// of 10 ms.
fn system_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: u64 = line
        .split_whitespace()
        .skip(1)
        // The eighth and later kinds are guests' time, counted already.
        .take(7)
        .map(|word| word.parse().unwrap_or(0))
        .sum();
    ticks * 10_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_without_the_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes\n\
            lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
            eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let all = parse_net_dev(text);
        assert_eq!(all.len(), 1);
        assert_eq!(all["eth0"], [10, 2, 3, 4, 50, 6, 7, 8]);
    }
}
