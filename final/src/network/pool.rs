//! Which subnets networks get and which addresses containers get.
//!
//! Nothing is remembered here: what is taken follows from the networks, the
//! endpoints and the host's routes, so no second list can contradict them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses that is cut into subnets of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    /// Where the subnets come from.
    pub base: IpNet,
    /// Their prefix length.
    pub size: u8,
}

/// Docker's own pools: 172.17.0.0/16 to 172.31.0.0/16, then the sixteen
/// /20 of 192.168.0.0/16. Docker ends there, at 31 networks; here 256 small
/// ones follow.
pub fn default_pools() -> Vec<AddressPool> {
    let sixteens = (17..32).map(|it| (Ipv4Addr::new(172, it, 0, 0), 16, 16));
    let twenties = (Ipv4Addr::new(192, 168, 0, 0), 16, 20);
    let small = (Ipv4Addr::new(10, 213, 0, 0), 16, 24);
    sixteens
        .chain([twenties, small])
        .filter_map(|(address, bits, size)| {
            let base = IpNet::new(address.into(), bits).ok()?;
            Some(AddressPool { base, size })
        })
        .collect()
}

/// The first subnet of the pools that meets none of `taken`.
pub(super) fn free_subnet(
    pools: &[AddressPool],
    taken: &[IpNet],
) -> Option<IpNet> {
    pools.iter().find_map(|pool| {
        let mut subnets = pool.base.subnets(pool.size).ok()?;
        subnets.find(|it| !taken.iter().any(|other| overlap(it, other)))
    })
}

/// The pool IPv6 subnets come from if the user names none: a unique local
/// /48 (RFC 4193) made from something only this host has, so that two hosts
/// can be connected later without renumbering.
pub(super) fn local_pool6(host: &str) -> AddressPool {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(host.as_bytes());
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&hash[..5]);
    let base = Ipv6Net::new_assert(Ipv6Addr::from(octets), 48);
    AddressPool { base: base.into(), size: 64 }
}

/// Whether two networks share an address.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The lowest free host address of `range`, which lies within `subnet`.
pub(super) fn free_address(
    subnet: &IpNet,
    range: &IpNet,
    used: &HashSet<IpAddr>,
) -> Option<IpAddr> {
    match (subnet, range) {
        (IpNet::V4(subnet), IpNet::V4(range)) => {
            free_v4(subnet, range, used).map(IpAddr::V4)
        }
        (IpNet::V6(subnet), IpNet::V6(range)) => {
            free_v6(subnet, range, used).map(IpAddr::V6)
        }
        _ => None,
    }
}

fn free_v4(
    subnet: &Ipv4Net,
    range: &Ipv4Net,
    used: &HashSet<IpAddr>,
) -> Option<Ipv4Addr> {
    (u32::from(range.network())..=u32::from(range.broadcast()))
        .map(Ipv4Addr::from)
        .find(|it| is_host(subnet, *it) && !used.contains(&IpAddr::V4(*it)))
}

/// A /31 has two hosts and nothing else (RFC 3021); elsewhere the first
/// address is the network's and the last the broadcast's.
fn is_host(subnet: &Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.prefix_len() >= 31
        || (address != subnet.network() && address != subnet.broadcast())
}

fn free_v6(
    subnet: &Ipv6Net,
    range: &Ipv6Net,
    used: &HashSet<IpAddr>,
) -> Option<Ipv6Addr> {
    let first = u128::from(range.network());
    let last = u128::from(range.broadcast());
    // The first address of a subnet is anycast to all its routers.
    (first..=last)
        .map(Ipv6Addr::from)
        .filter(|it| *it != subnet.network())
        .find(|it| !used.contains(&IpAddr::V6(*it)))
}

/// Whether a container may have this address of the subnet.
pub(super) fn usable(subnet: &IpNet, address: IpAddr) -> bool {
    match (subnet, address) {
        (IpNet::V4(net), IpAddr::V4(it)) => {
            net.contains(&it) && is_host(net, it)
        }
        (IpNet::V6(net), IpAddr::V6(it)) => {
            net.contains(&it) && it != net.network()
        }
        _ => false,
    }
}

/// A MAC address made from the IPv4 address, as Docker's: who gets an
/// address that was somebody else's also gets the MAC, so the neighbours'
/// ARP caches stay right. The 2 marks it as locally administered.
pub(super) fn mac_of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(it) => it.octets(),
        IpAddr::V6(it) => {
            let octets = it.octets();
            [octets[12], octets[13], octets[14], octets[15]]
        }
    };
    [0x02, 0x42, a, b, c, d]
}

/// `02:42:ac:11:00:02`.
pub(super) fn show_mac(mac: [u8; 6]) -> String {
    mac.map(|it| format!("{it:02x}")).join(":")
}

/// Reads `02:42:ac:11:00:02` or with hyphens; a unicast address.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split([':', '-'])
        .map(|it| (it.len() == 2).then(|| u8::from_str_radix(it, 16).ok())?)
        .collect::<Option<_>>()?;
    let mac: [u8; 6] = bytes.try_into().ok()?;
    (mac[0] & 1 == 0).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_avoid_what_the_host_routes_elsewhere() {
        let pools = default_pools();
        assert_eq!(free_subnet(&pools, &[]), Some(net("172.17.0.0/16")));
        let taken = [net("172.17.4.0/24"), net("172.18.0.0/15")];
        assert_eq!(free_subnet(&pools, &taken), Some(net("172.20.0.0/16")));
        let all = [net("172.16.0.0/12"), net("192.168.0.0/20")];
        assert_eq!(free_subnet(&pools, &all), Some(net("192.168.16.0/20")));
        let more = [net("172.16.0.0/12"), net("192.168.0.0/16")];
        assert_eq!(free_subnet(&pools, &more), Some(net("10.213.0.0/24")));
        assert_eq!(free_subnet(&pools, &[net("0.0.0.0/0")]), None);
    }

    #[test]
    fn addresses_skip_network_broadcast_and_what_is_used() {
        let subnet = net("10.0.0.0/29");
        let mut used = HashSet::from(["10.0.0.1".parse().unwrap()]);
        let mut got = Vec::new();
        while let Some(it) = free_address(&subnet, &subnet, &used) {
            used.insert(it);
            got.push(it.to_string());
        }
        let want = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
        assert_eq!(got, want);
    }

    #[test]
    fn a_range_limits_the_automatic_addresses() {
        let subnet = net("172.28.0.0/16");
        let range = net("172.28.5.0/24");
        let got = free_address(&subnet, &range, &HashSet::new());
        assert_eq!(got, Some("172.28.5.0".parse().unwrap()));
    }

    #[test]
    fn ipv6_begins_after_the_anycast_address() {
        let subnet = net("fd00::/64");
        let used = HashSet::from(["fd00::1".parse().unwrap()]);
        let got = free_address(&subnet, &subnet, &used);
        assert_eq!(got, Some("fd00::2".parse().unwrap()));
    }

    #[test]
    fn mac_addresses_are_read_as_they_are_shown() {
        let mac = mac_of("172.17.0.2".parse().unwrap());
        assert_eq!(show_mac(mac), "02:42:ac:11:00:02");
        assert_eq!(parse_mac("02:42:ac:11:00:02"), Some(mac));
        assert_eq!(parse_mac("01:42:ac:11:00:02"), None, "multicast");
        assert_eq!(parse_mac("2:42:ac:11:0:2"), None);
    }
}
