//! The daemon's own messages, on standard error.

use anyhow::{Context, bail};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::config::Settings;

/// Changes what is said while the daemon runs.
#[derive(Debug)]
pub struct Handle(reload::Handle<LevelFilter, Registry>);

/// Begins to say what `--log-level` and `--debug` ask for.
///
/// # Errors
/// A level that is none, in dockerd's words.
pub fn start(settings: &Settings) -> anyhow::Result<Handle> {
    let (level, handle) = reload::Layer::new(level(settings)?);
    let messages = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter(level)
        // Every frame of HTTP/2 is no news of the engine's.
        .with_filter(filter_fn(|it| !it.target().starts_with("h2::")));
    tracing_subscriber::registry().with(messages).init();
    Ok(Handle(handle))
}

impl Handle {
    /// Goes on with the level of other settings.
    ///
    /// # Errors
    /// A level that is none.
    pub fn follow(&self, settings: &Settings) -> anyhow::Result<()> {
        let level = level(settings)?;
        self.0.reload(level).context("cannot change the level of messages")
    }
}

/// How much is to be said.
///
/// # Errors
/// A level that is none.
pub fn level(settings: &Settings) -> anyhow::Result<LevelFilter> {
    Ok(match settings.log_level.as_deref() {
        _ if settings.debug => LevelFilter::DEBUG,
        None | Some("info") => LevelFilter::INFO,
        Some("debug") => LevelFilter::DEBUG,
        Some("warn") => LevelFilter::WARN,
        Some("error" | "fatal") => LevelFilter::ERROR,
        Some(other) => bail!("unable to parse logging level: {other}"),
    })
}
