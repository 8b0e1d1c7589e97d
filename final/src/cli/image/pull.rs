//! `pull` and `push`.

use clap::Args;
use cli_api::client::Payload;
use http::Method;
use layers::Reference;

use super::repo_and_tag;
use crate::cli::auth;
use crate::cli::context::Context;
use crate::cli::progress::{self, Show};
use crate::cli::query::{Query, segment};

/// Get an image from a registry
#[derive(Debug, Clone, Args)]
pub(crate) struct PullArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Say only the name
    #[arg(short, long)]
    quiet: bool,
    /// For this platform, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
    /// Make it here if no registry can be reached
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    offline: Offline,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

/// Whether the engine may make an image from this machine's packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Offline {
    /// If no registry can be reached
    Auto,
    /// The image comes from a registry or not at all
    Never,
}

/// What is to be pulled, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) platform: Option<&'a str>,
    pub(crate) offline: Offline,
    pub(crate) show: Show,
}

/// `pull`.
pub(crate) async fn pull(
    context: &Context,
    args: PullArgs,
) -> anyhow::Result<u8> {
    let show = if args.quiet { Show::Nothing } else { Show::Output };
    let platform = args.platform.as_deref();
    let wanted = Wanted { platform, offline: args.offline, show };
    let reference: Reference = args.image.parse()?;
    let bare = reference.tag().is_none() && reference.digest().is_none();
    if args.all_tags {
        anyhow::ensure!(bare, "tag can't be used with --all-tags/-a");
        request(context, &reference, None, wanted).await?;
    } else {
        if bare && !args.quiet {
            println!("Using default tag: latest");
        }
        fetch(context, &args.image, wanted).await?;
    }
    println!("{}", reference.or_latest());
    Ok(0)
}

/// Pulls an image, as `run` and `create` do for one that is missing.
pub(crate) async fn fetch(
    context: &Context,
    image: &str,
    wanted: Wanted<'_>,
) -> anyhow::Result<()> {
    let reference: Reference = image.parse()?;
    let (_, tag) = repo_and_tag(image)?;
    request(context, &reference, Some(&tag), wanted).await
}

async fn request(
    context: &Context,
    image: &Reference,
    tag: Option<&str>,
    wanted: Wanted<'_>,
) -> anyhow::Result<()> {
    let query = Query::new("/images/create")
        .with("fromImage", image.name())
        .maybe("tag", tag)
        .maybe("platform", wanted.platform);
    let query = match wanted.offline {
        Offline::Auto => query.build(),
        Offline::Never => query.with("offline", "never").build(),
    };
    let header = auth::header_for(&context.global, image)?;
    let answer = context
        .client
        .send_with(Method::POST, &query, Payload::none(), &[header])
        .await?;
    progress::follow(answer, wanted.show, |_| ()).await
}

/// Send an image to a registry
#[derive(Debug, Clone, Args)]
pub(crate) struct PushArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Say only the name
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// The image; its name says where it goes
    #[arg(value_name = "NAME[:TAG]")]
    image: String,
}

/// `push`.
pub(crate) async fn push(
    context: &Context,
    args: PushArgs,
) -> anyhow::Result<u8> {
    let show = if args.quiet { Show::Nothing } else { Show::Output };
    let reference: Reference = args.image.parse()?;
    anyhow::ensure!(
        reference.digest().is_none(),
        "cannot push a digest reference"
    );
    anyhow::ensure!(
        !args.all_tags || reference.tag().is_none(),
        "tag can't be used with --all-tags/-a"
    );
    let (repo, tag) = repo_and_tag(&args.image)?;
    if reference.tag().is_none() && !args.all_tags && !args.quiet {
        println!("Using default tag: latest");
    }
    let tag = (!args.all_tags).then_some(tag);
    send(context, &reference, &repo, tag.as_deref(), show).await?;
    if args.quiet {
        println!("{}", reference.or_latest());
    }
    Ok(0)
}

/// Pushes what a build has given this name.
pub(super) async fn push_built(
    context: &Context,
    image: &str,
    show: Show,
) -> anyhow::Result<()> {
    let (repo, tag) = repo_and_tag(image)?;
    send(context, &image.parse()?, &repo, Some(&tag), show).await
}

async fn send(
    context: &Context,
    reference: &Reference,
    repo: &str,
    tag: Option<&str>,
    show: Show,
) -> anyhow::Result<()> {
    let query = Query::new(format!("/images/{}/push", segment(repo)))
        .maybe("tag", tag)
        .build();
    let header = auth::header_for(&context.global, reference)?;
    let answer = context
        .client
        .send_with(Method::POST, &query, Payload::none(), &[header])
        .await?;
    progress::follow(answer, show, |_| ()).await
}
