//! How the container is connected: a cable for each network, and ports.

use serde::{Deserialize, Serialize};

pub use crate::network::Cable;

use crate::engine::Engine;
use crate::engine::containers::record::Record;

/// A container's place in the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// `bridge`, `host`, `none`, `container:ID` or a network's name.
    pub mode: String,
    /// One for each network.
    pub cables: Vec<Cable>,
    /// Published ports.
    pub ports: Vec<Port>,
}

/// A port of the host that leads to one of the container's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// Address and port on the host.
    pub host: String,
    /// `80/tcp`
    pub container: String,
}

impl Engine {
    /// The networks that the container is in, and its ports.
    pub(super) fn explain_network(&self, record: &Record) -> Network {
        let published = |(port, bindings): (&String, &Option<Vec<_>>)| {
            let container = port.clone();
            let bindings = bindings.clone().unwrap_or_default();
            bindings
                .into_iter()
                .map(|it: crate::network::PortBinding| Port {
                    host: address(&it.host_ip, &it.host_port),
                    container: container.clone(),
                })
                .collect::<Vec<_>>()
        };
        Network {
            mode: record.host_config.network_mode.clone(),
            cables: self.networks.cables(&record.id),
            ports: record.own.ports.iter().flat_map(published).collect(),
        }
    }
}

fn address(ip: &str, port: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}
