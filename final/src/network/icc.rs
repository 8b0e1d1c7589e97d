//! Networks that keep their containers apart: `dockerd --icc=false`, and
//! `com.docker.network.bridge.enable_icc=false`.
//!
//! Their bridge ports are isolated: no frame passes from one to another,
//! only between each and the host. On the default bridge a `--link` opens
//! the linked container's exposed ports all the same. For that the host
//! answers there whenever a container asks for another's MAC address
//! (`proxy_arp_pvlan`, RFC 3069), so that it gets the packets and its
//! forward chain decides about them, as between two networks.

use std::net::{IpAddr, Ipv4Addr};

use super::firewall::Link;
use super::netns::sysctl;
use super::ports::parse_port;
use super::state::{Endpoint, Sandbox, State};
use super::{Error, Network, Networks, lock};

impl Networks {
    /// Lets the firewall decide between the containers of the default
    /// bridge. Without a firewall nobody would, so they stay apart then.
    pub(super) fn route_between(&self, network: &Network) -> Result<(), Error> {
        if !network.is_default() {
            return Ok(());
        }
        let name = network.bridge_name();
        let routed = !network.icc() && self.firewall.lost().is_none();
        if routed {
            // An answer for somebody else waits 0.8 seconds otherwise.
            sysctl(&format!("ipv4/neigh/{name}/proxy_delay"), "0")?;
        }
        let value = if routed { "1" } else { "0" };
        sysctl(&format!("ipv4/conf/{name}/proxy_arp_pvlan"), value)
    }

    /// After a daemon's restart, which may have changed `--icc`.
    pub(super) fn isolate_again(&self, sandbox: &Sandbox) -> Result<(), Error> {
        for endpoint in &sandbox.endpoints {
            let network = self.state().find(&endpoint.network)?.clone();
            if network.is_default() {
                let mut route = lock(&self.route);
                route.isolate(&endpoint.veth, !network.icc())?;
            }
        }
        Ok(())
    }

    /// Tells the firewall which links there are now.
    pub(super) fn update_links(&self) -> Result<(), Error> {
        let links = self.open_links();
        self.firewall.set_links(links)
    }

    /// What `--link` opens, as things are: nothing where all is open.
    pub(super) fn open_links(&self) -> Vec<Link> {
        let state = self.state();
        let default = state.networks.values().find(|it| it.is_default());
        let Some(network) = default.filter(|it| !it.icc()) else {
            return vec![];
        };
        let mut links: Vec<Link> = state
            .members(&network.id)
            .flat_map(|(sandbox, own)| links_of(&state, sandbox, own))
            .collect();
        links.sort();
        links.dedup();
        links
    }

    /// `docker rm --link`: the name goes from the container's `/etc/hosts`,
    /// and so does its way to the other.
    ///
    /// # Errors
    /// A file or the firewall that could not be changed.
    pub fn unlink(&self, container: &str, alias: &str) -> Result<(), Error> {
        let sandbox = {
            let mut state = self.state();
            let Some(sandbox) = state.sandboxes.get_mut(container) else {
                return Ok(());
            };
            sandbox.request.links.retain(|(_, it)| it != alias);
            sandbox.clone()
        };
        self.files.save(&sandbox)?;
        self.write_files(&sandbox)?;
        self.update_links()
    }
}

/// From one container of the default bridge to those it is linked to.
fn links_of(state: &State, sandbox: &Sandbox, own: &Endpoint) -> Vec<Link> {
    let mut links = Vec::new();
    for (other, _) in &sandbox.request.links {
        let Some(other) = state.sandboxes.get(other) else { continue };
        let its = other.endpoints.iter();
        let its = its.filter(|it| it.network == own.network);
        let ends = its.filter_map(|it| Some((v4(own)?, v4(it)?)));
        for (from, to) in ends {
            let ports = other.request.exposed.iter();
            let ports = ports.chain(other.request.ports.keys());
            let ports = ports.filter_map(|it| parse_port(it).ok());
            let all = ports.map(|(port, udp)| Link { from, to, udp, port });
            links.extend(all);
        }
    }
    links
}

fn v4(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    match endpoint.v4?.addr() {
        IpAddr::V4(it) => Some(it),
        IpAddr::V6(_) => None,
    }
}
