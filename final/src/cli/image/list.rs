//! `images` and `history`.

use clap::Args;
use cli_api::{human, id};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::container::ps::created_at;
use crate::cli::context::Context;
use crate::cli::list::{self, Headers, ListFlags, Row, ago, ellipsis, row};
use crate::cli::query::{Filter, Query, segment};

use super::sharing;

/// List images
#[derive(Debug, Clone, Args)]
pub(crate) struct ImagesArgs {
    /// Also intermediate images
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those that match, as dangling=true, label=a, reference=ng*,
    /// before=IMAGE, since=IMAGE; may repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Show whole IDs
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    list: ListFlags,
    /// Only images of this name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

pub(crate) const HEADERS: Headers = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

/// `images`.
pub(crate) async fn images(
    context: &Context,
    args: ImagesArgs,
) -> anyhow::Result<u8> {
    let mut filters = args.filter.clone();
    if let Some(name) = &args.name {
        filters.push(Filter("reference".to_owned(), name.clone()));
    }
    let query =
        Query::new("/images/json").flag("all", args.all).filters(&filters);
    let found: Option<Vec<Value>> = context.client.get(&query.build()).await?;
    let mut rows = Vec::new();
    for image in found.iter().flatten() {
        let first = rows.len();
        rows.extend(names(image, args.no_trunc));
        // With -q an image is listed once, not once per name.
        if args.list.quiet {
            rows.truncate(first + 1);
        }
    }
    let columns: &[&str] = match (args.list.quiet, args.digests) {
        (true, _) => &["ID"],
        (false, true) => {
            &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
        }
        (false, false) => &["Repository", "Tag", "ID", "CreatedSince", "Size"],
    };
    list::print(&args.list, HEADERS, columns, &rows)?;
    Ok(0)
}

/// A row per name of an image, and one for an image without any.
pub(crate) fn names(image: &Value, whole: bool) -> Vec<Row> {
    let texts = |key: &str| -> Vec<String> {
        let all = image[key].as_array().into_iter().flatten();
        let all = all.filter_map(Value::as_str);
        all.filter(|it| !it.starts_with("<none>")).map(str::to_owned).collect()
    };
    let (tags, digests) = (texts("RepoTags"), texts("RepoDigests"));
    let digest_of = |repo: &str| {
        let digest = digests
            .iter()
            .filter_map(|it| it.split_once('@'))
            .find(|(name, _)| *name == repo);
        digest.map_or("<none>".to_owned(), |(_, it)| it.to_owned())
    };
    let mut rows = Vec::new();
    for tag in &tags {
        let (repo, tag) = tag.rsplit_once(':').unwrap_or((tag, "<none>"));
        rows.push(one(image, whole, repo, tag, &digest_of(repo)));
    }
    if tags.is_empty() {
        let digest = digests.first().and_then(|it| it.split_once('@'));
        let (repo, digest) = digest.unwrap_or(("<none>", "<none>"));
        rows.push(one(image, whole, repo, "<none>", digest));
    }
    rows
}

fn one(image: &Value, whole: bool, repo: &str, tag: &str, digest: &str) -> Row {
    let full = image["Id"].as_str().unwrap_or_default();
    let id = if whole { full } else { id::short(full) };
    // What was not asked for is −1, or not there at all.
    let known = |key: &str| image[key].as_f64().filter(|it| *it >= 0.0);
    let bytes = known("Size").unwrap_or(0.0);
    let shown = |it: Option<f64>| match it {
        Some(bytes) => human::size(bytes, 4),
        None => "N/A".to_owned(),
    };
    let containers =
        known("Containers").map_or("N/A".to_owned(), |it| it.to_string());
    row([
        ("ID", id.to_owned()),
        ("Repository", repo.to_owned()),
        ("Tag", tag.to_owned()),
        ("Digest", digest.to_owned()),
        ("CreatedSince", ago(&image["Created"])),
        ("CreatedAt", created_at(&image["Created"])),
        ("Size", human::size(bytes, 3)),
        ("VirtualSize", human::size(bytes, 4)),
        ("SharedSize", shown(known("SharedSize"))),
        ("UniqueSize", shown(known("SharedSize").map(|it| bytes - it))),
        ("Containers", containers),
    ])
}

/// Show how an image was made
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryArgs {
    /// Show whole IDs and instructions
    #[arg(long)]
    no_trunc: bool,
    /// Print sizes and times for people
    #[arg(short = 'H', long, default_value_t = true,
        action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true,
        value_name = "BOOL")]
    human: bool,
    /// Say which other images have the same layer
    #[arg(long)]
    shared: bool,
    /// Only if it is for this platform, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    list: ListFlags,
    /// Name or ID
    image: String,
}

const HISTORY: Headers = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
    ("Shared", "SHARED WITH"),
];

/// `history`.
pub(crate) async fn history(
    context: &Context,
    args: HistoryArgs,
) -> anyhow::Result<u8> {
    let path = format!("/images/{}/history", segment(&args.image));
    let path =
        Query::new(path).maybe("platform", args.platform.as_deref()).build();
    let found: Vec<Value> = context.client.get(&path).await?;
    let mut rows: Vec<_> = found.iter().map(|it| layer(it, &args)).collect();
    let created = if args.human { "CreatedSince" } else { "CreatedAt" };
    let mut columns = vec!["ID", created, "CreatedBy", "Size", "Comment"];
    if args.shared {
        columns.push("Shared");
        let shared = shared(context, &args.image, found.len()).await?;
        for (one, names) in rows.iter_mut().zip(shared) {
            one.insert("Shared".to_owned(), names.into());
        }
    }
    list::print(&args.list, HISTORY, &columns, &rows)?;
    Ok(0)
}

/// For every step of the history, newest first, the other images that have
/// its layer.
async fn shared(
    context: &Context,
    image: &str,
    steps: usize,
) -> anyhow::Result<Vec<String>> {
    let own = sharing::stack(context, image).await?;
    let all = sharing::stacks(context).await?;
    let users = sharing::users(&all);
    let others = |digest: &str| {
        let names = users.get(digest).into_iter().flatten();
        let others = names.filter(|name| !own.names.iter().any(|o| o == *name));
        others.copied().collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![String::new(); steps];
    for layer in &own.layers {
        if let Some(step) = layer.step {
            lines[step] = others(&layer.digest);
        }
    }
    Ok(lines)
}

/// `2026-01-31T12:00:00Z`, in the zone of this machine.
fn rfc3339(time: &Value) -> String {
    let time = time.as_i64().and_then(|it| Timestamp::from_second(it).ok());
    let Some(time) = time else { return String::new() };
    let local = time.to_zoned_datetime(TimeZone::system());
    let text = local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    text.replace("+00:00", "Z")
}

fn layer(it: &Value, args: &HistoryArgs) -> Row {
    let text = |key: &str| it[key].as_str().unwrap_or_default();
    let by = text("CreatedBy").replace('\t', " ");
    let (id, by) = match args.no_trunc {
        true => (text("Id").to_owned(), by),
        false => (id::short(text("Id")).to_owned(), ellipsis(&by, 45)),
    };
    let bytes = it["Size"].as_f64().unwrap_or(0.0);
    let size = match args.human {
        true => human::size(bytes, 3),
        false => format!("{bytes:.0}"),
    };
    row([
        ("ID", id),
        ("CreatedSince", ago(&it["Created"])),
        ("CreatedAt", rfc3339(&it["Created"])),
        ("CreatedBy", by),
        ("Size", size),
        ("Comment", text("Comment").to_owned()),
    ])
}
