//! `commit` and `export`: a container's files as an image, or as a tar.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use cli_api::client::Payload;
use http::Method;
use serde_json::{Value, json};

use super::run::path;
use crate::cli::context::Context;
use crate::cli::query::Query;
use crate::cli::{download, image};

/// Make an image of what a container has changed
#[derive(Debug, Clone, Args)]
pub(crate) struct CommitArgs {
    /// Who made it
    #[arg(short, long, default_value = "", hide_default_value = true)]
    author: String,
    /// A Dockerfile instruction to apply, as 'CMD ["nginx"]'; may repeat
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What it is for
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
    /// Freeze the container meanwhile
    #[arg(short, long, default_value_t = true,
        action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true,
        value_name = "BOOL")]
    pause: bool,
    /// Name or ID
    container: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    image: Option<String>,
}

/// `commit`.
pub(crate) async fn commit(
    context: &Context,
    args: CommitArgs,
) -> anyhow::Result<u8> {
    let mut query = Query::new("/commit")
        .with_epoch()
        .with("container", &args.container)
        .with("author", &args.author)
        .with("comment", &args.message);
    for change in &args.change {
        query = query.with("changes", change);
    }
    if !args.pause {
        query = query.with("pause", "0");
    }
    if let Some(name) = &args.image {
        let (repo, tag) = image::repo_and_tag(name)?;
        query = query.with("repo", repo).with("tag", tag);
    }
    let made: Value = context.client.post(&query.build(), &json!({})).await?;
    println!("{}", made["Id"].as_str().unwrap_or_default());
    Ok(0)
}

/// Write all files of a container as a tar archive
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// To this file, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or ID
    container: String,
}

/// `export`.
pub(crate) async fn export(
    context: &Context,
    args: ExportArgs,
) -> anyhow::Result<u8> {
    download::refuse_terminal(args.output.as_deref())?;
    if let Some(path) = &args.output {
        download::check_target(path).context("failed to export container")?;
    }
    let at = path(&args.container, "export");
    let answer = context.client.send(Method::GET, &at, Payload::none()).await?;
    download::save(answer, args.output.as_deref()).await?;
    Ok(0)
}
