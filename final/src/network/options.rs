//! How the daemon wants its networks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::pool::{AddressPool, default_pools};
use crate::rootless::Keeper;

/// Settings of [`Networks::open`](super::Networks::open).
#[derive(Debug, Clone)]
pub struct Options {
    /// State goes to `<data root>/network`.
    pub data_root: PathBuf,
    /// Namespaces are pinned at `<run dir>/netns`; a reboot may empty it.
    pub run_dir: PathBuf,
    /// Name servers for containers that name none (`--dns`).
    pub dns: Vec<IpAddr>,
    /// Search domains for containers that name none.
    pub dns_search: Vec<String>,
    /// Resolver options for containers that name none.
    pub dns_options: Vec<String>,
    /// What `--network bridge` means (`--bridge`).
    pub bridge: DefaultBridge,
    /// Whether containers of the default bridge may talk to each other
    /// without a `--link` (`--icc`).
    pub icc: bool,
    /// Where ports go that are published without an address (`--ip`).
    pub host_binding: Option<IpAddr>,
    /// The default bridge's address and subnet (`--bip`).
    pub bip: Option<IpNet>,
    /// The default bridge's largest packet (`--mtu`).
    pub mtu: Option<u32>,
    /// Where networks without `--subnet` get one.
    pub pools: Vec<AddressPool>,
    /// Who opens ports on the host, if this process is in a network
    /// namespace of its own. `None`: this process.
    pub keeper: Option<Arc<Keeper>>,
    /// Subnets that no network may get by itself, besides those that this
    /// process has routes to.
    pub reserved: Vec<IpNet>,
}

impl Options {
    /// Docker's defaults for an engine with this data root.
    pub fn new(
        data_root: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
    ) -> Options {
        Options {
            data_root: data_root.into(),
            run_dir: run_dir.into(),
            dns: vec![],
            dns_search: vec![],
            dns_options: vec![],
            bridge: DefaultBridge::Ours,
            icc: true,
            host_binding: None,
            bip: None,
            mtu: None,
            pools: default_pools(),
            keeper: None,
            reserved: vec![],
        }
    }

    /// What belongs to this engine alone: its default bridge and firewall
    /// table in the kernel, its directory of pinned namespaces. Engines with
    /// other data roots on the same host get a suffix, so that none tears
    /// down what another has built.
    pub(super) fn own_names(&self) -> OwnNames {
        let mut names = OwnNames {
            bridge: "skiff0".into(),
            table: "skiff".into(),
            pins: self.run_dir.join("netns"),
        };
        if self.data_root != Path::new("/var/lib/skiff") {
            let path = self.data_root.as_os_str().as_encoded_bytes();
            let hash = Sha256::digest(path);
            let suffix: String =
                hash.iter().take(3).map(|it| format!("{it:02x}")).collect();
            names.bridge = format!("skiff-{suffix}");
            names.table = format!("skiff_{suffix}");
            names.pins = self.run_dir.join("netns").join(suffix);
        }
        if let DefaultBridge::Theirs(name) = &self.bridge {
            names.bridge.clone_from(name);
        }
        names
    }
}

/// What containers are on that name no network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DefaultBridge {
    /// A bridge that this engine makes.
    #[default]
    Ours,
    /// A bridge of the host's, with the addresses it has.
    Theirs(String),
    /// Nothing: such containers have their loopback alone.
    None,
}

impl DefaultBridge {
    pub(super) fn is_theirs(&self) -> bool {
        matches!(self, DefaultBridge::Theirs(_))
    }
}

/// See [`Options::own_names`].
#[derive(Debug)]
pub(super) struct OwnNames {
    pub(super) bridge: String,
    pub(super) table: String,
    pub(super) pins: PathBuf,
}
