//! Sets and maps: what their elements are, how nft(8) writes them, and how
//! the kernel stores them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::rule::Family;

/// A set, or a map if its key type has values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Set {
    pub(in crate::network) name: &'static str,
    pub(in crate::network) key: Key,
    pub(in crate::network) elements: Vec<Element>,
}

/// What a set's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Key {
    Interface,
    InterfacePair,
    /// Addresses, in whole networks.
    Net(Family),
    /// The same, each with an interface.
    NetInterface(Family),
    /// Source, destination, protocol and destination port.
    Link,
    /// Protocol and port, mapped to an address and a port.
    Port(Family),
    /// Address, protocol and port, mapped to an address and a port.
    AddressPort(Family),
}

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::network) enum Element {
    Interface(String),
    Pair(String, String),
    Net(IpNet),
    NetInterface(IpNet, String),
    Link {
        from: Ipv4Addr,
        to: Ipv4Addr,
        udp: bool,
        port: u16,
    },
    Port {
        /// Only in maps by address.
        host: Option<IpAddr>,
        udp: bool,
        port: u16,
        to: (IpAddr, u16),
    },
}

impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.key.value_length() > 0 { "map" } else { "set" };
        writeln!(out, "\t{kind} {} {{", self.name)?;
        writeln!(out, "\t\ttype {}", self.key)?;
        if self.key.is_interval() {
            writeln!(out, "\t\tflags interval")?;
        }
        if !self.elements.is_empty() {
            let all: Vec<String> =
                self.elements.iter().map(|it| it.to_string()).collect();
            // As nft breaks lines: elements below one another.
            let all = all.join(",\n\t\t\t     ");
            writeln!(out, "\t\telements = {{ {all} }}")?;
        }
        writeln!(out, "\t}}")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |family| match family {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        };
        let port = "inet_proto . inet_service";
        match self {
            Key::Interface => write!(out, "ifname"),
            Key::InterfacePair => write!(out, "ifname . ifname"),
            Key::Net(it) => write!(out, "{}", address(*it)),
            Key::NetInterface(it) => {
                write!(out, "{} . ifname", address(*it))
            }
            Key::Link => write!(out, "ipv4_addr . ipv4_addr . {port}"),
            Key::Port(it) => {
                write!(out, "{port} : {} . inet_service", address(*it))
            }
            Key::AddressPort(it) => {
                let it = address(*it);
                write!(out, "{it} . {port} : {it} . inet_service")
            }
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Interface(it) => write!(out, "\"{it}\""),
            Element::Pair(from, to) => write!(out, "\"{from}\" . \"{to}\""),
            Element::Net(it) => write!(out, "{it}"),
            Element::NetInterface(net, it) => write!(out, "{net} . \"{it}\""),
            Element::Port { host, udp, port, to } => {
                if let Some(host) = host {
                    write!(out, "{host} . ")?;
                }
                let protocol = protocol_name(*udp);
                write!(out, "{protocol} . {port} : {} . {}", to.0, to.1)
            }
            Element::Link { from, to, udp, port } => {
                let protocol = protocol_name(*udp);
                write!(out, "{from} . {to} . {protocol} . {port}")
            }
        }
    }
}

fn protocol_name(udp: bool) -> &'static str {
    if udp { "udp" } else { "tcp" }
}

impl Key {
    /// nft's numbers for the types, six bits each; only for its listing.
    pub(super) fn type_numbers(self) -> (u32, u32) {
        const IFNAME: u32 = 41;
        const PROTOCOL: u32 = 12;
        const PORT: u32 = 13;
        let join = |all: &[u32]| all.iter().fold(0, |sum, it| sum << 6 | it);
        let address = |family| if family == Family::V4 { 7 } else { 8 };
        match self {
            Key::Interface => (IFNAME, 0),
            Key::InterfacePair => (join(&[IFNAME, IFNAME]), 0),
            Key::Net(it) => (address(it), 0),
            Key::NetInterface(it) => (join(&[address(it), IFNAME]), 0),
            Key::Link => {
                let v4 = address(Family::V4);
                (join(&[v4, v4, PROTOCOL, PORT]), 0)
            }
            Key::Port(it) => {
                (join(&[PROTOCOL, PORT]), join(&[address(it), PORT]))
            }
            Key::AddressPort(it) => (
                join(&[address(it), PROTOCOL, PORT]),
                join(&[address(it), PORT]),
            ),
        }
    }

    /// In bytes. Every part of a key fills whole registers.
    pub(super) fn length(self) -> u32 {
        let address = Family::address_length;
        match self {
            Key::Interface => 16,
            Key::InterfacePair => 32,
            Key::Net(it) => address(it),
            Key::NetInterface(it) => address(it) + 16,
            Key::Link => 16,
            Key::Port(_) => 8,
            Key::AddressPort(it) => 8 + address(it),
        }
    }

    /// Whether elements stand for more than one value.
    pub(super) fn is_interval(self) -> bool {
        matches!(self, Key::Net(_) | Key::NetInterface(_))
    }

    /// The lengths of the parts where the kernel asks for them: with more
    /// than one part, of which one is an interval.
    pub(super) fn parts(self) -> Vec<u32> {
        match self {
            Key::NetInterface(it) => vec![it.address_length(), 16],
            _ => vec![],
        }
    }

    /// In bytes; 0 for a set.
    pub(super) fn value_length(self) -> u32 {
        match self {
            Key::Interface
            | Key::InterfacePair
            | Key::Net(_)
            | Key::NetInterface(_)
            | Key::Link => 0,
            Key::Port(Family::V4) | Key::AddressPort(Family::V4) => 8,
            Key::Port(Family::V6) | Key::AddressPort(Family::V6) => 20,
        }
    }
}
