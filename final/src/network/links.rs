//! The host's side: bridges, veth pairs, and being a router.

use std::os::fd::AsFd;
use std::path::Path;

use ipnet::IpNet;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::netns::{Fresh, inside, read_sysctl, sysctl};
use super::pool::mac_of;
use super::route::{Route, Veth, refusal};
use super::state::Endpoint;
use super::{Error, Network, Networks, lock};

/// The interfaces between which the host did not route before this engine
/// made it a router, in this boot.
#[derive(Serialize, Deserialize)]
struct Outside {
    boot: String,
    interfaces: Vec<String>,
}

/// Lets the host forward packets between its interfaces.
///
/// Returns the interfaces between which it did not do so before: the
/// firewall keeps that so, because being a container host does not mean
/// being a router for the neighbourhood. The list is kept in the run
/// directory for the next daemon, as long as the host is not rebooted.
pub(super) fn become_router(run_dir: &Path) -> Result<Vec<String>, Error> {
    const BOOT: &str = "/proc/sys/kernel/random/boot_id";
    let path = run_dir.join("outside.json");
    let boot =
        std::fs::read_to_string(BOOT).map_err(Error::io("read", BOOT))?;
    let known = cli_api::state::read_json::<Outside>(&path).ok();
    let known = known.filter(|it| it.boot == boot).map(|it| it.interfaces);
    if read_sysctl("ipv4/ip_forward").as_deref() != Some("0") {
        return Ok(known.unwrap_or_default());
    }
    let interfaces = match known {
        Some(known) => known,
        None => interfaces()?,
    };
    let outside = Outside { boot, interfaces };
    std::fs::create_dir_all(run_dir).map_err(Error::io("create", run_dir))?;
    cli_api::state::write_json(&path, &outside)
        .map_err(|it| Error::State(it.to_string()))?;
    sysctl("ipv4/ip_forward", "1")?;
    Ok(outside.interfaces)
}

/// All but the loopback.
fn interfaces() -> Result<Vec<String>, Error> {
    let dir = "/proc/sys/net/ipv4/conf";
    let entries = std::fs::read_dir(dir).map_err(Error::io("list", dir))?;
    let mut all: Vec<String> = entries
        .flatten()
        .filter_map(|it| it.file_name().into_string().ok())
        .filter(|it| !["all", "default", "lo"].contains(&it.as_str()))
        .collect();
    all.sort();
    Ok(all)
}

/// The same for IPv6, once a network wants it. A router ignores router
/// advertisements (RFC 4861), by which this host may have its own default
/// route: 2 means "accept them all the same".
fn become_router6() -> Result<(), Error> {
    if read_sysctl("ipv6/conf/all/forwarding").as_deref() != Some("0") {
        return Ok(());
    }
    let dir = "/proc/sys/net/ipv6/conf";
    for entry in std::fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let Ok(entry) = entry else { continue };
        let name = format!(
            "ipv6/conf/{}/accept_ra",
            entry.file_name().to_string_lossy()
        );
        if read_sysctl(&name).as_deref() == Some("1") {
            sysctl(&name, "2")?;
        }
    }
    sysctl("ipv6/conf/all/forwarding", "1")
}

/// Whether br_netfilter hands frames to the firewall that have not left
/// their bridge.
pub(super) fn rewrites_inside_bridges() -> bool {
    ["iptables", "ip6tables"].iter().any(|it| {
        read_sysctl(&format!("bridge/bridge-nf-call-{it}")).as_deref()
            == Some("1")
    })
}

/// The addresses of the bridge itself.
fn gateways(network: &Network) -> Vec<IpNet> {
    network
        .subnets()
        .iter()
        .filter(|it| network.enable_ipv6 || it.subnet.addr().is_ipv4())
        .filter_map(|it| IpNet::new(it.gateway?, it.subnet.prefix_len()).ok())
        .collect()
}

/// Before a bridge is made, its subnets lead nowhere; a route to one says
/// that somebody else has it by now. With two links for one subnet the host
/// would send all to the first.
fn refuse_taken_subnets(
    route: &mut Route,
    network: &Network,
) -> Result<(), Error> {
    let routes = route.destinations()?;
    for subnet in network.subnets().iter().map(|it| it.subnet) {
        if let Some(other) = routes.iter().find(|it| subnet.contains(*it)) {
            return Err(Error::SubnetTaken {
                name: network.name.clone(),
                subnet: subnet.to_string(),
                route: other.to_string(),
            });
        }
    }
    Ok(())
}

impl Networks {
    /// Makes the network's bridge, if it is not there: on creation, after a
    /// reboot, or after somebody deleted it.
    pub(super) fn ensure_bridge(
        &self,
        network: &Network,
    ) -> Result<u32, Error> {
        let name = network.bridge_name();
        let mut route = lock(&self.route);
        if let Some(index) = route.index(&name) {
            return Ok(index);
        }
        if network.is_default() && self.options.bridge.is_theirs() {
            return Err(Error::NoBridge(name));
        }
        refuse_taken_subnets(&mut route, network)?;
        let gateways = gateways(network);
        let mac = gateways.first().map(|it| mac_of(it.addr()));
        let index =
            route.bridge(&name, mac.unwrap_or_default(), network.mtu())?;
        let made = self.equip_bridge(&mut route, index, network, &gateways);
        if made.is_err() {
            let _ = route.delete(&name);
        }
        made.map(|()| index)
    }

    /// The same for a bridge that may be there with other addresses: an
    /// engine made it whose state has been deleted since, or one with
    /// another data root. It gets ours beside them; without, no container
    /// would reach its gateway.
    pub(super) fn claim_bridge(&self, network: &Network) -> Result<(), Error> {
        let index = self.ensure_bridge(network)?;
        let mut route = lock(&self.route);
        self.equip_bridge(&mut route, index, network, &gateways(network))
    }

    fn equip_bridge(
        &self,
        route: &mut Route,
        index: u32,
        network: &Network,
        gateways: &[IpNet],
    ) -> Result<(), Error> {
        let name = network.bridge_name();
        if network.enable_ipv6 {
            become_router6()?;
            sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "0")?;
        } else {
            sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        }
        if self.firewall.lost().is_none() {
            // Lets the host's own 127.0.0.1 be rewritten to a container;
            // the firewall's guard chain sees to it that nobody else can
            // use that.
            sysctl(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
        }
        self.route_between(network)?;
        route.configure((index, &name), gateways, &[])
    }

    pub(super) fn delete_bridge(&self, network: &Network) -> Result<(), Error> {
        let theirs = network.is_default() && self.options.bridge.is_theirs();
        if theirs {
            return Ok(());
        }
        lock(&self.route).delete(&network.bridge_name())
    }

    /// Connects a fresh namespace to an endpoint's network, and gives it
    /// the default route if `way_out`.
    pub(super) fn plug(
        &self,
        fresh: &mut Fresh,
        endpoint: &Endpoint,
        way_out: bool,
    ) -> Result<(), Error> {
        let network = self.state().find(&endpoint.network)?.clone();
        let bridge = self.ensure_bridge(&network)?;
        self.make_veth(fresh, endpoint, &network, bridge)?;
        if endpoint.v6.is_some() {
            let name = &endpoint.interface;
            inside(fresh.file.as_fd(), || {
                // A port in hairpin mode gets its own question whether the
                // address is taken back, as if somebody else had it.
                sysctl(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
                sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "0")
            })?;
        }
        let name = endpoint.interface.as_str();
        let index = fresh.route.index(name).unwrap_or_default();
        let gateways = if way_out { endpoint.gateways() } else { vec![] };
        let link = (index, name);
        fresh.route.configure(link, &endpoint.addresses(), &gateways)?;
        lock(&self.route).notice(&endpoint.veth)?;
        fresh.route.announce(index, endpoint.mac)
    }

    fn make_veth(
        &self,
        fresh: &Fresh,
        endpoint: &Endpoint,
        network: &Network,
        bridge: u32,
    ) -> Result<(), Error> {
        let veth = Veth {
            name: &endpoint.veth,
            peer: &endpoint.interface,
            peer_mac: endpoint.mac,
            peer_namespace: fresh.file.as_fd(),
            bridge,
            mtu: network.mtu(),
        };
        let mut route = lock(&self.route);
        route.veth(&veth).map_err(|it| {
            let bridge = network.bridge_name();
            let name = &endpoint.veth;
            let doing = match it.errno {
                Errno::EXIST => format!(
                    "create the veth pair {name} and {}",
                    endpoint.interface
                ),
                _ => format!("create the veth pair {name} on {bridge}"),
            };
            refusal(doing, it)
        })?;
        if network.icc() {
            return Ok(());
        }
        route.isolate(&endpoint.veth, true)
    }

    /// Lets a container reach its own published ports through the host's
    /// address. Mostly that needs nothing; but with br_netfilter, rewriting
    /// happens inside the bridge, which never sends a frame back to where
    /// it came from, unless told to.
    pub(super) fn let_reach_itself(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        if rewrites_inside_bridges() {
            lock(&self.route).hairpin(&endpoint.veth)?;
        }
        Ok(())
    }
}
