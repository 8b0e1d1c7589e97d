//! The verbs that change one container after another.

use clap::Args;
use cli_api::Error;
use serde_json::{Value, json};

use super::flags::UpdateFlags;
use super::run::path;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, each, sentence};
use crate::cli::query::{Query, segment};

/// Some containers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Names {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Ask containers to end, then make them
#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    /// The signal that asks
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds until it is killed; -1 waits for ever
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,
    #[command(flatten)]
    names: Names,
}

/// Send a signal, KILL if none is given
#[derive(Debug, Clone, Args)]
pub(crate) struct KillArgs {
    /// Name or number
    #[arg(short, long)]
    signal: Option<String>,
    #[command(flatten)]
    names: Names,
}

/// Remove containers
#[derive(Debug, Clone, Args)]
pub(crate) struct RmArgs {
    /// Kill what runs; do not mind what is not there
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Remove a link, not a container
    #[arg(short, long)]
    link: bool,
    #[command(flatten)]
    names: Names,
}

/// Give a container another name
#[derive(Debug, Clone, Args)]
pub(crate) struct RenameArgs {
    /// Name or ID
    container: String,
    /// The new name
    name: String,
}

/// Change limits and restart policy
#[derive(Debug, Clone, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    flags: UpdateFlags,
    #[command(flatten)]
    names: Names,
}

/// A verb without an answer, for each container; prints the names.
async fn command(
    context: &Context,
    names: &Names,
    request: impl Fn(&str) -> String,
) -> anyhow::Result<u8> {
    each(&names.containers, async |name| {
        context.client.command(&request(name)).await?;
        println!("{name}");
        Ok(())
    })
    .await?;
    Ok(0)
}

/// `stop` and `restart`.
pub(crate) async fn stop(
    context: &Context,
    args: StopArgs,
    verb: &str,
) -> anyhow::Result<u8> {
    command(context, &args.names, |name| {
        Query::new(path(name, verb))
            .maybe("signal", args.signal.as_deref())
            .maybe("t", args.time)
            .build()
    })
    .await
}

/// `kill`.
pub(crate) async fn kill(
    context: &Context,
    args: KillArgs,
) -> anyhow::Result<u8> {
    command(context, &args.names, |name| {
        Query::new(path(name, "kill"))
            .maybe("signal", args.signal.as_deref())
            .build()
    })
    .await
}

/// `pause` and `unpause`.
pub(crate) async fn pause(
    context: &Context,
    names: Names,
    verb: &str,
) -> anyhow::Result<u8> {
    command(context, &names, |name| path(name, verb)).await
}

/// `wait`.
pub(crate) async fn wait(
    context: &Context,
    names: Names,
) -> anyhow::Result<u8> {
    each(&names.containers, async |name| {
        let answer: Value =
            context.client.post(&path(name, "wait"), &json!({})).await?;
        println!("{}", answer["StatusCode"]);
        Ok(())
    })
    .await?;
    Ok(0)
}

/// `rm`.
pub(crate) async fn rm(context: &Context, args: RmArgs) -> anyhow::Result<u8> {
    each(&args.names.containers, async |name| {
        let name = name.trim_matches('/');
        anyhow::ensure!(!name.is_empty(), "container name cannot be empty");
        let query = Query::new(format!("/containers/{}", segment(name)))
            .flag("force", args.force)
            .flag("v", args.volumes)
            .flag("link", args.link)
            .build();
        match context.client.delete(&query).await {
            // It shall be gone, and it is.
            Err(why @ Error::Api { status: 404, .. }) if args.force => {
                eprintln!("Error response from daemon: {why}");
            }
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

/// `rename`.
pub(crate) async fn rename(
    context: &Context,
    args: RenameArgs,
) -> anyhow::Result<u8> {
    anyhow::ensure!(
        !args.container.trim().is_empty() && !args.name.trim().is_empty(),
        "Error: Neither old nor new names may be empty"
    );
    let query = Query::new(path(&args.container, "rename"))
        .with("name", &args.name)
        .build();
    if let Err(why) = context.client.command(&query).await {
        eprintln!("{}", sentence(&why.into()));
        let name = &args.container;
        let text = format!("Error: failed to rename container named {name}");
        return Err(Failure::new(1, text).into());
    }
    Ok(0)
}

/// `update`.
pub(crate) async fn update(
    context: &Context,
    args: UpdateArgs,
) -> anyhow::Result<u8> {
    let body = args.flags.body()?;
    each(&args.names.containers, async |name| {
        let answer: Value =
            context.client.post(&path(name, "update"), &body).await?;
        for warning in answer["Warnings"].as_array().into_iter().flatten() {
            eprintln!("{}", warning.as_str().unwrap_or_default());
        }
        println!("{name}");
        Ok(())
    })
    .await?;
    Ok(0)
}
