//! What is plugged in where, for who wants to look at it with `ip link`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Networks;
use super::state::Endpoint;

/// A container's connection to one network: a veth(4) pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cable {
    /// The network's name.
    pub network: String,
    /// The bridge on the host that it is plugged into.
    pub bridge: String,
    /// The host's end.
    pub veth: String,
    /// The container's end.
    pub interface: String,
    /// The container's addresses, with the size of the network.
    pub addresses: Vec<String>,
    /// The container's hardware address.
    pub mac: String,
    /// The bridge's addresses, by which the container reaches the world.
    pub gateways: Vec<IpAddr>,
}

impl Networks {
    /// The cables of a container, by its ID; none if it does not run or
    /// shares another's network.
    pub fn cables(&self, container: &str) -> Vec<Cable> {
        let state = self.state();
        let sandbox = state.sandboxes.get(container);
        let ends = sandbox.map(|it| it.endpoints.as_slice());
        let cable = |end: &Endpoint| {
            let network = state.networks.get(&end.network)?;
            let addresses = end.addresses().into_iter();
            Some(Cable {
                network: network.name.clone(),
                bridge: network.bridge_name(),
                veth: end.veth.clone(),
                interface: end.interface.clone(),
                addresses: addresses.map(|it| it.to_string()).collect(),
                mac: end.settings.mac_address.clone(),
                gateways: end.gateways(),
            })
        };
        ends.unwrap_or_default().iter().filter_map(cable).collect()
    }
}
