//! `search`.

use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::list::{self, Headers, ListFlags, ellipsis, row};
use super::query::{Filter, Query};

/// Look for images on Docker Hub
#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    /// Only those that match, as is-official=true or stars=10; may repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// So many at most
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Show whole descriptions
    #[arg(long)]
    no_trunc: bool,
    /// Print rows by this template, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// What to look for
    term: String,
}

const HEADERS: Headers = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];

/// `search`.
pub(crate) async fn search(
    context: &Context,
    args: SearchArgs,
) -> anyhow::Result<u8> {
    let query = Query::new("/images/search")
        .with("term", &args.term)
        .maybe("limit", args.limit)
        .filters(&args.filter)
        .build();
    let found: Option<Vec<Value>> = context.client.get(&query).await?;
    let mut rows = Vec::new();
    for it in found.iter().flatten() {
        let about = it["description"].as_str().unwrap_or_default();
        let about = about.replace(['\r', '\n'], " ");
        let official = it["is_official"].as_bool().unwrap_or(false);
        rows.push(row([
            ("Name", it["name"].as_str().unwrap_or_default().to_owned()),
            (
                "Description",
                if args.no_trunc { about } else { ellipsis(&about, 45) },
            ),
            ("StarCount", it["star_count"].as_u64().unwrap_or(0).to_string()),
            ("IsOfficial", if official { "[OK]" } else { "" }.to_owned()),
        ]));
    }
    let flags = ListFlags { quiet: false, format: args.format };
    let columns = ["Name", "Description", "StarCount", "IsOfficial"];
    list::print(&flags, HEADERS, &columns, &rows)?;
    Ok(0)
}
