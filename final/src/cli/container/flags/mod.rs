//! The flags of `run` and `create`, and the request they become.
//!
//! Docker's request body has two halves: what belongs to the container
//! wherever it runs (`Config`, at the top), and what belongs to this host
//! (`HostConfig`). Each group of flags fills in its part of both.

mod health;
mod network;
mod process;
mod resources;
mod security;
mod storage;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::failure::cannot_open;
use crate::cli::image::pull::Offline;

pub(crate) use process::{environment, variable};
pub(crate) use resources::{Ulimit, UpdateFlags};

/// All flags that say what a container is like.
#[derive(Debug, Clone, Args)]
pub(crate) struct CreateFlags {
    /// A name, instead of a random one
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Remove the container when it has exited
    #[arg(long)]
    pub(crate) rm: bool,
    /// Write the container's ID to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Get the image first: always, missing or never
    #[arg(long, default_value = "missing", value_name = "WHEN")]
    pull: String,
    /// Make the image here if no registry can be reached
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    pub(crate) offline: Offline,
    /// Say nothing while an image is pulled
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Image for this platform, as linux/arm64
    #[arg(long)]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) process: process::ProcessFlags,
    #[command(flatten)]
    resources: resources::ResourceFlags,
    #[command(flatten)]
    network: network::NetworkFlags,
    #[command(flatten)]
    storage: storage::StorageFlags,
    #[command(flatten)]
    security: security::SecurityFlags,
    #[command(flatten)]
    health: health::HealthFlags,
    /// Print this
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// The image, and a command instead of its own
    // One list, so that nothing behind the image is taken for a flag of ours.
    #[arg(required = true, trailing_var_arg = true)]
    #[arg(value_names = ["IMAGE", "COMMAND"])]
    words: Vec<String>,
}

/// When to ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    /// Even if the image is there
    Always,
    /// If it is not there
    Missing,
    /// Not at all
    Never,
}

/// A request that grows.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The top level.
    pub(crate) config: Map<String, Value>,
    /// `HostConfig`.
    pub(crate) host: Map<String, Value>,
    /// `NetworkingConfig.EndpointsConfig`.
    pub(crate) endpoints: Map<String, Value>,
}

impl Body {
    /// Sets a field of the top level.
    pub(crate) fn config(&mut self, key: &str, value: impl Into<Value>) {
        self.config.insert(key.to_owned(), value.into());
    }

    /// Sets a field of `HostConfig`.
    pub(crate) fn host(&mut self, key: &str, value: impl Into<Value>) {
        self.host.insert(key.to_owned(), value.into());
    }

    fn finish(mut self) -> Value {
        self.config.insert("HostConfig".to_owned(), self.host.into());
        let networks = json!({ "EndpointsConfig": self.endpoints });
        self.config.insert("NetworkingConfig".to_owned(), networks);
        self.config.into()
    }
}

/// Which of the streams the caller will be attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl CreateFlags {
    /// The image's name or ID; clap sees to it that there is one.
    pub(crate) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// `--pull`.
    ///
    /// # Errors
    /// In Docker's words.
    pub(crate) fn pull(&self) -> anyhow::Result<Pull> {
        Ok(match self.pull.as_str() {
            "always" => Pull::Always,
            "missing" | "" => Pull::Missing,
            "never" => Pull::Never,
            other => anyhow::bail!(
                "invalid pull option: '{other}': must be one of \"always\", \
                 \"missing\" or \"never\""
            ),
        })
    }

    /// The body of `POST /containers/create`.
    ///
    /// # Errors
    /// For flags that make no sense, in Docker's words where it has some.
    pub(crate) fn body(&self, attach: Streams) -> anyhow::Result<Value> {
        let mut body = Body::default();
        body.config("Image", self.image());
        let command = match self.words.get(1..) {
            None | Some([]) => Value::Null,
            Some(words) => words.into(),
        };
        body.config("Cmd", command);
        body.host("AutoRemove", self.rm);
        self.process.add(&mut body, attach)?;
        self.resources.add(&mut body)?;
        self.network.add(&mut body)?;
        self.storage.add(&mut body)?;
        self.security.add(&mut body)?;
        self.health.add(&mut body)?;
        Ok(body.finish())
    }
}

/// `a=b` pairs as an object; a name alone has an empty value.
pub(crate) fn labels(pairs: &[String]) -> Map<String, Value> {
    let pairs = pairs.iter().map(|it| it.split_once('=').unwrap_or((it, "")));
    pairs.map(|(key, it)| (key.to_owned(), it.into())).collect()
}

/// Lines of a file of variables or labels: neither blank nor comments.
pub(crate) fn lines_of(path: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| cannot_open(path, &cause))?;
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|it| !it.is_empty() && !it.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
