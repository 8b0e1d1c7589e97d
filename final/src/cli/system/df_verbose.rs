//! `system df -v`: each thing, in the columns of its own list.

use cli_api::human;
use serde_json::{Value, json};

use super::df::{bytes, things};
use crate::cli::container::ps;
use crate::cli::format::Template;
use crate::cli::image;
use crate::cli::list::{self, Headers, ListFlags, Row, ago, row};
use crate::cli::volume;

const IMAGE: &[&str] = &[
    "Repository",
    "Tag",
    "ID",
    "CreatedSince",
    "Size",
    "SharedSize",
    "UniqueSize",
    "Containers",
];

const CONTAINER: &[&str] = &[
    "ID",
    "Image",
    "Command",
    "LocalVolumes",
    "Size",
    "RunningFor",
    "Status",
    "Names",
];

const VOLUME: &[&str] = &["Name", "Links", "Size"];

const CACHE: &[&str] = &[
    "ID",
    "CacheType",
    "Size",
    "CreatedSince",
    "LastUsedSince",
    "UsageCount",
    "Shared",
];

const CACHE_HEADERS: Headers = &[
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

/// Tables for people, or all at once to a template.
pub(super) fn show(
    all: &Value,
    format: Option<&str>,
) -> anyhow::Result<String> {
    let rows = |kind, row: fn(&Value) -> Row| -> Vec<Row> {
        things(all, kind).iter().map(row).collect()
    };
    let images = rows("Images", one_image);
    let containers = rows("Containers", container);
    let volumes = rows("Volumes", volume::volume);
    let cache = rows("BuildCache", cached);
    if let Some(format) = format.filter(|it| *it != "table") {
        let all = json!({
            "Images": rows("Images", whole_image),
            "Containers": containers,
            "Volumes": volumes,
            "BuildCache": cache,
        });
        return Ok(match format {
            "json" => list::escaped(&all) + "\n",
            text => Template::parse(text)?.render(&all)?,
        });
    }
    let cached: f64 =
        things(all, "BuildCache").iter().map(|it| bytes(&it["Size"])).sum();
    let table = |headers, columns, rows: &[Row]| {
        list::show(&ListFlags::default(), headers, columns, rows)
    };
    Ok([
        "Images space usage:\n\n",
        &table(image::HEADERS, IMAGE, &images)?,
        "\nContainers space usage:\n\n",
        &table(ps::HEADERS, CONTAINER, &containers)?,
        "\nLocal Volumes space usage:\n\n",
        &table(volume::HEADERS, VOLUME, &volumes)?,
        &format!("\nBuild cache usage: {}\n\n", human::size(cached, 4)),
        &table(CACHE_HEADERS, CACHE, &cache)?,
    ]
    .concat())
}

/// By the first of its names.
fn one_image(it: &Value) -> Row {
    image::names(it, false).swap_remove(0)
}

/// A template sees the whole ID, and nothing of digests.
fn whole_image(it: &Value) -> Row {
    let mut row = image::names(it, true).swap_remove(0);
    row.insert("Digest".to_owned(), "".into());
    row
}

/// What it shares with its image takes no room of its own.
fn container(it: &Value) -> Row {
    let mut own = it.clone();
    own["SizeRootFs"] = 0.into();
    ps::container(&own, false)
}

fn cached(it: &Value) -> Row {
    let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let yes = |key: &str| it[key].as_bool().unwrap_or(false).to_string();
    row([
        ("ID", text("ID").chars().take(12).collect()),
        ("Parent", text("Parent")),
        ("CacheType", text("Type")),
        ("Description", text("Description")),
        ("InUse", yes("InUse")),
        ("Shared", yes("Shared")),
        ("Size", human::size(bytes(&it["Size"]), 3)),
        ("CreatedAt", text("CreatedAt")),
        ("CreatedSince", ago(&it["CreatedAt"])),
        ("LastUsedAt", text("LastUsedAt")),
        ("LastUsedSince", ago(&it["LastUsedAt"])),
        ("UsageCount", bytes(&it["UsageCount"]).to_string()),
    ])
}
