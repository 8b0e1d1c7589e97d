//! `logs`.

use clap::Args;
use cli_api::client::Payload;
use cli_api::frames::{Decoder, Stream};
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use super::run::path;
use crate::cli::context::Context;
use crate::cli::query::Query;
use crate::cli::streams::write;
use crate::cli::units::moment;

/// Show what a container has written
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// Wait for more
    #[arg(short, long)]
    follow: bool,
    /// Show the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Show the log driver's extra attributes
    #[arg(long)]
    details: bool,
    /// Only so many lines from the end
    #[arg(
        short = 'n',
        long,
        default_value = "all",
        value_name = "LINES",
        allow_hyphen_values = true
    )]
    tail: String,
    /// Only what is newer than this time, or than so long ago (10m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what is older
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Name or ID
    container: String,
}

/// `logs`.
pub(crate) async fn logs(
    context: &Context,
    args: LogsArgs,
) -> anyhow::Result<u8> {
    let found: Value =
        context.client.get(&path(&args.container, "json")).await?;
    // With a terminal there is one stream, and no frames.
    let tty = found["Config"]["Tty"].as_bool().unwrap_or(false);
    let id = found["Id"].as_str().unwrap_or(&args.container);
    let [since, until] = [("since", &args.since), ("until", &args.until)]
        .map(|(name, time)| time.as_deref().map(|it| bound(name, it)));
    let query = Query::new(path(id, "logs"))
        .flag("follow", args.follow)
        .flag("timestamps", args.timestamps)
        .flag("details", args.details)
        .with("stdout", "1")
        .with("stderr", "1")
        .with("tail", &args.tail)
        .maybe("since", since.transpose()?)
        .maybe("until", until.transpose()?)
        .build();
    let answer =
        context.client.send(Method::GET, &query, Payload::none()).await?;
    let mut body = answer.into_body();
    let mut decoder = Decoder::default();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        if tty {
            write(Stream::Stdout, data)?;
            continue;
        }
        decoder.push(data);
        while let Some((stream, data)) = decoder.next_piece()? {
            write(stream, &data)?;
        }
    }
    Ok(0)
}

/// A time to begin or to end with.
fn bound(name: &str, time: &str) -> anyhow::Result<String> {
    moment(time)
        .map_err(|why| anyhow::anyhow!("invalid value for {name:?}: {why}"))
}
