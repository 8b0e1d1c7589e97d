//! `prune`: everything of a kind that nobody uses.

use std::io::{BufRead, Write};

use clap::Args;
use cli_api::human;
use serde_json::{Value, json};

use super::context::Context;
use super::query::{Filter, Query};
use super::units::bytes;

/// Flags of every `prune`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only what matches, as until=24h or label=a; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
}

/// `prune` of things of which some are in use in a weaker sense.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneAllArgs {
    /// Images: all without a container. Volumes: also those with a name
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    args: PruneArgs,
}

/// `builder prune`, which can leave a part.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneCacheArgs {
    #[command(flatten)]
    all: PruneAllArgs,
    /// Leave this much of the cache, that of the latest use
    #[arg(long, visible_alias = "keep-storage", value_name = "BYTES",
        value_parser = bytes)]
    reserved_space: Option<i64>,
    /// Leave at most this much of the cache
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_used_space: Option<i64>,
    /// Stop when this much of the disk is free
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    min_free_space: Option<i64>,
}

/// What can be pruned.
#[derive(Debug)]
pub(crate) struct Kind {
    /// `/containers/prune`.
    path: &'static str,
    warning: &'static str,
    warning_all: &'static str,
    title: &'static str,
    /// The list of names in the answer.
    field: &'static str,
    frees_space: bool,
}

pub(crate) const CONTAINERS: Kind = Kind {
    path: "/containers/prune",
    warning: "This will remove all stopped containers.",
    warning_all: "",
    title: "Deleted Containers:",
    field: "ContainersDeleted",
    frees_space: true,
};

pub(crate) const IMAGES: Kind = Kind {
    path: "/images/prune",
    warning: "This will remove all dangling images.",
    warning_all: "This will remove all images without at least one container \
         associated to them.",
    title: "Deleted Images:",
    field: "ImagesDeleted",
    frees_space: true,
};

pub(crate) const VOLUMES: Kind = Kind {
    path: "/volumes/prune",
    warning: "This will remove anonymous local volumes not used by at \
         least one container.",
    warning_all: "This will remove all local volumes not used by at least one \
         container.",
    title: "Deleted Volumes:",
    field: "VolumesDeleted",
    frees_space: true,
};

pub(crate) const NETWORKS: Kind = Kind {
    path: "/networks/prune",
    warning: "This will remove all custom networks not used by at least one \
         container.",
    warning_all: "",
    title: "Deleted Networks:",
    field: "NetworksDeleted",
    frees_space: false,
};

pub(crate) const CACHE: Kind = Kind {
    path: "/build/prune",
    warning: "This will remove all dangling build cache.",
    warning_all: "This will remove all build cache.",
    title: "Deleted build cache objects:",
    field: "CachesDeleted",
    frees_space: true,
};

impl Kind {
    /// docker asks about the build cache in the same line.
    fn gap(&self) -> &'static str {
        if self.path == CACHE.path { " " } else { "\n" }
    }
}

/// Asks, prunes one kind, and says what it freed.
pub(crate) async fn one(
    context: &Context,
    args: PruneArgs,
    kind: &Kind,
) -> anyhow::Result<u8> {
    run(context, args, kind, false, Query::new(kind.path)).await
}

/// As [`one`], for what has `--all`.
pub(crate) async fn all(
    context: &Context,
    args: PruneAllArgs,
    kind: &Kind,
) -> anyhow::Result<u8> {
    let query = Query::new(kind.path);
    run(context, args.args, kind, args.all, query).await
}

/// `builder prune`.
pub(crate) async fn cache(
    context: &Context,
    args: PruneCacheArgs,
) -> anyhow::Result<u8> {
    let query = Query::new(CACHE.path)
        .maybe("reserved-space", args.reserved_space)
        .maybe("max-used-space", args.max_used_space)
        .maybe("min-free-space", args.min_free_space);
    let PruneAllArgs { all, args } = args.all;
    run(context, args, &CACHE, all, query).await
}

async fn run(
    context: &Context,
    args: PruneArgs,
    kind: &Kind,
    all: bool,
    query: Query,
) -> anyhow::Result<u8> {
    let warning = if all { kind.warning_all } else { kind.warning };
    let gap = kind.gap();
    if !args.force && !confirm(&format!("{warning}{gap}"))? {
        return Ok(0);
    }
    let freed = request(context, kind, query, &args.filter, all).await?;
    if kind.frees_space {
        println!("Total reclaimed space: {}", human::size(freed, 4));
    }
    Ok(0)
}

/// Docker's question; only a clear yes is one.
fn confirm(warning: &str) -> anyhow::Result<bool> {
    print!("WARNING! {warning}Are you sure you want to continue? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Prunes, prints what is gone, gives the bytes that this freed.
async fn request(
    context: &Context,
    kind: &Kind,
    mut query: Query,
    filters: &[Filter],
    all: bool,
) -> anyhow::Result<f64> {
    let mut filters = filters.to_vec();
    match kind.path {
        "/images/prune" => {
            let dangling = (!all).to_string();
            filters.push(Filter("dangling".to_owned(), dangling));
        }
        "/volumes/prune" if all => {
            filters.push(Filter("all".to_owned(), "true".to_owned()));
        }
        _ => query = query.flag("all", all),
    }
    let query = query.filters(&filters).build();
    let answer: Value = context.client.post(&query, &json!({})).await?;
    let gone = answer[kind.field].as_array();
    let gone: Vec<_> = gone.into_iter().flatten().map(name).collect();
    if !gone.is_empty() {
        println!("{}", kind.title);
        gone.iter().for_each(|it| println!("{it}"));
        println!();
    }
    Ok(answer["SpaceReclaimed"].as_f64().unwrap_or(0.0))
}

/// A name, or what happened to an image.
fn name(it: &Value) -> String {
    let text = |key: &str| it[key].as_str();
    if let Some(name) = text("Untagged") {
        return format!("untagged: {name}");
    }
    if let Some(name) = text("Deleted") {
        return format!("deleted: {name}");
    }
    it.as_str().unwrap_or_default().to_owned()
}

/// Flags of `system prune`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SystemPruneArgs {
    /// All images without a container, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes, too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    args: PruneArgs,
}

impl SystemPruneArgs {
    /// What will go, in the docker command's words, which are not those of
    /// the single `prune`s.
    fn warning(&self) -> String {
        let mut text = "This will remove:
  - all stopped containers
  - all networks not used by at least one container
"
        .to_owned();
        if self.volumes {
            text += "  - all anonymous volumes not used by at least one container\n";
        }
        text += match self.all {
            true => {
                "  - all images without at least one container associated to \
                 them\n  - all build cache\n"
            }
            false => "  - all dangling images\n  - unused build cache\n",
        };
        let filters = self.args.filter.iter();
        let filters: String = filters
            .filter(|Filter(key, _)| !key.is_empty())
            .map(|Filter(key, value)| format!("  - {key}={value}\n"))
            .collect();
        if !filters.is_empty() {
            text += &format!(
                "\n  Items to be pruned will be filtered with:\n{filters}"
            );
        }
        text
    }
}

/// `system prune`.
pub(crate) async fn system(
    context: &Context,
    args: SystemPruneArgs,
) -> anyhow::Result<u8> {
    let filters = &args.args.filter;
    anyhow::ensure!(
        !args.volumes || filters.iter().all(|it| it.0 != "until"),
        "ERROR: The \"until\" filter is not supported with \"--volumes\""
    );
    let mut kinds = vec![(&CONTAINERS, false), (&NETWORKS, false)];
    if args.volumes {
        kinds.push((&VOLUMES, false));
    }
    kinds.extend([(&IMAGES, args.all), (&CACHE, args.all)]);
    if !args.args.force && !confirm(&(args.warning() + "\n"))? {
        return Ok(0);
    }
    let mut freed = 0.0;
    for (kind, all) in kinds {
        let query = Query::new(kind.path);
        freed += request(context, kind, query, filters, all).await?;
    }
    println!("Total reclaimed space: {}", human::size(freed, 4));
    Ok(0)
}
