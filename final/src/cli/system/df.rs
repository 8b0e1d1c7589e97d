//! `system df`: what takes how much room.

use clap::Args;
use cli_api::human;
use serde_json::Value;

use super::df_verbose;
use crate::cli::context::Context;
use crate::cli::list::{self, Headers, ListFlags, Row, row};

#[derive(Debug, Clone, Args)]
pub(crate) struct DfArgs {
    /// Show each thing
    #[arg(short, long)]
    verbose: bool,
    /// Print by this template, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const HEADERS: Headers = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

const COLUMNS: &[&str] =
    &["Type", "TotalCount", "Active", "Size", "Reclaimable"];

/// `system df`.
pub(crate) async fn df(context: &Context, args: DfArgs) -> anyhow::Result<u8> {
    let all: Value = context.client.get("/system/df").await?;
    if args.verbose {
        print!("{}", df_verbose::show(&all, args.format.as_deref())?);
        return Ok(0);
    }
    let flags = ListFlags { quiet: false, format: args.format };
    let rows = [images(&all), containers(&all), volumes(&all), cache(&all)];
    list::print(&flags, HEADERS, COLUMNS, &rows)?;
    Ok(0)
}

pub(super) fn things<'a>(all: &'a Value, kind: &str) -> &'a [Value] {
    all[kind].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn bytes(it: &Value) -> f64 {
    it.as_f64().unwrap_or(0.0).max(0.0)
}

fn line(kind: &str, total: usize, active: usize, size: f64, free: f64) -> Row {
    let share = match size > 0.0 {
        // A sum of nothing is −0, and + 0 makes it 0.
        true => format!(" ({:.0}%)", free / size * 100.0 + 0.0),
        false => String::new(),
    };
    row([
        ("Type", kind.to_owned()),
        ("TotalCount", total.to_string()),
        ("Active", active.to_string()),
        ("Size", human::size(size, 4)),
        ("Reclaimable", format!("{}{share}", human::size(free, 4))),
    ])
}

fn images(all: &Value) -> Row {
    let images = things(all, "Images");
    let used = |it: &&Value| bytes(&it["Containers"]) > 0.0;
    let own = |it: &Value| bytes(&it["Size"]) - bytes(&it["SharedSize"]);
    let free = images.iter().filter(|it| !used(it)).map(own).sum();
    let active = images.iter().filter(used).count();
    line("Images", images.len(), active, bytes(&all["LayersSize"]), free)
}

fn containers(all: &Value) -> Row {
    let all = things(all, "Containers");
    let runs = |it: &&Value| {
        ["running", "paused", "restarting"]
            .contains(&it["State"].as_str().unwrap_or_default())
    };
    let size = |it: &Value| bytes(&it["SizeRw"]);
    let free = all.iter().filter(|it| !runs(it)).map(size).sum();
    let active = all.iter().filter(runs).count();
    let total = all.iter().map(size).sum();
    line("Containers", all.len(), active, total, free)
}

fn volumes(all: &Value) -> Row {
    let all = things(all, "Volumes");
    let used = |it: &&Value| bytes(&it["UsageData"]["RefCount"]) > 0.0;
    let size = |it: &Value| bytes(&it["UsageData"]["Size"]);
    let free = all.iter().filter(|it| !used(it)).map(size).sum();
    let active = all.iter().filter(used).count();
    let total = all.iter().map(size).sum();
    line("Local Volumes", all.len(), active, total, free)
}

fn cache(all: &Value) -> Row {
    let all = things(all, "BuildCache");
    let used = |it: &&Value| it["InUse"].as_bool().unwrap_or(false);
    // What an image has as well is in the images' row.
    let own = |it: &&Value| !it["Shared"].as_bool().unwrap_or(false);
    let size = |it: &Value| bytes(&it["Size"]);
    let free = all.iter().filter(own).filter(|it| !used(it)).map(size).sum();
    let active = all.iter().filter(used).count();
    let total = all.iter().filter(own).map(size).sum();
    line("Build Cache", all.len(), active, total, free)
}
