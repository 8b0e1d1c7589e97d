//! What a group has used, in one shape for v1 and v2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counters of one group at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory, page cache included.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Disk traffic, one entry a device.
    pub io: Vec<IoStats>,
}

/// CPU time, all in ns since the group was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStats {
    /// User and system time together.
    pub total: u64,
    /// Time in the programs themselves.
    pub user: u64,
    /// Time in the kernel on their behalf.
    pub system: u64,
    /// Time by CPU; v1 only, empty on v2.
    pub per_cpu: Vec<u64>,
    /// Periods in which the group ran with a CPU limit set.
    pub periods: u64,
    /// Periods in which it used up its quota and was stopped.
    pub throttled_periods: u64,
    /// How long it was stopped for.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// What is charged to the group now, page cache included.
    pub usage: u64,
    /// The most it ever was; absent on v2 before Linux 5.19.
    pub max_usage: Option<u64>,
    /// The limit; `None` if there is none.
    pub limit: Option<u64>,
    /// Page cache that the kernel would drop first.
    pub inactive_file: u64,
    /// How often the limit was hit; on v2, as in Docker, how often nothing
    /// could be reclaimed then.
    pub failcnt: u64,
    /// How many processes the OOM killer took.
    pub oom_kills: u64,
    /// All of `memory.stat`, by the kernel's own names.
    pub stat: BTreeMap<String, u64>,
}

impl MemoryStats {
    /// What `docker stats` shows: usage without the page cache that would be
    /// dropped first. Otherwise every container that ever read a big file
    /// would look as if it were about to hit its limit.
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` for no limit.
    pub limit: Option<u64>,
}

/// Traffic with one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStats {
    /// Major number of the device.
    pub major: u64,
    /// Minor number of the device.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub read_ops: u64,
    /// Write operations.
    pub write_ops: u64,
}
