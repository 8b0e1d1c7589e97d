//! `ps`.

use clap::Args;
use cli_api::{human, id};
use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::list::{self, Headers, ListFlags, Row, ago, ellipsis, row};
use crate::cli::query::{Filter, Query};

/// List containers
#[derive(Debug, Clone, Args)]
pub(crate) struct PsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only those that match, as status=exited, name=web, label=a=b,
    /// ancestor=nginx, network=NAME, health=healthy; may repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Only the newest
    #[arg(short, long)]
    latest: bool,
    /// Only so many of the newest
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true
    )]
    last: Option<i64>,
    /// Show the size of what each has written
    #[arg(short, long)]
    size: bool,
    /// Show whole IDs and commands
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    list: ListFlags,
}

pub(crate) const HEADERS: Headers = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

/// `ps`.
pub(crate) async fn ps(context: &Context, args: PsArgs) -> anyhow::Result<u8> {
    let limit = if args.latest { Some(1) } else { args.last };
    let limit = limit.filter(|it| *it > 0);
    let wants_size = args.size
        || args.list.format.as_ref().is_some_and(|it| it.contains(".Size"));
    let query = Query::new("/containers/json")
        .flag("all", args.all || limit.is_some())
        .flag("size", wants_size)
        .maybe("limit", limit)
        .filters(&args.filter)
        .build();
    let found: Option<Vec<Value>> = context.client.get(&query).await?;
    let rows: Vec<_> =
        found.iter().flatten().map(|it| container(it, args.no_trunc)).collect();
    let mut columns = vec![
        "ID",
        "Image",
        "Command",
        "RunningFor",
        "Status",
        "Ports",
        "Names",
    ];
    if args.size {
        columns.push("Size");
    }
    let mut flags = args.list;
    if flags.quiet && flags.format.take().is_some() {
        eprintln!(
            "WARNING: Ignoring custom format, because both --format and \
             --quiet are set."
        );
    }
    list::print(&flags, HEADERS, &columns, &rows)?;
    Ok(0)
}

pub(crate) fn container(it: &Value, whole: bool) -> Row {
    let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let full = text("Id");
    let names = texts(&it["Names"]).map(|it| it.trim_start_matches('/'));
    // A link is a second name with a slash inside.
    let names: Vec<_> = names.filter(|it| !it.contains('/')).collect();
    let command = text("Command");
    let command = if whole { command } else { ellipsis(&command, 20) };
    let mounts = it["Mounts"].as_array().into_iter().flatten();
    let sources: Vec<_> = mounts
        .clone()
        .map(|it| {
            let name = it["Name"].as_str().filter(|it| !it.is_empty());
            let source = name.or(it["Source"].as_str()).unwrap_or_default();
            if whole { source.to_owned() } else { ellipsis(source, 15) }
        })
        .collect();
    let volumes = mounts.filter(|it| it["Type"] == "volume").count();
    let networks = it["NetworkSettings"]["Networks"].as_object();
    let networks: Vec<_> =
        networks.into_iter().flat_map(|it| it.keys().cloned()).collect();
    let mut row = row([
        ("ID", if whole { full } else { id::short(&full).to_owned() }),
        ("Image", image(it, whole)),
        ("Command", format!("\"{command}\"")),
        ("CreatedAt", created_at(&it["Created"])),
        ("RunningFor", ago(&it["Created"])),
        ("Status", text("Status")),
        ("State", text("State")),
        ("Ports", super::ports::show(&it["Ports"])),
        ("Names", names.join(",")),
        ("Size", size(it)),
        ("Labels", labels(&it["Labels"])),
        ("Mounts", sources.join(",")),
        ("LocalVolumes", volumes.to_string()),
        ("Networks", networks.join(",")),
    ]);
    // Of images for several platforms, which one it is.
    let platform = it["ImageManifestDescriptor"]["platform"].clone();
    row.insert("Platform".to_owned(), platform);
    row.sort_keys();
    row
}

fn image(it: &Value, whole: bool) -> String {
    match it["Image"].as_str().unwrap_or_default() {
        "" => "<no image>".to_owned(),
        name if whole => name.to_owned(),
        name => match name.starts_with("sha256:") {
            true => id::short(name).to_owned(),
            false => name.to_owned(),
        },
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// `a=b,c=d`, in order, so that two lists compare.
pub(crate) fn labels(map: &Value) -> String {
    let mut all: Vec<_> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, it)| format!("{key}={}", it.as_str().unwrap_or_default()))
        .collect();
    all.sort();
    all.join(",")
}

/// As Go prints a time: in the zone of this machine.
pub(crate) fn created_at(time: &Value) -> String {
    let Some(seconds) = time.as_i64() else { return String::new() };
    let Ok(time) = jiff::Timestamp::from_second(seconds) else {
        return String::new();
    };
    let local = time.to_zoned_datetime(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

fn size(it: &Value) -> String {
    let own = it["SizeRw"].as_f64().unwrap_or(0.0);
    let all = it["SizeRootFs"].as_f64().unwrap_or(0.0);
    let own = human::size(own, 3);
    match all > 0.0 {
        true => format!("{own} (virtual {})", human::size(all, 3)),
        false => own,
    }
}
