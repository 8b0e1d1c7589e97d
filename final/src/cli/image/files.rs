//! `save`, `load` and `import`: images as files.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use cli_api::client::Payload;
use http::Method;

use super::{layout, repo_and_tag};
use crate::cli::context::Context;
use crate::cli::download;
use crate::cli::progress::{self, Show};
use crate::cli::query::Query;

/// Write images as a tar archive
#[derive(Debug, Clone, Args)]
pub(crate) struct SaveArgs {
    /// To this file, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A tar file (docker-archive), or a directory (oci-dir)
    #[arg(long, value_enum, default_value_t, hide_default_value = true)]
    format: Format,
    /// Only if they are for this platform, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// What `save` makes. The archive is an OCI image layout as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    DockerArchive,
    OciDir,
}

/// `save`.
pub(crate) async fn save(
    context: &Context,
    args: SaveArgs,
) -> anyhow::Result<u8> {
    // An empty path is none, as with docker.
    let output = args.output.as_deref().filter(|it| *it != Path::new(""));
    let failed = "failed to save image";
    match (args.format, output) {
        (Format::OciDir, None) => {
            anyhow::bail!("--format oci-dir needs a directory: -o DIR")
        }
        (Format::OciDir, Some(dir)) => {
            layout::check_target(dir).context(failed)?;
        }
        (Format::DockerArchive, Some(file)) => {
            download::check_target(file).context(failed)?;
        }
        (Format::DockerArchive, None) => download::refuse_terminal(None)?,
    }
    let mut query = Query::new("/images/get");
    for image in &args.images {
        query = query.with("names", image);
    }
    query = query.maybe("platform", args.platform.as_deref());
    let answer = context
        .client
        .send(Method::GET, &query.build(), Payload::none())
        .await?;
    match (args.format, output) {
        (Format::OciDir, Some(dir)) => layout::save(answer, dir).await?,
        (_, output) => download::save(answer, output).await?,
    }
    Ok(0)
}

/// Read images from a tar archive
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// From this file or OCI layout directory, not from standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Only images for this platform, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
}

/// `load`.
pub(crate) async fn load(
    context: &Context,
    args: LoadArgs,
) -> anyhow::Result<u8> {
    anyhow::ensure!(
        args.input.is_some() || !std::io::stdin().is_terminal(),
        "requested load from stdin, but stdin is empty"
    );
    let dir = args.input.as_ref().filter(|input| input.is_dir());
    let body = match dir {
        Some(dir) => layout::upload(dir)?,
        None => {
            download::upload(args.input.as_ref(), "application/x-tar").await?
        }
    };
    let query = Query::new("/images/load")
        .flag("quiet", args.quiet)
        .maybe("platform", args.platform.as_deref())
        .build();
    let answer = context.client.send(Method::POST, &query, body).await?;
    progress::follow(answer, Show::Output, |_| ()).await?;
    Ok(0)
}

/// Make an image of the files in a tar archive
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// A Dockerfile instruction to apply; may repeat
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What it is for
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
    /// The platform it is for, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
    /// A file, a URL, or - for standard input
    source: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    image: Option<String>,
}

/// `import`.
pub(crate) async fn import(
    context: &Context,
    args: ImportArgs,
) -> anyhow::Result<u8> {
    let is_url = args.source.contains("://");
    let (from, body) = match args.source.as_str() {
        "-" => ("-", download::upload(None, "text/plain").await?),
        url if is_url => (url, Payload::none()),
        path => {
            let path = PathBuf::from(path);
            ("-", download::upload(Some(&path), "text/plain").await?)
        }
    };
    let mut query = Query::new("/images/create")
        .with("fromSrc", from)
        .with("message", &args.message)
        .with_epoch()
        .maybe("platform", args.platform.as_deref());
    for change in &args.change {
        query = query.with("changes", change);
    }
    if let Some(name) = &args.image {
        let (repo, tag) = repo_and_tag(name)?;
        query = query.with("repo", repo).with("tag", tag);
    }
    let answer =
        context.client.send(Method::POST, &query.build(), body).await?;
    progress::follow(answer, Show::Output, |_| ()).await?;
    Ok(0)
}
