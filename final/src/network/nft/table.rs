//! A table: sets, maps, chains, and how to write it down and send it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::rule::{Family, Rule, encode, interface_key};
use super::wire::{Attributes, Batch, Verb};

/// A table of the `inet` family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Table {
    pub(in crate::network) name: String,
    pub(in crate::network) sets: Vec<Set>,
    pub(in crate::network) chains: Vec<Chain>,
}

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

/// Rules, and where packets enter them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Chain {
    pub(in crate::network) name: &'static str,
    pub(in crate::network) hook: Option<Hook>,
    pub(in crate::network) rules: Vec<Rule>,
}

/// A chain's place on the way of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Hook {
    /// Before connections are tracked.
    Raw,
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    Forward,
    /// What the namespace's own processes send, before routing it again.
    Output,
}

impl Hook {
    /// Type, hook and priority: for the kernel, and as nft prints them.
    fn parts(self) -> (&'static str, u32, i32, &'static str) {
        match self {
            Hook::Raw => {
                ("filter", 0, -300, "type filter hook prerouting priority raw")
            }
            Hook::NatPrerouting => {
                ("nat", 0, -100, "type nat hook prerouting priority dstnat")
            }
            Hook::NatOutput => {
                ("nat", 3, -100, "type nat hook output priority -100")
            }
            Hook::NatPostrouting => {
                ("nat", 4, 100, "type nat hook postrouting priority srcnat")
            }
            Hook::Forward => {
                ("filter", 2, 0, "type filter hook forward priority filter")
            }
            Hook::Output => {
                ("filter", 3, 0, "type filter hook output priority filter")
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "table inet {} {{", self.name)?;
        for set in &self.sets {
            writeln!(out, "{set}")?;
        }
        for (nth, chain) in self.chains.iter().enumerate() {
            let between = if nth == 0 { "" } else { "\n" };
            write!(out, "{between}{chain}")?;
        }
        writeln!(out, "}}")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.key.value_length() > 0 { "map" } else { "set" };
        writeln!(out, "\t{kind} {} {{", self.name)?;
        writeln!(out, "\t\ttype {}", self.key)?;
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

impl fmt::Display for Chain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\tchain {} {{", self.name)?;
        if let Some(hook) = self.hook {
            writeln!(out, "\t\t{}; policy accept;", hook.parts().3)?;
        }
        for rule in &self.rules {
            let parts: Vec<String> =
                rule.iter().map(|it| it.to_string()).collect();
            writeln!(out, "\t\t{}", parts.join(" "))?;
        }
        writeln!(out, "\t}}")
    }
}

impl Key {
    /// nft's numbers for the types, six bits each; only for its listing.
    fn type_numbers(self) -> (u32, u32) {
        const IFNAME: u32 = 41;
        const PROTOCOL: u32 = 12;
        const PORT: u32 = 13;
        let join = |all: &[u32]| all.iter().fold(0, |sum, it| sum << 6 | it);
        let address = |family| if family == Family::V4 { 7 } else { 8 };
        match self {
            Key::Interface => (IFNAME, 0),
            Key::InterfacePair => (join(&[IFNAME, IFNAME]), 0),
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
    fn length(self) -> u32 {
        let address = |family| if family == Family::V4 { 4 } else { 16 };
        match self {
            Key::Interface => 16,
            Key::InterfacePair => 32,
            Key::Link => 16,
            Key::Port(_) => 8,
            Key::AddressPort(it) => 8 + address(it),
        }
    }

    /// In bytes; 0 for a set.
    fn value_length(self) -> u32 {
        match self {
            Key::Interface | Key::InterfacePair | Key::Link => 0,
            Key::Port(Family::V4) | Key::AddressPort(Family::V4) => 8,
            Key::Port(Family::V6) | Key::AddressPort(Family::V6) => 20,
        }
    }
}

impl Element {
    /// Key and value as registers hold them.
    fn bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Element::Interface(it) => (interface_key(it), None),
            Element::Pair(from, to) => {
                ([interface_key(from), interface_key(to)].concat(), None)
            }
            Element::Port { host, udp, port, to } => {
                let mut key = host.map(octets).unwrap_or_default();
                key.extend(service(*udp, *port));
                let mut value = octets(to.0);
                value.extend(to.1.to_be_bytes());
                value.extend([0, 0]);
                (key, Some(value))
            }
            Element::Link { from, to, udp, port } => {
                let mut key = from.octets().to_vec();
                key.extend(to.octets());
                key.extend(service(*udp, *port));
                (key, None)
            }
        }
    }
}

/// Protocol and port, each in a register of four bytes.
fn service(udp: bool, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [if udp { 17 } else { 6 }, 0, 0, 0, high, low, 0, 0]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => it.octets().to_vec(),
    }
}

impl Table {
    /// Replaces the kernel's table of this name by this one.
    pub(in crate::network) fn replace(&self) -> Batch {
        let mut batch = Self::delete(&self.name);
        self.put(&mut batch);
        batch
    }

    /// Makes a table where there is none of this name.
    pub(in crate::network) fn create(&self) -> Batch {
        let mut batch = Batch::new();
        self.put(&mut batch);
        batch
    }

    fn put(&self, batch: &mut Batch) {
        let mut table = Attributes::default();
        batch.push(Verb::NewTable, table.text(1, &self.name));
        for (nth, set) in self.sets.iter().enumerate() {
            set.create(&self.name, nth as u32 + 1, batch);
            batch.add(&self.name, set.name, &set.elements);
        }
        for chain in &self.chains {
            chain.create(&self.name, batch);
        }
        // Rules last: they jump to chains that must be there.
        for chain in &self.chains {
            chain.fill(&self.name, batch);
        }
    }

    /// Deletes the kernel's table of this name, if there is one: the empty
    /// creation before it makes that no error.
    pub(in crate::network) fn delete(name: &str) -> Batch {
        let mut batch = Batch::new();
        let mut table = Attributes::default();
        table.text(1, name);
        batch.push(Verb::NewTable, &table);
        batch.push(Verb::DeleteTable, &table);
        batch
    }
}

impl Batch {
    /// Puts elements into a set.
    pub(in crate::network) fn add(
        &mut self,
        table: &str,
        set: &str,
        elements: &[Element],
    ) {
        send(Verb::NewElement, table, set, elements, self);
    }

    /// Takes elements out of a set; all must be there.
    pub(in crate::network) fn remove(
        &mut self,
        table: &str,
        set: &str,
        elements: &[Element],
    ) {
        send(Verb::DeleteElement, table, set, elements, self);
    }
}

/// A list attribute has 64 KiB at most, so many elements take several
/// messages.
fn send(
    verb: Verb,
    table: &str,
    set: &str,
    elements: &[Element],
    batch: &mut Batch,
) {
    for some in elements.chunks(256) {
        let mut list = Attributes::default();
        for element in some {
            list.nest(1, |it| element_attributes(element, it));
        }
        let mut message = Attributes::default();
        message.text(1, table).text(2, set).nested(3, &list);
        batch.push(verb, &message);
    }
}

fn element_attributes(element: &Element, out: &mut Attributes) {
    let (key, value) = element.bytes();
    out.nest(1, |data| {
        data.bytes(1, &key);
    });
    if let Some(value) = value {
        out.nest(2, |data| {
            data.bytes(1, &value);
        });
    }
}

impl Set {
    fn create(&self, table: &str, id: u32, batch: &mut Batch) {
        const MAP: u32 = 8;
        let (key, value) = self.key.type_numbers();
        let mut set = Attributes::default();
        set.text(1, table).text(2, self.name);
        let is_map = self.key.value_length() > 0;
        set.number(3, if is_map { MAP } else { 0 });
        set.number(4, key).number(5, self.key.length());
        if is_map {
            set.number(6, value).number(7, self.key.value_length());
        }
        set.number(10, id);
        if self.key == Key::Interface {
            // A note for nft(8), which takes the key for a number in
            // network order otherwise: attribute 0 of 4 bytes, and
            // BYTEORDER_HOST_ENDIAN.
            let mut note = vec![0, 4];
            note.extend(1u32.to_ne_bytes());
            set.bytes(13, &note);
        }
        batch.push(Verb::NewSet, &set);
    }
}

impl Chain {
    fn create(&self, table: &str, batch: &mut Batch) {
        const ACCEPT: u32 = 1;
        let mut chain = Attributes::default();
        chain.text(1, table).text(3, self.name);
        if let Some(hook) = self.hook {
            let (kind, number, priority, _) = hook.parts();
            chain.nest(4, |it| {
                it.number(1, number).number(2, priority as u32);
            });
            chain.number(5, ACCEPT).text(7, kind);
        }
        batch.push(Verb::NewChain, &chain);
    }

    fn fill(&self, table: &str, batch: &mut Batch) {
        for rule in &self.rules {
            let mut message = Attributes::default();
            message.text(1, table).text(2, self.name);
            message.nested(4, &encode(rule));
            batch.push(Verb::NewRule, &message);
        }
    }
}
