//! The engine: what the daemon knows and does, apart from how it is asked.
//!
//! ```text
//! api/ (HTTP) ──▶ Engine ─┬─ containers/   life of containers, exec, logs
//!                         ├─ images, build
//!                         ├─ events        what happened
//!                         └─ store, snapshots, volumes, networks
//! ```
//!
//! Everything below is synchronous: system calls and files. The API calls it
//! on tokio's threads for blocking work, so a verb reads top to bottom.

mod activation;
pub mod build;
pub mod catalogue;
pub mod commit;
pub mod config;
pub mod containers;
pub mod daemon;
pub mod error;
pub mod events;
pub mod filters;
pub mod go_json;
pub mod images;
pub mod listen;
pub mod logging;
pub mod networks;
pub mod progress;
mod remote;
pub mod system;
pub mod volumes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ::volumes::VolumeStore;
use layers::Store;
use overlay_cow::OverlaySnapshots;
use tokio::runtime::Handle;

pub use error::{Error, Result};

use crate::buildkit::{Running, Sessions};
use crate::network::Networks;
use config::Settings;
use containers::{Container, Containers};
use events::{Attributes, Events, Kind};

/// Everything the daemon holds. One per data root.
#[derive(Debug)]
pub struct Engine {
    settings: RwLock<Arc<Settings>>,
    /// Images.
    pub store: Arc<Store>,
    /// Writable layers.
    pub snapshots: Arc<OverlaySnapshots>,
    /// Volumes.
    pub volumes: Arc<VolumeStore>,
    /// Networks.
    pub networks: Arc<Networks>,
    /// What happened.
    pub events: Events,
    /// Containers, by ID and by name.
    pub containers: Containers,
    /// Clients that stand ready for the questions of their builds.
    pub sessions: Sessions,
    /// Builds that can be given up by name.
    pub running: Running,
    /// For blocking code that must wait for something asynchronous.
    pub runtime: Handle,
    /// This node's name for itself, kept in the data root.
    pub node_id: String,
    root: PathBuf,
}

impl Engine {
    /// Opens the data root and takes up what is in it: containers that run,
    /// that have ended meanwhile, or that are to be started again.
    ///
    /// # Errors
    /// What cannot be opened, with its path.
    pub fn open(config: Settings, runtime: Handle) -> Result<Arc<Engine>> {
        let root = config.data_root();
        let containers = root.join("containers");
        for dir in [&root, &containers, &config.exec_root()] {
            std::fs::create_dir_all(dir)
                .map_err(Error::io("make the directory", dir))?;
        }
        let root = root.canonicalize().map_err(Error::io("find", &root))?;
        let store = Store::open(&root).map_err(Error::internal)?;
        for lost in store.lost() {
            tracing::warn!("{lost}");
        }
        let snapshots = OverlaySnapshots::open(root.join("overlay2"))
            .map_err(Error::internal)?;
        let networks = Networks::open(config.network_options(&root)?)?;
        let engine = Arc::new(Engine {
            store: Arc::new(store),
            snapshots: Arc::new(snapshots),
            volumes: Arc::new(VolumeStore::open(&root)?),
            networks: Arc::new(networks),
            events: Events::open(&root.join("events.json")),
            containers: Containers::new(root.join("containers")),
            node_id: system::node_id(&root)?,
            settings: RwLock::new(Arc::new(config)),
            sessions: Sessions::default(),
            running: Running::default(),
            runtime,
            root,
        });
        engine.recover()?;
        build::sweep(&engine)?;
        Ok(engine)
    }

    /// The daemon's settings, as they are at this moment.
    pub fn config(&self) -> Arc<Settings> {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on with other settings, and tells so.
    pub fn reconfigure(&self, settings: Settings) {
        let about = settings.reload_event();
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(settings);
        self.events.emit(Kind::Daemon, "reload", &self.node_id, about);
    }

    /// The data root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reports an event of a container, with its name, image and labels.
    pub fn tell(&self, container: &Container, verb: &str, more: Attributes) {
        let attributes = container.with(|record| {
            let mut all = record.config.labels.clone();
            all.insert("image".into(), record.config.image.clone());
            all.insert("name".into(), record.short_name().to_owned());
            all.extend(more);
            all
        });
        self.events.emit(Kind::Container, verb, &container.id, attributes);
    }

    /// Reports that a `prune` is over, and the bytes that it has freed.
    pub(crate) fn tell_pruned(&self, kind: Kind, bytes: u64) {
        let about = events::attributes([("reclaimed", &bytes.to_string())]);
        self.events.emit(kind, "prune", "", about);
    }

    /// Reports that a container came to its networks, or left them.
    pub(crate) fn tell_networks(&self, container: &Container, verb: &str) {
        let attached = container.with(|record| record.own.attached.clone());
        for (name, endpoint) in attached {
            let about = events::attributes([
                ("container", &container.id),
                ("name", &name),
                ("type", "bridge"),
            ]);
            let id = &endpoint.network_id;
            self.events.emit(Kind::Network, verb, id, about);
        }
    }
}
