//! A rule: conditions, then what to do. Each part knows how nft(8) writes
//! it and which expressions of the kernel's virtual machine it becomes.
//!
//! The machine has sixteen registers of four bytes. They are numbered from 8;
//! 1 to 4 name groups of four of them. A condition loads a register and
//! compares it: a rule ends where a comparison fails.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::wire::Attributes;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Family {
    V4,
    V6,
}

impl Family {
    /// As nft writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    /// In bytes.
    pub(super) fn address_length(self) -> u32 {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    /// Where the header has the source and the destination address.
    fn address_offset(self, destination: bool) -> u32 {
        let source = if self == Family::V4 { 12 } else { 8 };
        source + if destination { self.address_length() } else { 0 }
    }

    fn of(net: &IpNet) -> Family {
        if net.addr().is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// One condition or action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) enum Part {
    /// Came in by any but this interface.
    NotFrom(String),
    /// Came in by one of the set.
    FromOneOf(&'static str),
    /// Goes out by any but this interface.
    NotTo(String),
    /// Goes out by one of the set.
    ToOneOf(&'static str),
    /// The pair of interfaces is in the set.
    Pair(&'static str),
    /// Source, destination, protocol and port are in the set.
    Link(&'static str),
    /// Source and outgoing interface are in the set.
    SourceTo(Family, &'static str),
    /// Source and outgoing interface are not in the set.
    NotSourceTo(Family, &'static str),
    /// Comes from one of the set's networks.
    SourceOneOf(Family, &'static str),
    /// Is of this family.
    Is(Family),
    /// Comes from this network.
    Source(IpNet),
    /// Goes to this network.
    Destination(IpNet),
    /// Does not go to this IPv6 address.
    NotTo6(Ipv6Addr),
    /// Goes to one of the host's own addresses.
    ToThisHost,
    /// Belongs to a connection that was let through.
    Established,
    /// Belongs to a connection whose destination was rewritten.
    Rewritten,
    /// Has this port in its UDP or TCP header.
    Port(Port),
    /// Write this port into the header.
    SetPort(Port),
    Accept,
    Drop,
    Jump(&'static str),
    /// Rewrite the source to that of the outgoing interface.
    Masquerade,
    /// Rewrite the destination to what the map holds for protocol and port,
    /// or for address, protocol and port.
    Rewrite {
        family: Family,
        by_address: bool,
        map: &'static str,
    },
}

/// A port in a packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct Port {
    pub(in crate::network) udp: bool,
    /// The source port, not the destination's.
    pub(in crate::network) source: bool,
    pub(in crate::network) number: u16,
}

impl Port {
    /// `udp dport`.
    fn field(self) -> String {
        let protocol = if self.udp { "udp" } else { "tcp" };
        let side = if self.source { "sport" } else { "dport" };
        format!("{protocol} {side}")
    }

    /// `IPPROTO_UDP`, `IPPROTO_TCP`.
    fn protocol(self) -> u8 {
        if self.udp { 17 } else { 6 }
    }

    /// Where the header has it.
    fn offset(self) -> u32 {
        if self.source { 0 } else { 2 }
    }

    /// Where the header has its checksum.
    fn checksum(self) -> u32 {
        if self.udp { 6 } else { 16 }
    }
}

/// Parts, all of which must agree.
pub(in crate::network) type Rule = Vec<Part>;

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::NotFrom(it) => write!(out, "iifname != \"{it}\""),
            Part::FromOneOf(it) => write!(out, "iifname @{it}"),
            Part::NotTo(it) => write!(out, "oifname != \"{it}\""),
            Part::ToOneOf(it) => write!(out, "oifname @{it}"),
            Part::Pair(it) => write!(out, "iifname . oifname @{it}"),
            Part::Link(it) => write!(
                out,
                "ip saddr . ip daddr . meta l4proto . th dport @{it}"
            ),
            Part::SourceTo(family, it) => {
                write!(out, "{} saddr . oifname @{it}", family.name())
            }
            Part::NotSourceTo(family, it) => {
                write!(out, "{} saddr . oifname != @{it}", family.name())
            }
            Part::SourceOneOf(family, it) => {
                write!(out, "{} saddr @{it}", family.name())
            }
            Part::Is(Family::V4) => write!(out, "meta nfproto ipv4"),
            Part::Is(Family::V6) => write!(out, "meta nfproto ipv6"),
            Part::Source(it) => {
                write!(out, "{} saddr {it}", Family::of(it).name())
            }
            Part::Destination(it) => {
                write!(out, "{} daddr {it}", Family::of(it).name())
            }
            Part::NotTo6(it) => write!(out, "ip6 daddr != {it}"),
            Part::ToThisHost => write!(out, "fib daddr type local"),
            Part::Established => write!(out, "ct state established,related"),
            Part::Rewritten => write!(out, "ct status dnat"),
            Part::Port(it) => write!(out, "{} {}", it.field(), it.number),
            Part::SetPort(it) => {
                write!(out, "{} set {}", it.field(), it.number)
            }
            Part::Accept => write!(out, "accept"),
            Part::Drop => write!(out, "drop"),
            Part::Jump(it) => write!(out, "jump {it}"),
            Part::Masquerade => write!(out, "masquerade"),
            Part::Rewrite { family, by_address, map } => {
                let ip = family.name();
                let address = match by_address {
                    true => format!("{ip} daddr . "),
                    false => String::new(),
                };
                write!(
                    out,
                    "dnat {ip} to {address}meta l4proto . th dport map @{map}"
                )
            }
        }
    }
}

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;

/// The kernel's expressions for a rule: `NFTA_RULE_EXPRESSIONS`.
pub(super) fn encode(rule: &Rule) -> Attributes {
    let mut code = Code::default();
    for part in rule {
        code.part(part);
    }
    code.expressions
}

#[derive(Default)]
struct Code {
    expressions: Attributes,
    /// What the rule has asked for already.
    family: Option<Family>,
}

impl Code {
    fn part(&mut self, part: &Part) {
        match part {
            Part::NotFrom(it) => self.not_interface(META_IIFNAME, it),
            Part::NotTo(it) => self.not_interface(META_OIFNAME, it),
            Part::FromOneOf(it) => self.one_of(META_IIFNAME, it),
            Part::ToOneOf(it) => self.one_of(META_OIFNAME, it),
            Part::Pair(set) => {
                self.meta(META_IIFNAME, 1);
                self.meta(META_OIFNAME, 2);
                self.lookup(set, None);
            }
            Part::Link(set) => self.link(set),
            Part::SourceTo(family, set) => {
                self.source_and_way_out(*family);
                self.lookup(set, None);
            }
            Part::NotSourceTo(family, set) => {
                self.source_and_way_out(*family);
                self.lookup_not(set);
            }
            Part::SourceOneOf(family, set) => {
                self.source(*family);
                self.lookup(set, None);
            }
            Part::Is(family) => self.family(*family),
            Part::Source(net) => self.network(net, EQUAL, false),
            Part::Destination(net) => self.network(net, EQUAL, true),
            Part::NotTo6(it) => {
                let net = IpNet::from(IpAddr::V6(*it));
                self.network(&net, DIFFERENT, true);
            }
            Part::ToThisHost => self.addressed_to_host(),
            // Established is bit 1 of the state, related bit 2.
            Part::Established => self.conntrack(CT_STATE, 0b110),
            // IPS_DST_NAT.
            Part::Rewritten => self.conntrack(CT_STATUS, 1 << 5),
            Part::Port(it) => self.port(*it),
            Part::SetPort(it) => self.set_port(*it),
            Part::Accept => self.verdict(1, None),
            Part::Drop => self.verdict(0, None),
            // NFT_JUMP is -3.
            Part::Jump(chain) => self.verdict(-3, Some(chain)),
            Part::Masquerade => self.expression("masq", |_| {}),
            Part::Rewrite { family, by_address, map } => {
                self.rewrite(*family, *by_address, map);
            }
        }
    }

    /// `NFTA_LIST_ELEM` of `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes)) {
        self.expressions.nest(1, |it| {
            it.text(1, name).nest(2, fill);
        });
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |it| {
            it.number(1, register).number(2, key);
        });
    }

    fn compare(&mut self, operation: u32, value: &[u8]) {
        self.expression("cmp", |it| {
            it.number(1, 1).number(2, operation).nest(3, |data| {
                data.bytes(1, value);
            });
        });
    }

    fn not_interface(&mut self, key: u32, name: &str) {
        self.meta(key, 1);
        self.compare(DIFFERENT, &interface_key(name));
    }

    fn one_of(&mut self, key: u32, set: &str) {
        self.meta(key, 1);
        self.lookup(set, None);
    }

    fn lookup(&mut self, set: &str, into: Option<u32>) {
        self.expression("lookup", |it| {
            it.text(1, set).number(2, 1);
            if let Some(register) = into {
                it.number(3, register);
            }
        });
    }

    fn lookup_not(&mut self, set: &str) {
        const INVERTED: u32 = 1;
        self.expression("lookup", |it| {
            it.text(1, set).number(2, 1).number(5, INVERTED);
        });
    }

    /// Where a header has its fields depends on the family, so each part
    /// that loads one makes sure of that first.
    fn family(&mut self, family: Family) {
        if self.family.replace(family) == Some(family) {
            return;
        }
        self.meta(META_NFPROTO, 1);
        self.compare(EQUAL, &[family.number()]);
    }

    fn payload(&mut self, register: u32, base: u32, at: u32, length: u32) {
        self.expression("payload", |it| {
            it.number(1, register)
                .number(2, base)
                .number(3, at)
                .number(4, length);
        });
    }

    /// An address of the packet under a mask. Of a prefix that ends at a
    /// byte's border only those bytes are loaded, as nft does.
    fn network(&mut self, net: &IpNet, operation: u32, destination: bool) {
        let family = Family::of(net);
        self.family(family);
        let at = family.address_offset(destination);
        let mut bytes = match net.network() {
            IpAddr::V4(it) => it.octets().to_vec(),
            IpAddr::V6(it) => it.octets().to_vec(),
        };
        let bits = usize::from(net.prefix_len());
        let whole_bytes = bits % 8 == 0 && bits > 0;
        if whole_bytes {
            bytes.truncate(bits / 8);
        }
        let length = bytes.len();
        self.payload(1, 1, at, length as u32);
        if !whole_bytes {
            let mask = mask(bits, length);
            self.bitwise(&mask);
        }
        self.compare(operation, &bytes);
    }

    fn source(&mut self, family: Family) {
        self.family(family);
        let at = family.address_offset(false);
        self.payload(8, 1, at, family.address_length());
    }

    /// The source address, and in the registers behind it the interface.
    fn source_and_way_out(&mut self, family: Family) {
        self.source(family);
        self.meta(META_OIFNAME, 8 + family.address_length() / 4);
    }

    /// The four parts of the key, each in a register of its own.
    fn link(&mut self, set: &str) {
        self.family(Family::V4);
        self.payload(8, 1, 12, 4);
        self.payload(9, 1, 16, 4);
        self.service(10);
        self.lookup(set, None);
    }

    /// Protocol and destination port into two registers; both TCP and UDP
    /// have the port at offset 2.
    fn service(&mut self, register: u32) {
        self.meta(META_L4PROTO, register);
        self.payload(register + 1, 2, 2, 2);
    }

    fn bitwise(&mut self, mask: &[u8]) {
        self.expression("bitwise", |it| {
            it.number(1, 1).number(2, 1).number(3, mask.len() as u32);
            it.nest(4, |data| {
                data.bytes(1, mask);
            });
            it.nest(5, |data| {
                data.bytes(1, &vec![0; mask.len()]);
            });
        });
    }

    fn addressed_to_host(&mut self) {
        const ADDRESS_TYPE: u32 = 3;
        const BY_DESTINATION: u32 = 2;
        const RTN_LOCAL: u32 = 2;
        self.expression("fib", |it| {
            it.number(1, 1).number(2, ADDRESS_TYPE).number(3, BY_DESTINATION);
        });
        self.compare(EQUAL, &RTN_LOCAL.to_ne_bytes());
    }

    /// Whether any of the bits is set.
    fn conntrack(&mut self, key: u32, bits: u32) {
        self.expression("ct", |it| {
            it.number(1, 1).number(2, key);
        });
        self.bitwise(&bits.to_ne_bytes());
        self.compare(DIFFERENT, &[0; 4]);
    }

    fn port(&mut self, port: Port) {
        self.meta(META_L4PROTO, 1);
        self.compare(EQUAL, &[port.protocol()]);
        self.payload(1, 2, port.offset(), 2);
        self.compare(EQUAL, &port.number.to_be_bytes());
    }

    /// Comes after a [`Part::Port`] of the same protocol.
    fn set_port(&mut self, port: Port) {
        const INTERNET_CHECKSUM: u32 = 1;
        self.expression("immediate", |it| {
            it.number(1, 1).nest(2, |data| {
                data.bytes(1, &port.number.to_be_bytes());
            });
        });
        self.expression("payload", |it| {
            it.number(5, 1).number(2, 2).number(3, port.offset());
            it.number(4, 2).number(6, INTERNET_CHECKSUM);
            it.number(7, port.checksum());
        });
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |it| {
            it.number(1, 0).nest(2, |data| {
                data.nest(2, |verdict| {
                    verdict.number(1, code as u32);
                    if let Some(chain) = chain {
                        verdict.text(2, chain);
                    }
                });
            });
        });
    }

    /// The key goes into consecutive registers, the map's value comes back
    /// into the same: the address first, the port in the next free one.
    fn rewrite(&mut self, family: Family, by_address: bool, map: &str) {
        let mut next = 8;
        if by_address {
            self.family(family);
            let length = family.address_length();
            self.payload(next, 1, family.address_offset(true), length);
            next += length / 4;
        }
        self.service(next);
        self.lookup(map, Some(1));
        let port = if family == Family::V4 { 9 } else { 12 };
        self.expression("nat", |it| {
            const DNAT: u32 = 1;
            it.number(1, DNAT).number(2, family.number().into());
            it.number(3, 1).number(4, 1).number(5, port).number(6, port);
        });
    }
}

fn mask(bits: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|nth| {
            let here = bits.saturating_sub(nth * 8).min(8);
            (0xff00u16 >> here) as u8
        })
        .collect()
}

/// An interface's name as a register holds it.
pub(super) fn interface_key(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}
