//! `volume …`.

use clap::{Args, Subcommand};
use cli_api::human;
use serde_json::{Value, json};

use super::container::labels;
use super::container::ps::labels as shown_labels;
use super::context::Context;
use super::failure::each;
use super::inspect;
use super::list::{self, Headers, ListFlags, Row, row};
use super::prune::{self, PruneAllArgs};
use super::query::{Filter, Query, segment};

/// `skiff volume …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Group {
    /// Make a volume
    Create(CreateArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show all that is known about volumes
    Inspect(inspect::What),
    /// Remove volumes, and what is in them
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Remove volumes that nobody uses
    Prune(PruneAllArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArgs {
    /// Only local
    #[arg(short, long, default_value = "local", hide_default_value = true)]
    driver: String,
    /// A label; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Option of the driver, as type=tmpfs, device=tmpfs, o=size=100m; may
    /// repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// The name; a random one if none is given
    name: Option<String>,
    /// The old way to give the name
    #[arg(long = "name", hide = true)]
    old_name: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LsArgs {
    /// Only those that match, as dangling=true, label=a, name=db; may repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    #[command(flatten)]
    list: ListFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RmArgs {
    /// Do not mind what is not there
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub(crate) const HEADERS: Headers = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Scope", "SCOPE"),
    ("Labels", "LABELS"),
    ("Size", "SIZE"),
    ("Links", "LINKS"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

impl Group {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Group::Create(args) => create(context, args).await,
            Group::Ls(args) => ls(context, args).await,
            Group::Inspect(what) => inspect::volume(context, what).await,
            Group::Rm(args) => rm(context, args).await,
            Group::Prune(args) => {
                prune::all(context, args, &prune::VOLUMES).await
            }
        }
    }
}

async fn create(context: &Context, args: CreateArgs) -> anyhow::Result<u8> {
    anyhow::ensure!(
        args.name.is_none() || args.old_name.is_none(),
        "conflicting options: cannot specify a volume-name through both \
         --name and as a positional arg"
    );
    let body = json!({
        "Name": args.name.or(args.old_name).unwrap_or_default(),
        "Driver": args.driver,
        "DriverOpts": labels(&args.opt),
        "Labels": labels(&args.label),
    });
    let made: Value = context.client.post("/volumes/create", &body).await?;
    println!("{}", made["Name"].as_str().unwrap_or_default());
    Ok(0)
}

async fn ls(context: &Context, args: LsArgs) -> anyhow::Result<u8> {
    let query = Query::new("/volumes").filters(&args.filter).build();
    let found: Value = context.client.get(&query).await?;
    let mut rows = Vec::new();
    for it in found["Volumes"].as_array().into_iter().flatten() {
        rows.push(volume(it));
    }
    rows.sort_by_key(|it| it["Name"].to_string());
    let columns: &[&str] = match args.list.quiet {
        true => &["Name"],
        false => &["Driver", "Name"],
    };
    list::print(&args.list, HEADERS, columns, &rows)?;
    Ok(0)
}

/// Its size and users are there if `system df` asked.
pub(crate) fn volume(it: &Value) -> Row {
    let text = |key: &str| it[key].as_str().unwrap_or("N/A").to_owned();
    let usage = |key: &str| it["UsageData"][key].as_f64();
    let size = usage("Size").map(|bytes| human::size(bytes, 4));
    let links = usage("RefCount").map(|count| count.to_string());
    let unknown = || "N/A".to_owned();
    row([
        ("Driver", text("Driver")),
        ("Name", text("Name")),
        ("Mountpoint", text("Mountpoint")),
        ("Scope", text("Scope")),
        ("Labels", shown_labels(&it["Labels"])),
        ("Size", size.unwrap_or_else(unknown)),
        ("Links", links.unwrap_or_else(unknown)),
        // A swarm's volumes have these.
        ("Availability", unknown()),
        ("Group", unknown()),
        ("Status", unknown()),
    ])
}

async fn rm(context: &Context, args: RmArgs) -> anyhow::Result<u8> {
    each(&args.volumes, async |name| {
        let query = Query::new(format!("/volumes/{}", segment(name)))
            .flag("force", args.force)
            .build();
        context.client.delete(&query).await?;
        println!("{name}");
        Ok(())
    })
    .await?;
    Ok(0)
}
