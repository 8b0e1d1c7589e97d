//! Limits.

use clap::Args;
use serde_json::{Value, json};

use super::Body;
use super::process::restart_policy;
use crate::cli::units::{bytes, bytes_or_unlimited, nano_cpus};

/// Flags about limits, of `run` and `create`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResourceFlags {
    #[command(flatten)]
    limits: LimitFlags,
    /// How hard the kernel tries to swap its memory: 0 to 100
    #[arg(long, default_value_t = -1, hide_default_value = true,
        allow_negative_numbers = true, value_name = "PERCENT")]
    memory_swappiness: i64,
    /// Never kill it for lack of memory
    #[arg(long)]
    oom_kill_disable: bool,
    /// How soon it is killed when memory runs out: -1000 to 1000
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true,
        value_name = "SCORE"
    )]
    oom_score_adj: i64,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_size: Option<i64>,
    /// A limit per process, as nofile=1024:2048; may repeat
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    /// The cgroup to be made in
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Read rate of a device, as /dev/sda:1mb; may repeat
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = rate_bytes)]
    device_read_bps: Vec<Value>,
    /// Write rate of a device; may repeat
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = rate_bytes)]
    device_write_bps: Vec<Value>,
    /// Reads a second of a device, as /dev/sda:100; may repeat
    #[arg(long, value_name = "DEVICE:COUNT", value_parser = rate)]
    device_read_iops: Vec<Value>,
    /// Writes a second of a device; may repeat
    #[arg(long, value_name = "DEVICE:COUNT", value_parser = rate)]
    device_write_iops: Vec<Value>,
    /// Block I/O weight for one device; may repeat
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = weight)]
    blkio_weight_device: Vec<Value>,
}

/// Limits that can also be changed later.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LimitFlags {
    /// The most memory, as 100m
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<i64>,
    /// The most memory and swap together; -1 for no limit
    #[arg(long, value_name = "BYTES", value_parser = bytes_or_unlimited,
        allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Memory that is left to it when memory is short
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// How many CPUs it may use, as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = nano_cpus)]
    cpus: Option<i64>,
    /// Its weight against others when all CPUs are busy
    #[arg(short, long, value_name = "WEIGHT", allow_negative_numbers = true)]
    cpu_shares: Option<i64>,
    /// CPU time per period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// The period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Real-time CPU per period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// The period for real-time CPU, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<i64>,
    /// Which CPUs, as 0-2,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// How many processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Block I/O weight: 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
}

impl LimitFlags {
    /// The fields of `HostConfig` that were given.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        let numbers = [
            ("Memory", self.memory),
            ("MemorySwap", self.memory_swap),
            ("MemoryReservation", self.memory_reservation),
            ("NanoCpus", self.cpus),
            ("CpuShares", self.cpu_shares),
            ("CpuQuota", self.cpu_quota),
            ("CpuPeriod", self.cpu_period),
            ("CpuRealtimeRuntime", self.cpu_rt_runtime),
            ("CpuRealtimePeriod", self.cpu_rt_period),
            ("PidsLimit", self.pids_limit),
            ("BlkioWeight", self.blkio_weight.map(i64::from)),
        ];
        let texts = [
            ("CpusetCpus", &self.cpuset_cpus),
            ("CpusetMems", &self.cpuset_mems),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(key, it)| Some((key, Value::from(it?))));
        let texts = texts
            .into_iter()
            .filter_map(|(key, it)| Some((key, Value::from(it.as_deref()?))));
        numbers.chain(texts).collect()
    }
}

impl ResourceFlags {
    pub(super) fn add(&self, body: &mut Body) -> anyhow::Result<()> {
        for (key, value) in self.limits.fields() {
            body.host(key, value);
        }
        body.host("MemorySwappiness", self.memory_swappiness);
        body.host("OomKillDisable", self.oom_kill_disable);
        body.host("OomScoreAdj", self.oom_score_adj);
        body.host("ShmSize", self.shm_size.unwrap_or(0));
        let ulimits: Vec<_> = self.ulimit.iter().map(Ulimit::json).collect();
        body.host("Ulimits", ulimits);
        body.host(
            "CgroupParent",
            self.cgroup_parent.clone().unwrap_or_default(),
        );
        let rates = [
            ("BlkioDeviceReadBps", &self.device_read_bps),
            ("BlkioDeviceWriteBps", &self.device_write_bps),
            ("BlkioDeviceReadIOps", &self.device_read_iops),
            ("BlkioDeviceWriteIOps", &self.device_write_iops),
            ("BlkioWeightDevice", &self.blkio_weight_device),
        ];
        for (key, values) in rates {
            if !values.is_empty() {
                body.host(key, values.clone());
            }
        }
        Ok(())
    }
}

/// What `update` can change.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpdateFlags {
    #[command(flatten)]
    limits: LimitFlags,
    /// What to do when it exits: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
}

impl UpdateFlags {
    /// The body of `POST /containers/ID/update`.
    ///
    /// # Errors
    /// If nothing was given, or no such restart policy.
    pub(crate) fn body(&self) -> anyhow::Result<Value> {
        let mut body = serde_json::Map::new();
        for (key, value) in self.limits.fields() {
            body.insert(key.to_owned(), value);
        }
        if let Some(policy) = &self.restart {
            let policy = restart_policy(policy)?;
            body.insert("RestartPolicy".to_owned(), policy);
        }
        anyhow::ensure!(
            !body.is_empty(),
            "you must provide one or more flags when using this command"
        );
        Ok(body.into())
    }
}

/// `--ulimit nofile=1024:2048`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ulimit {
    name: String,
    soft: i64,
    hard: i64,
}

impl Ulimit {
    pub(crate) fn json(&self) -> Value {
        json!({ "Name": self.name, "Soft": self.soft, "Hard": self.hard })
    }
}

impl std::str::FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Ulimit, String> {
        let invalid = || format!("invalid ulimit argument: {text}");
        let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |it: &str| match it {
            "unlimited" => Ok(-1),
            it => it.parse::<i64>().map_err(|_| invalid()),
        };
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard != -1 && (soft > hard || soft == -1) {
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: \
                 {soft} > {hard}"
            ));
        }
        Ok(Ulimit { name: name.to_owned(), soft, hard })
    }
}

fn device(text: &str) -> Result<(&str, &str), String> {
    text.rsplit_once(':')
        .filter(|(path, _)| path.starts_with("/dev/"))
        .ok_or_else(|| format!("bad format: {text}; write /dev/sda:VALUE"))
}

fn rate_bytes(text: &str) -> Result<Value, String> {
    let (path, rate) = device(text)?;
    Ok(json!({ "Path": path, "Rate": bytes(rate)? }))
}

fn rate(text: &str) -> Result<Value, String> {
    let (path, rate) = device(text)?;
    let rate: u64 =
        rate.parse().map_err(|_| format!("invalid rate: {text}"))?;
    Ok(json!({ "Path": path, "Rate": rate }))
}

fn weight(text: &str) -> Result<Value, String> {
    let (path, weight) = device(text)?;
    let weight: u16 =
        weight.parse().map_err(|_| format!("invalid weight: {text}"))?;
    Ok(json!({ "Path": path, "Weight": weight }))
}
