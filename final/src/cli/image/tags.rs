//! `tag` and `rmi`.

use clap::Args;
use cli_api::Error;
use cli_api::client::Payload;
use http::Method;
use http_body_util::BodyExt;
use layers::Reference;
use serde_json::Value;

use super::repo_and_tag;
use crate::cli::context::Context;
use crate::cli::failure::each;
use crate::cli::query::{Query, segment};

/// Give an image a further name
#[derive(Debug, Clone, Args)]
pub(crate) struct TagArgs {
    /// Name or ID
    image: String,
    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

/// `tag`.
pub(crate) async fn tag(
    context: &Context,
    args: TagArgs,
) -> anyhow::Result<u8> {
    // It may be named by its ID, which is no reference.
    if let Err(why) = args.image.parse::<Reference>()
        && why.to_string().starts_with("invalid reference format")
    {
        return Err(no_name(&args.image, &why));
    }
    let name: Reference =
        args.name.parse().map_err(|why| no_name(&args.name, &why))?;
    anyhow::ensure!(
        name.digest().is_none(),
        "refusing to create a tag with a digest reference"
    );
    let (repo, tag) = repo_and_tag(&name.to_string())?;
    let query = Query::new(format!("/images/{}/tag", segment(&args.image)))
        .with("repo", repo)
        .with("tag", tag)
        .build();
    context.client.command(&query).await?;
    Ok(0)
}

fn no_name(name: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!(
        "Error parsing reference: {name:?} is not a valid repository/tag: {why}"
    )
}

/// Remove images, or names of images
#[derive(Debug, Clone, Args)]
pub(crate) struct RmiArgs {
    /// Even if a stopped container uses it or it has several names
    #[arg(short, long)]
    force: bool,
    /// Keep its parents that have no name
    #[arg(long)]
    no_prune: bool,
    /// Only if it is for this platform, as linux/arm64; may repeat
    #[arg(long)]
    platform: Vec<String>,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// `rmi`.
pub(crate) async fn rmi(
    context: &Context,
    args: RmiArgs,
) -> anyhow::Result<u8> {
    each(&args.images, async |name| {
        let mut query = Query::new(format!("/images/{}", segment(name)))
            .flag("force", args.force)
            .flag("noprune", args.no_prune);
        for platform in &args.platform {
            query = query.with("platforms", platform);
        }
        let query = query.build();
        let none = Payload::none();
        let answer =
            match context.client.send(Method::DELETE, &query, none).await {
                Err(why @ Error::Api { status: 404, .. }) if args.force => {
                    eprintln!("Error response from daemon: {why}");
                    return Ok(());
                }
                other => other?,
            };
        let body = answer.into_body().collect().await?.to_bytes();
        let gone: Vec<Value> = serde_json::from_slice(&body)?;
        for it in gone {
            if let Some(name) = it["Untagged"].as_str() {
                println!("Untagged: {name}");
            }
            if let Some(id) = it["Deleted"].as_str() {
                println!("Deleted: {id}");
            }
        }
        Ok(())
    })
    .await?;
    Ok(0)
}
