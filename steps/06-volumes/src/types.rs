//! What goes into and comes out of the store, in Docker's JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `docker volume create` sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateVolume {
    /// Empty for a random one.
    pub name: String,
    /// `local` or empty.
    pub driver: String,
    /// See [`crate::Volume::options`].
    pub driver_opts: BTreeMap<String, String>,
    /// See [`crate::Volume::labels`].
    pub labels: BTreeMap<String, String>,
}

/// What [`crate::VolumeStore::prune`] took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pruned {
    /// Names.
    pub volumes_deleted: Vec<String>,
    /// Bytes that are free again.
    pub space_reclaimed: u64,
}
