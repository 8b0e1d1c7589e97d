//! `containers/<id>/config.json`: everything known of a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layers::DiffId;
use serde::{Deserialize, Serialize};
use volumes::Claim;

use super::config::Config;
use super::host_config::HostConfig;
use super::state::State;
use crate::network::{EndpointSettings, PortMap};

/// Places in networks, by the network's name.
pub type Endpoints = BTreeMap<String, EndpointSettings>;

/// The record. Its first half is, field by field, what the API shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct Record {
    pub id: String,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: State,
    /// The image's ID; its name as typed is `config.image`.
    pub image: String,
    pub resolv_conf_path: PathBuf,
    pub hostname_path: PathBuf,
    pub hosts_path: PathBuf,
    pub log_path: String,
    /// With Docker's slash in front.
    pub name: String,
    pub restart_count: u64,
    pub driver: String,
    pub platform: String,
    pub mount_label: String,
    pub process_label: String,
    pub app_armor_profile: String,
    pub host_config: HostConfig,
    pub config: Config,
    /// What the API does not show.
    #[serde(rename = "Skiff")]
    pub own: Own,
}

/// The engine's own notes on a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Own {
    /// The image's layers, so that the container survives its image's tag.
    pub layers: Vec<DiffId>,
    /// Its rights to volumes and binds.
    pub claims: Vec<Claim>,
    /// The networks it is to be in.
    pub endpoints: Endpoints,
    /// Its place in them; only while it runs.
    pub attached: Endpoints,
    /// Whom its links meant at the last start: ID and alias.
    pub linked: Vec<(String, String)>,
    /// Published ports; only while it runs.
    pub ports: PortMap,
    /// Its network namespace; only while it runs.
    pub netns: Option<PathBuf>,
    /// A person stopped it: `unless-stopped` respects that.
    pub stopped_by_hand: bool,
    /// Its processes may be there: set before they are made, so that a
    /// daemon that is killed in between leaves a trace for the next one.
    pub in_use: bool,
}

impl Record {
    /// The name without the slash.
    pub fn short_name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// The seconds `stop` waits before it kills.
    pub fn stop_timeout(&self) -> i64 {
        self.config.stop_timeout.unwrap_or(10)
    }
}

/// File names inside a container's directory.
pub(super) fn config_file(dir: &Path) -> PathBuf {
    dir.join("config.json")
}
