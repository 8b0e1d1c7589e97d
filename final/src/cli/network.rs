//! `network …`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::container::labels;
use super::container::ps::labels as shown_labels;
use super::context::Context;
use super::failure::each;
use super::inspect;
use super::list::{self, Headers, ListFlags, row};
use super::prune::{self, PruneArgs};
use super::query::{Filter, Query, segment};

/// `skiff network …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Group {
    /// Make a network
    Create(CreateArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show all that is known about networks
    Inspect(inspect::NetworkArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Connect a container to a network
    Connect(ConnectArgs),
    /// Disconnect a container from a network
    Disconnect(DisconnectArgs),
    /// Remove networks that nobody uses
    Prune(PruneArgs),
    /// Print the firewall: who reaches whom, and which port leads where
    Rules,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArgs {
    /// Only bridge
    #[arg(short, long, default_value = "bridge", hide_default_value = true)]
    driver: String,
    /// Its addresses, as 10.1.0.0/16; may repeat
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// The host's address in it; may repeat
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Give addresses from this part only; may repeat
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// Address that is taken already, as router=10.1.0.2; may repeat
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// No way out, and none in
    #[arg(long)]
    internal: bool,
    /// Accepted for Docker's sake
    #[arg(long)]
    attachable: bool,
    /// IPv4
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true",
        require_equals = true, value_name = "BOOL")]
    ipv4: bool,
    /// IPv6, too
    #[arg(long)]
    ipv6: bool,
    /// The network of a swarm's load balancer
    #[arg(long, hide = true)]
    ingress: bool,
    /// local, or swarm
    #[arg(long, hide = true, default_value = "")]
    scope: String,
    /// Settings for other networks, and no network
    #[arg(long)]
    config_only: bool,
    /// The network whose settings these are
    #[arg(long, value_name = "NETWORK")]
    config_from: Option<String>,
    /// A label; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Option of the driver; may repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Who gives addresses: only default
    #[arg(long, default_value = "default", hide_default_value = true)]
    ipam_driver: String,
    /// Option of who gives addresses; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    ipam_opt: Vec<String>,
    /// The name
    name: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LsArgs {
    /// Only those that match, as driver=bridge, name=x, label=a; may repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Show whole IDs
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    list: ListFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RmArgs {
    /// Do not mind what is not there
    #[arg(short, long)]
    force: bool,
    /// Names or IDs
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// Further name in this network; may repeat
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    /// Make another container known under a name; may repeat
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// Option of the driver; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    driver_opt: Vec<String>,
    /// The network with the highest number gives the default route
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    gw_priority: Option<i64>,
    /// Name or ID of the network
    network: String,
    /// Name or ID of the container
    container: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DisconnectArgs {
    /// Even if the container is gone
    #[arg(short, long)]
    force: bool,
    /// Name or ID of the network
    network: String,
    /// Name or ID of the container
    container: String,
}

const HEADERS: Headers = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

impl Group {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Group::Create(args) => create(context, args).await,
            Group::Ls(args) => ls(context, args).await,
            Group::Inspect(args) => inspect::network(context, args).await,
            Group::Rm(args) => rm(context, args).await,
            Group::Connect(args) => connect(context, args).await,
            Group::Disconnect(args) => disconnect(context, args).await,
            Group::Prune(args) => {
                prune::one(context, args, &prune::NETWORKS).await
            }
            Group::Rules => rules(context).await,
        }
    }
}

impl CreateArgs {
    fn body(&self) -> anyhow::Result<Value> {
        anyhow::ensure!(
            !self.subnet.is_empty()
                || (self.gateway.is_empty() && self.ip_range.is_empty()),
            "every ip-range or gateway must have a corresponding subnet"
        );
        self.check_pools()?;
        let mut body = json!({
            "Name": self.name,
            "Driver": self.driver,
            "Internal": self.internal,
            "Attachable": self.attachable,
            "Ingress": self.ingress,
            "ConfigOnly": self.config_only,
            "Scope": self.scope,
            "Options": labels(&self.opt),
            "Labels": labels(&self.label),
            "IPAM": {
                "Driver": self.ipam_driver,
                "Options": labels(&self.ipam_opt),
                "Config": self.pools(),
            },
        });
        if self.ipv6 {
            body["EnableIPv6"] = true.into();
        }
        if !self.ipv4 {
            body["EnableIPv4"] = false.into();
        }
        if let Some(other) = &self.config_from {
            body["ConfigFrom"] = json!({ "Network": other });
        }
        Ok(body)
    }

    /// Which subnet an address belongs to is seen from the address.
    fn check_pools(&self) -> anyhow::Result<()> {
        let subnets: Vec<IpNet> =
            self.subnet.iter().filter_map(|it| it.parse().ok()).collect();
        if subnets.len() < self.subnet.len() {
            // The engine says what is wrong with them.
            return Ok(());
        }
        for (nth, one) in subnets.iter().enumerate() {
            let overlaps = |other: &IpNet| {
                one.contains(&other.network()) || other.contains(&one.network())
            };
            anyhow::ensure!(
                !subnets[nth + 1..].iter().any(overlaps),
                "multiple overlapping subnet configuration is not supported"
            );
        }
        let inside = |address: &str| {
            let address = address.split('/').next().unwrap_or_default();
            let address: Option<IpAddr> = address.parse().ok();
            address
                .is_some_and(|it| subnets.iter().any(|net| net.contains(&it)))
        };
        let taken = labels(&self.aux_address);
        let taken = taken.values().filter_map(Value::as_str);
        let all = (self.ip_range.iter().map(|it| ("range", it.as_str())))
            .chain(self.gateway.iter().map(|it| ("gateway", it.as_str())))
            .chain(taken.map(|it| ("aux-address", it)));
        for (what, address) in all {
            anyhow::ensure!(
                inside(address),
                "no matching subnet for {what} {address}"
            );
        }
        Ok(())
    }

    /// A pool per `--subnet`; the nth gateway belongs to the nth subnet.
    fn pools(&self) -> Vec<Value> {
        let mut pools = Vec::new();
        for (nth, subnet) in self.subnet.iter().enumerate() {
            let mut pool = Map::new();
            pool.insert("Subnet".into(), subnet.clone().into());
            if let Some(gateway) = self.gateway.get(nth) {
                pool.insert("Gateway".into(), gateway.clone().into());
            }
            if let Some(range) = self.ip_range.get(nth) {
                pool.insert("IPRange".into(), range.clone().into());
            }
            if nth == 0 && !self.aux_address.is_empty() {
                let taken = labels(&self.aux_address);
                pool.insert("AuxiliaryAddresses".into(), taken.into());
            }
            pools.push(Value::from(pool));
        }
        pools
    }
}

async fn create(context: &Context, args: CreateArgs) -> anyhow::Result<u8> {
    let body = args.body()?;
    let made: Value = context.client.post("/networks/create", &body).await?;
    match made["Warning"].as_str().unwrap_or_default() {
        "" => {}
        warning => eprintln!("WARNING: {warning}"),
    }
    println!("{}", made["Id"].as_str().unwrap_or_default());
    Ok(0)
}

async fn ls(context: &Context, args: LsArgs) -> anyhow::Result<u8> {
    let query = Query::new("/networks").filters(&args.filter).build();
    let found: Option<Vec<Value>> = context.client.get(&query).await?;
    let mut rows = Vec::new();
    for it in found.iter().flatten() {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let yes = |key: &str| it[key].as_bool().unwrap_or(false).to_string();
        let id = text("Id");
        let short = cli_api::id::short(&id).to_owned();
        rows.push(row([
            ("ID", if args.no_trunc { id } else { short }),
            ("Name", text("Name")),
            ("Driver", text("Driver")),
            ("Scope", text("Scope")),
            ("IPv4", yes("EnableIPv4")),
            ("IPv6", yes("EnableIPv6")),
            ("Internal", yes("Internal")),
            ("Labels", shown_labels(&it["Labels"])),
            ("CreatedAt", text("Created")),
        ]));
    }
    rows.sort_by_key(|it| it["Name"].to_string());
    list::print(
        &args.list,
        HEADERS,
        &["ID", "Name", "Driver", "Scope"],
        &rows,
    )?;
    Ok(0)
}

async fn rules(context: &Context) -> anyhow::Result<u8> {
    let found: Value = context.client.get("/network-rules").await?;
    for warning in found["Warnings"].as_array().into_iter().flatten() {
        eprintln!("WARNING: {}", warning.as_str().unwrap_or_default());
    }
    print!("{}", found["Rules"].as_str().unwrap_or_default());
    Ok(0)
}

async fn rm(context: &Context, args: RmArgs) -> anyhow::Result<u8> {
    each(&args.networks, async |name| {
        let path = format!("/networks/{}", segment(name));
        match context.client.delete(&path).await {
            Err(why) if args.force && why.status() == Some(404) => {}
            other => {
                other?;
                println!("{name}");
            }
        }
        Ok(())
    })
    .await?;
    Ok(0)
}

async fn connect(context: &Context, args: ConnectArgs) -> anyhow::Result<u8> {
    let mut ipam = Map::new();
    if let Some(address) = &args.ip {
        ipam.insert("IPv4Address".into(), address.clone().into());
    }
    if let Some(address) = &args.ip6 {
        ipam.insert("IPv6Address".into(), address.clone().into());
    }
    anyhow::ensure!(
        args.driver_opt.iter().all(|it| it.contains('=')),
        "invalid key/value pair format in driver options"
    );
    let body = json!({
        "Container": args.container,
        "EndpointConfig": {
            "IPAMConfig": ipam,
            "Links": args.link,
            "Aliases": args.alias,
            "DriverOpts": labels(&args.driver_opt),
            "GwPriority": args.gw_priority.unwrap_or(0),
        },
    });
    change(context, &args.network, "connect", &body).await
}

async fn disconnect(
    context: &Context,
    args: DisconnectArgs,
) -> anyhow::Result<u8> {
    let body = json!({ "Container": args.container, "Force": args.force });
    change(context, &args.network, "disconnect", &body).await
}

async fn change(
    context: &Context,
    network: &str,
    verb: &str,
    body: &Value,
) -> anyhow::Result<u8> {
    let path = format!("/networks/{}/{verb}", segment(network));
    let body = cli_api::client::Payload::json(body)?;
    context.client.send(http::Method::POST, &path, body).await?;
    Ok(0)
}
