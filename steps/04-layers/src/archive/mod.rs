//! Images as files: `save`, `load`, `import`.
//!
//! There are two layouts, and since Docker 25 `docker save` writes both into
//! one tar, as we do:
//!
//! ```text
//! oci-layout, index.json      the OCI image layout: what a registry has,
//! blobs/sha256/<hex>          as files
//! manifest.json               Docker's older one: config, names and layers
//!                             of each image, pointing at the same blobs
//! ```
//!
//! A layer is written as it is kept: compressed if it was pulled compressed.
//! Every reader looks at the first bytes to see which it is.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::config::{ContainerConfig, History, ImageConfig};
use crate::digest::ImageId;
use crate::error::Result;
use crate::manifest::Index;
use crate::platform::Platform;
use crate::registry::check;
use crate::store::{Lease, NewImage, Store};

mod files;
mod load;
mod save;
mod spool;

pub use files::files;
pub use load::{Loaded, load, load_dir, load_for};
pub use save::{save, save_dir};

/// Says that a directory or tar is an OCI image layout.
const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const MANIFEST: &str = "manifest.json";
/// The full name of an image, in an index's annotations.
const FULL_NAME: &str = "io.containerd.image.name";
/// Its tag or, in layouts of other tools, its name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image in `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    /// Path of the config.
    config: String,
    /// `name:tag` each.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// Paths of the layers, lowest first.
    layers: Vec<String>,
}

/// What an archive says of itself.
#[derive(Debug, Default)]
struct Contents {
    index: Option<Index>,
    items: Vec<Item>,
}

/// What `import` says of the new image.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// What containers of it run.
    pub config: ContainerConfig,
    /// For the history.
    pub message: String,
    /// What it runs on.
    pub platform: Platform,
}

/// Makes an image of one layer from the tar of a whole file system
/// (`docker import`). Give it a name afterwards.
pub fn import(
    store: &Store,
    lease: &Lease,
    tar: impl Read + Send,
    options: ImportOptions,
) -> Result<ImageId> {
    let layer = store.add_layer(lease, tar, true)?;
    let now = jiff::Timestamp::now().to_string();
    let mut config = ImageConfig::scratch(&options.platform);
    config.created = Some(now.clone());
    config.config = options.config;
    config.rootfs.diff_ids = vec![layer.diff_id];
    config.history = vec![History {
        created: Some(now),
        comment: Some(options.message),
        ..History::default()
    }];
    store.put_image(lease, &config.to_bytes(), NewImage::default())
}

#[cfg(test)]
mod tests;
