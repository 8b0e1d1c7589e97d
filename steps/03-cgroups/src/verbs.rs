//! The commands that this step adds to a stage: `stats`, `pause`, `unpause`,
//! `update`.
//!
//! None of them talks to the process. Each finds the container's group by
//! its ID and reads or writes files there, which is why they work on a
//! container that hangs, and why `top` inside knows nothing of them.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use cli_api::stage::{Record, find_record, records};
use cli_api::table::Table;
use cli_api::{human, id};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Cgroup, Hierarchy, LimitArgs, PARENT};

/// They parse from the command line and travel to the daemon as JSON.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum LimitVerbs {
    /// Show what the running containers use of their limits
    Stats,
    /// Stop every process of a container where it is
    Pause {
        /// ID, name, or the beginning of an ID
        container: String,
    },
    /// Let the processes of a paused container go on
    Unpause {
        /// ID, name, or the beginning of an ID
        container: String,
    },
    /// Change the limits of a running container
    Update {
        /// The new limits; others stay as they are
        #[command(flatten)]
        limits: LimitArgs,
        /// ID, name, or the beginning of an ID
        container: String,
    },
}

impl LimitVerbs {
    /// Does it. `state` is the directory in which the stage keeps its
    /// records.
    ///
    /// # Errors
    /// Docker's sentence for a container that does not exist or run.
    pub fn run(
        self,
        hierarchy: &Hierarchy,
        state: &Path,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let find = |typed: &str| group_of(hierarchy, state, typed);
        match self {
            Self::Stats => {
                let mut running = records(state);
                running.retain(Record::is_running);
                write!(out, "{}", stats(hierarchy, &running)?)?;
                return Ok(());
            }
            Self::Pause { container } => {
                find(&container)?.freeze()?;
                writeln!(out, "{container}")?;
            }
            Self::Unpause { container } => {
                find(&container)?.thaw()?;
                writeln!(out, "{container}")?;
            }
            Self::Update { limits, container } => {
                find(&container)?.update(&limits.limits())?;
                writeln!(out, "{container}")?;
            }
        }
        Ok(())
    }
}

/// The name of a container's group: all of ours are in one place, where
/// people can look.
pub fn group_name(container: &str) -> String {
    format!("{PARENT}/{container}")
}

/// What `inspect` of a stage shows of a container's group: where its files
/// are, so that one can go and look, and what has been used.
pub fn describe(hierarchy: &Hierarchy, container: &str) -> Value {
    let Ok(group) = Cgroup::open(hierarchy, &group_name(container)) else {
        return Value::Null;
    };
    json!({
        "CgroupMode": hierarchy.mode().to_string(),
        "Cgroup": group.dirs().collect::<Vec<_>>(),
        "Stats": group.stats().ok(),
    })
}

/// The group of a container that runs; Docker's sentence if it does not.
fn group_of(
    hierarchy: &Hierarchy,
    state: &Path,
    typed: &str,
) -> anyhow::Result<Cgroup> {
    let container = find_record(state, typed)?;
    if !container.is_running() {
        bail!("Container {} is not running", container.id);
    }
    Ok(Cgroup::open(hierarchy, &group_name(&container.id))?)
}

/// One line a container, with Docker's columns. The share of a CPU takes two
/// looks with some time between.
fn stats(
    hierarchy: &Hierarchy,
    running: &[Record<Value>],
) -> anyhow::Result<impl fmt::Display> {
    const BETWEEN: std::time::Duration = std::time::Duration::from_millis(200);
    let mut table = Table::new([
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "BLOCK I/O",
        "PIDS",
    ]);
    let open = |c: &Record<Value>| Cgroup::open(hierarchy, &group_name(&c.id));
    let groups: Vec<_> = running.iter().map(open).collect::<Result<_, _>>()?;
    let look = || groups.iter().map(Cgroup::stats).collect::<Vec<_>>();
    let before = look();
    std::thread::sleep(BETWEEN);
    let machine = machine_memory();
    for ((container, before), now) in running.iter().zip(before).zip(look()) {
        let (before, now) = (before?, now?);
        let cpu = now.cpu.total.saturating_sub(before.cpu.total);
        let limit = now.memory.limit.unwrap_or(machine).min(machine);
        let used = now.memory.working_set();
        let read: u64 = now.io.iter().map(|io| io.read_bytes).sum();
        let written: u64 = now.io.iter().map(|io| io.write_bytes).sum();
        table.row([
            id::short(&container.id).to_owned(),
            container.name.clone(),
            percent(cpu, BETWEEN.as_nanos() as u64),
            format!("{} / {}", memory(used), memory(limit)),
            percent(used, limit),
            format!("{} / {}", size(read), size(written)),
            now.pids.current.to_string(),
        ]);
    }
    Ok(table)
}

#[allow(clippy::cast_precision_loss, reason = "shown with four digits")]
fn memory(bytes: u64) -> String {
    human::memory(bytes as f64)
}

#[allow(clippy::cast_precision_loss, reason = "shown with three digits")]
fn size(bytes: u64) -> String {
    human::size(bytes as f64, 3)
}

#[allow(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 / whole.max(1) as f64 * 100.0)
}

/// All of the machine's memory: the limit of who has none.
fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
