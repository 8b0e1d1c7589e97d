//! `stats`: what containers use.

use std::io::{IsTerminal, Write};

use clap::Args;
use cli_api::client::Payload;
use cli_api::{human, id};
use futures_util::future::join_all;
use http::Method;
use serde_json::Value;

use super::run::path;
use crate::cli::context::Context;
use crate::cli::list::{self, Headers, ListFlags, Row, ellipsis, row};
use crate::cli::query::Query;

/// Show what containers use, live
#[derive(Debug, Clone, Args)]
pub(crate) struct StatsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Once, not live
    #[arg(long)]
    no_stream: bool,
    /// Show whole IDs
    #[arg(long)]
    no_trunc: bool,
    /// Print rows by this template, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names or IDs; all that run if none is given
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const HEADERS: Headers = &[
    ("ID", "CONTAINER ID"),
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

const COLUMNS: &[&str] = &[
    "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs",
];

/// `stats`. Asks anew for each picture: the engine needs two samples a
/// second apart for a share of CPU anyway.
pub(crate) async fn stats(
    context: &Context,
    args: StatsArgs,
) -> anyhow::Result<u8> {
    let flags = ListFlags { quiet: false, format: args.format.clone() };
    let live = !args.no_stream;
    let screen = live && std::io::stdout().is_terminal();
    loop {
        let rows = picture(context, &args).await?;
        let text = list::show(&flags, HEADERS, COLUMNS, &rows)?;
        let mut out = std::io::stdout().lock();
        if screen {
            // Home, then the picture, then clear what is left below.
            write!(out, "\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        out.flush()?;
        if !live {
            return Ok(0);
        }
        drop(out);
        if rows.is_empty() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

/// One row per container.
async fn picture(
    context: &Context,
    args: &StatsArgs,
) -> anyhow::Result<Vec<Row>> {
    let names = match args.containers.is_empty() {
        false => args.containers.clone(),
        true => all_names(context, args.all).await?,
    };
    let samples = join_all(names.iter().map(|it| sample(context, it))).await;
    let mut rows = Vec::new();
    for (name, sample) in names.iter().zip(samples) {
        match sample {
            Ok(sample) => rows.push(usage(&sample, name, args.no_trunc)),
            // One that has just been removed is not missed, unless it was
            // asked for by name.
            Err(why) if !args.containers.is_empty() => return Err(why),
            Err(_) => {}
        }
    }
    Ok(rows)
}

async fn all_names(
    context: &Context,
    all: bool,
) -> anyhow::Result<Vec<String>> {
    let query = Query::new("/containers/json").flag("all", all).build();
    let found: Option<Vec<Value>> = context.client.get(&query).await?;
    let ids = found.iter().flatten().filter_map(|it| it["Id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

async fn sample(context: &Context, name: &str) -> anyhow::Result<Value> {
    let query = Query::new(path(name, "stats")).with("stream", "0").build();
    let none = Payload::none();
    let answer = context.client.send(Method::GET, &query, none).await?;
    let line = crate::cli::progress::Lines::new(answer).next().await?;
    Ok(serde_json::from_slice(&line.unwrap_or_default())?)
}

fn usage(it: &Value, asked: &str, whole: bool) -> Row {
    let id = it["id"].as_str().unwrap_or(asked);
    let name = it["name"].as_str().unwrap_or_default();
    let memory = &it["memory_stats"];
    let (used, limit) = (memory_used(memory), float(&memory["limit"]));
    let share = if limit > 0.0 { used / limit * 100.0 } else { 0.0 };
    let (received, sent) = network(&it["networks"]);
    let (read, written) = blocks(&it["blkio_stats"]);
    let size = |bytes| human::size(bytes, 3);
    row([
        ("ID", if whole { id } else { id::short(id) }.to_owned()),
        ("Container", asked.to_owned()),
        ("Name", ellipsis(name.trim_start_matches('/'), 40)),
        ("CPUPerc", format!("{:.2}%", cpu_percent(it))),
        (
            "MemUsage",
            format!("{} / {}", human::memory(used), human::memory(limit)),
        ),
        ("MemPerc", format!("{share:.2}%")),
        ("NetIO", format!("{} / {}", size(received), size(sent))),
        ("BlockIO", format!("{} / {}", size(read), size(written))),
        ("PIDs", float(&it["pids_stats"]["current"]).to_string()),
    ])
}

fn float(it: &Value) -> f64 {
    it.as_f64().unwrap_or(0.0)
}

/// Its CPU time as a share of one CPU's, between the two samples: 200 %
/// means two CPUs.
fn cpu_percent(it: &Value) -> f64 {
    let (now, before) = (&it["cpu_stats"], &it["precpu_stats"]);
    let total = |it: &Value| float(&it["cpu_usage"]["total_usage"]);
    let system = |it: &Value| float(&it["system_cpu_usage"]);
    let (used, passed) =
        (total(now) - total(before), system(now) - system(before));
    let cpus = match float(&now["online_cpus"]) {
        0.0 => now["cpu_usage"]["percpu_usage"]
            .as_array()
            .map_or(1.0, |it| it.len() as f64),
        cpus => cpus,
    };
    if used > 0.0 && passed > 0.0 { used / passed * cpus * 100.0 } else { 0.0 }
}

/// Without the page cache that the kernel could give up at once.
fn memory_used(memory: &Value) -> f64 {
    let stats = &memory["stats"];
    let cache = match stats.get("total_inactive_file") {
        Some(v1) => float(v1),
        None => float(&stats["inactive_file"]),
    };
    let usage = float(&memory["usage"]);
    if cache < usage { usage - cache } else { usage }
}

fn network(networks: &Value) -> (f64, f64) {
    let all = networks.as_object().into_iter().flatten();
    all.fold((0.0, 0.0), |(rx, tx), (_, it)| {
        (rx + float(&it["rx_bytes"]), tx + float(&it["tx_bytes"]))
    })
}

fn blocks(stats: &Value) -> (f64, f64) {
    let all = stats["io_service_bytes_recursive"].as_array();
    all.into_iter().flatten().fold((0.0, 0.0), |(read, written), it| {
        match it["op"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "read" => (read + float(&it["value"]), written),
            "write" => (read, written + float(&it["value"])),
            _ => (read, written),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shares_are_computed_as_docker_does() {
        let it = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 300},
                "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 100},
                "system_cpu_usage": 1000},
        });
        assert!((cpu_percent(&it) - 40.0).abs() < 1e-9);
        let memory = json!({"usage": 100, "stats": {"inactive_file": 30}});
        assert!((memory_used(&memory) - 70.0).abs() < 1e-9);
    }
}
