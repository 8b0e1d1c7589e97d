//! What a network's record says about its bridge.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Network;
use super::firewall::Bridge;
use super::links::rewrites_inside_bridges;

/// Options of bridge networks that we know; others are kept and ignored,
/// as Docker does.
pub(super) const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
pub(super) const ICC: &str = "com.docker.network.bridge.enable_icc";
pub(super) const MASQUERADE: &str =
    "com.docker.network.bridge.enable_ip_masquerade";
pub(super) const HOST_BINDING: &str =
    "com.docker.network.bridge.host_binding_ipv4";
pub(super) const MTU: &str = "com.docker.network.driver.mtu";
/// What the names of interfaces in containers begin with, instead of `eth`.
pub(super) const IFPREFIX: &str = "com.docker.network.container_iface_prefix";
pub(super) const DEFAULT_BRIDGE: &str =
    "com.docker.network.bridge.default_bridge";

/// The networks that are always there.
pub(super) const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

impl Network {
    /// Whether it is there from the beginning and cannot be removed.
    pub fn is_predefined(&self) -> bool {
        PREDEFINED.contains(&self.name.as_str())
    }

    /// Whether it is the default bridge, which has no DNS.
    pub(super) fn is_default(&self) -> bool {
        self.name == "bridge"
    }

    /// The bridge's name in the kernel.
    pub(super) fn bridge_name(&self) -> String {
        match self.options.get(BRIDGE_NAME) {
            Some(name) => name.clone(),
            None => format!("br-{}", &self.id[..12]),
        }
    }

    pub(super) fn mtu(&self) -> Option<u32> {
        // 0 is Docker's "not given".
        self.options.get(MTU)?.parse().ok().filter(|it| *it != 0)
    }

    /// Containers may talk to each other.
    pub(super) fn icc(&self) -> bool {
        self.flag(ICC)
    }

    /// Where ports go that are published without an address.
    pub(super) fn host_binding(&self) -> Option<IpAddr> {
        let address: IpAddr = self.options.get(HOST_BINDING)?.parse().ok()?;
        (!address.is_unspecified()).then_some(address)
    }

    fn flag(&self, option: &str) -> bool {
        let text = self.options.get(option);
        text.and_then(|it| parse_bool(it)).unwrap_or(true)
    }

    /// Subnet with automatic range and gateway of one family.
    pub(super) fn subnet(&self, v6: bool) -> Option<Subnet> {
        self.ipam.config.iter().find_map(|it| {
            let subnet: IpNet = it.subnet.parse().ok()?;
            (subnet.addr().is_ipv6() == v6).then_some(())?;
            let range = it.ip_range.parse().unwrap_or(subnet);
            let gateway = it.gateway.parse().ok();
            Some(Subnet { subnet, range, gateway })
        })
    }

    pub(super) fn subnets(&self) -> Vec<Subnet> {
        [false, true].into_iter().filter_map(|it| self.subnet(it)).collect()
    }

    pub(super) fn firewall(&self) -> Bridge {
        Bridge {
            name: self.bridge_name(),
            subnets: self.subnets().iter().map(|it| it.subnet).collect(),
            internal: self.internal,
            icc: self.icc(),
            rewrites_inside: !self.icc() && rewrites_inside_bridges(),
            masquerade: self.flag(MASQUERADE),
        }
    }
}

/// The spellings that Go's `strconv.ParseBool` takes.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// One address family of a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subnet {
    pub(super) subnet: IpNet,
    pub(super) range: IpNet,
    pub(super) gateway: Option<IpAddr>,
}
