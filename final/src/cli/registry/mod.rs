//! `registry serve`: this machine's images for others in the room.
//!
//! A class of thirty that pulls the same image thirty times meets the pull
//! limit of its registry, or the end of the room's bandwidth. One machine
//! that has the images is enough: this is a registry with the reading half
//! of the OCI distribution specification, and nothing that could be written
//! to.

mod server;
mod shelf;

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use cli_api::client::Payload;
use serde_json::Value;

use super::context::Context;
use super::query::Query;
use shelf::Shelf;

/// `skiff registry …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Group {
    Serve(ServeArgs),
}

/// Give images to other machines, read-only, until Ctrl-C
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// The one address to be reached at
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Only these images; all that have a name otherwise
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

impl Group {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Group::Serve(args) => serve(context, args).await,
        }
    }
}

async fn serve(context: &Context, args: ServeArgs) -> anyhow::Result<u8> {
    // First, so that nobody waits for the images to learn that it is taken.
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!(
            "listen at {}: it must be an address of this machine (`ip addr` \
             lists them) and a port that is free",
            args.listen
        )
    })?;
    let names = match args.images.is_empty() {
        true => all_names(context).await?,
        false => args.images,
    };
    anyhow::ensure!(!names.is_empty(), "there are no images to serve");
    let shelf = take(context, &names).await?;
    announce(listener.local_addr()?, &shelf);
    let mut end = signal(SignalKind::terminate())?;
    axum::serve(listener, server::router(shelf))
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = end.recv() => {}
            }
        })
        .await?;
    Ok(0)
}

/// The names of all images that have one.
async fn all_names(context: &Context) -> anyhow::Result<Vec<String>> {
    let images: Value = context.client.get("/images/json").await?;
    let images = images.as_array().into_iter().flatten();
    let tags = images.filter_map(|it| it["RepoTags"].as_array()).flatten();
    let names = tags.filter_map(Value::as_str);
    Ok(names.filter(|it| !it.contains("<none>")).map(str::to_owned).collect())
}

/// Has the engine write the images out; from there on they are what they
/// were at this moment, whatever is pulled or removed.
async fn take(context: &Context, names: &[String]) -> anyhow::Result<Shelf> {
    let mut query = Query::new("/images/get");
    for name in names {
        query = query.with("names", name);
    }
    let answer = context
        .client
        .send(Method::GET, &query.build(), Payload::none())
        .await?;
    // It has no name, and goes with this process however that ends.
    let mut file = tempfile::tempfile().with_context(|| {
        format!("make a file in {}", std::env::temp_dir().display())
    })?;
    super::download::copy(&mut answer.into_body(), &mut file)
        .await
        .context("take the images from the engine (TMPDIR says where to)")?;
    tokio::task::spawn_blocking(move || Shelf::of(file)).await?
}

fn announce(at: SocketAddr, shelf: &Shelf) {
    println!("Serving at http://{at}, read-only, until Ctrl-C:");
    for name in shelf.names() {
        println!("  {at}/{name}");
    }
    println!("Others take it for every pull with one of");
    println!("  skiff daemon --registry-mirror http://{at}");
    println!("  \"registry-mirrors\": [\"http://{at}\"] in daemon.json");
    if at.ip().is_unspecified() {
        println!("Everybody who can reach this machine can read them.");
    }
}
