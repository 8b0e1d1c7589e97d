//! What is connected to what: the one copy in memory, and its files.
//!
//! ```text
//! <data root>/network/networks.json         all networks
//! <data root>/network/containers/ID.json    one connected container
//! ```
//! A file per container, so that a start does not rewrite what 500 others
//! have.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cli_api::state::{read_json, write_json, write_json_durable};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Error;
use super::ports::Published;
use super::types::{AttachRequest, EndpointSettings, Network};

/// A container's connection to one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Endpoint {
    /// The network's ID.
    pub(super) network: String,
    /// The container's end of the veth pair.
    pub(super) interface: String,
    /// The host's end.
    pub(super) veth: String,
    pub(super) v4: Option<IpNet>,
    pub(super) v6: Option<IpNet>,
    pub(super) mac: [u8; 6],
    /// As the API shows it.
    pub(super) settings: EndpointSettings,
}

impl Endpoint {
    pub(super) fn addresses(&self) -> Vec<IpNet> {
        self.v4.into_iter().chain(self.v6).collect()
    }

    /// The gateways this endpoint offers: none in an internal network.
    pub(super) fn gateways(&self) -> Vec<IpAddr> {
        let texts = [&self.settings.gateway, &self.settings.ipv6_gateway];
        texts.iter().filter_map(|it| it.parse().ok()).collect()
    }
}

/// A container with its connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sandbox {
    pub(super) request: AttachRequest,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) published: Vec<Published>,
    /// What was being done to it while it ran; a daemon that was killed
    /// meanwhile leaves it for the next one to finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Change>,
}

/// A change of a running container's endpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Change {
    /// This one is being plugged in.
    Connecting(Endpoint),
    /// This one is being pulled out; it is none of the endpoints any more.
    Disconnecting(Endpoint),
}

impl Sandbox {
    /// Comes to its networks anew, with nothing in them yet.
    pub(super) fn new(request: AttachRequest) -> Sandbox {
        let (endpoints, published) = (vec![], vec![]);
        Sandbox { request, endpoints, published, change: None }
    }

    /// The endpoint that has the default route and the published ports, as
    /// Docker has it: one that leads out by both IPv4 and IPv6, whatever the
    /// priorities are, then the highest priority, then the first by name.
    pub(super) fn way_out<'a>(
        &'a self,
        networks: &BTreeMap<String, Network>,
    ) -> Option<&'a Endpoint> {
        let name =
            |it: &Endpoint| networks.get(&it.network).map(|it| it.name.clone());
        self.endpoints.iter().filter(|it| !it.gateways().is_empty()).min_by_key(
            |it| {
                let both = it.gateways().len() == 2;
                (!both, -it.settings.gw_priority, name(it))
            },
        )
    }
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By ID.
    pub(super) networks: BTreeMap<String, Network>,
    /// By container ID.
    pub(super) sandboxes: BTreeMap<String, Sandbox>,
    /// Addresses whose links are being removed: `(network, address)`.
    pub(super) leaving: HashSet<(String, IpAddr)>,
}

impl State {
    /// A network by name, ID, or the beginning of exactly one ID.
    pub(super) fn find(&self, wanted: &str) -> Result<&Network, Error> {
        let by_name = self.networks.values().find(|it| it.name == wanted);
        if let Some(network) = by_name.or_else(|| self.networks.get(wanted)) {
            return Ok(network);
        }
        let mut all =
            self.networks.values().filter(|it| it.id.starts_with(wanted));
        match (all.next(), all.next()) {
            (Some(network), None) if !wanted.is_empty() => Ok(network),
            (Some(_), Some(_)) if !wanted.is_empty() => {
                Err(Error::Ambiguous(wanted.into()))
            }
            _ => Err(Error::NotFound(wanted.into())),
        }
    }

    /// The endpoints of a network, each with its container.
    pub(super) fn members<'a>(
        &'a self,
        network: &'a str,
    ) -> impl Iterator<Item = (&'a Sandbox, &'a Endpoint)> {
        self.sandboxes.values().flat_map(move |sandbox| {
            sandbox
                .endpoints
                .iter()
                .filter(move |it| it.network == network)
                .map(move |it| (sandbox, it))
        })
    }

    /// Every address of a network that nobody else may get.
    pub(super) fn used(&self, network: &Network) -> HashSet<IpAddr> {
        let ends = self
            .members(&network.id)
            .flat_map(|(_, it)| it.addresses().into_iter().map(|it| it.addr()));
        let leaving = self
            .leaving
            .iter()
            .filter(|(id, _)| *id == network.id)
            .map(|(_, address)| *address);
        let fixed = network.ipam.config.iter().flat_map(|it| {
            let gateway = std::iter::once(&it.gateway);
            gateway.chain(it.auxiliary.values())
        });
        let fixed = fixed.filter_map(|it| it.parse().ok());
        ends.chain(leaving).chain(fixed).collect()
    }
}

/// Where the state lies on disk.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn open(data_root: &Path) -> Result<Files, Error> {
        let dir = data_root.join("network");
        let containers = dir.join("containers");
        std::fs::create_dir_all(&containers)
            .map_err(Error::io("create", containers))?;
        Ok(Files { dir })
    }

    /// All of it. A damaged file of one container loses only that one's
    /// connections; the error says so.
    pub(super) fn load(&self) -> Result<(State, Vec<Error>), Error> {
        let mut state = State::default();
        let mut errors = Vec::new();
        let path = self.networks();
        if path.exists() {
            let all: Vec<Network> = read_json(&path).map_err(failed)?;
            let all = all.into_iter().map(|it| (it.id.clone(), it));
            state.networks = all.collect();
        }
        let dir = self.dir.join("containers");
        let entries = std::fs::read_dir(&dir)
            .map_err(Error::io("list", &dir))?
            .flatten()
            .map(|it| it.path())
            .filter(|it| it.extension().is_some_and(|it| it == "json"));
        for path in entries {
            match read_json::<Sandbox>(&path) {
                Ok(it) => {
                    state.sandboxes.insert(it.request.id.clone(), it);
                }
                Err(error) => errors.push(failed(error)),
            }
        }
        Ok((state, errors))
    }

    /// Survives a power cut: a network's subnet is in people's heads.
    pub(super) fn save_networks(&self, all: &[Network]) -> Result<(), Error> {
        write_json_durable(&self.networks(), &all).map_err(failed)
    }

    /// Need not survive a power cut: no connection does.
    pub(super) fn save(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let path = self.container(&sandbox.request.id);
        write_json(&path, sandbox).map_err(failed)
    }

    pub(super) fn forget(&self, container: &str) -> Result<(), Error> {
        let path = self.container(container);
        match std::fs::remove_file(&path) {
            Err(it) if it.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(it))
            }
            _ => Ok(()),
        }
    }

    fn networks(&self) -> PathBuf {
        self.dir.join("networks.json")
    }

    fn container(&self, id: &str) -> PathBuf {
        self.dir.join("containers").join(format!("{id}.json"))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::State(error.to_string())
}
