//! Sets and their elements as messages.

use std::net::IpAddr;

use ipnet::IpNet;

use super::rule::interface_key;
use super::set::{Element, Key, Set};
use super::wire::{Attributes, Batch, Verb};

/// An element as the kernel takes it: key and value as registers hold them.
#[derive(Default)]
struct Record {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    /// The last key of an interval whose key has several parts.
    last: Option<Vec<u8>>,
    /// Is itself no key, but the first one behind an interval.
    behind: bool,
}

impl Record {
    fn of(key: Vec<u8>) -> Record {
        Record { key, ..Record::default() }
    }
}

impl Element {
    fn records(&self) -> Vec<Record> {
        let record = match self {
            Element::Interface(it) => Record::of(interface_key(it)),
            Element::Pair(from, to) => {
                Record::of([interface_key(from), interface_key(to)].concat())
            }
            Element::Net(net) => return interval(net),
            Element::NetInterface(net, it) => {
                let with = |at| [octets(at), interface_key(it)].concat();
                let last = Some(with(net.broadcast()));
                Record { last, ..Record::of(with(net.network())) }
            }
            Element::Port { host, udp, port, to } => {
                let mut key = host.map(octets).unwrap_or_default();
                key.extend(service(*udp, *port));
                let mut value = octets(to.0);
                value.extend(to.1.to_be_bytes());
                value.extend([0, 0]);
                Record { value: Some(value), ..Record::of(key) }
            }
            Element::Link { from, to, udp, port } => {
                let mut key = from.octets().to_vec();
                key.extend(to.octets());
                key.extend(service(*udp, *port));
                Record::of(key)
            }
        };
        vec![record]
    }
}

/// The first address, and the one behind the last, if there is one.
fn interval(net: &IpNet) -> Vec<Record> {
    let mut behind = octets(net.broadcast());
    let mut carry = true;
    for byte in behind.iter_mut().rev() {
        if carry {
            (*byte, carry) = byte.overflowing_add(1);
        }
    }
    let mut records = vec![Record::of(octets(net.network()))];
    if !carry {
        records.push(Record { behind: true, ..Record::of(behind) });
    }
    records
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
        for record in some.iter().flat_map(Element::records) {
            list.nest(1, |it| record.put(it));
        }
        let mut message = Attributes::default();
        message.text(1, table).text(2, set).nested(3, &list);
        batch.push(verb, &message);
    }
}

impl Record {
    fn put(&self, out: &mut Attributes) {
        const INTERVAL_END: u32 = 1;
        let mut data = |kind, bytes: &[u8]| {
            out.nest(kind, |data| {
                data.bytes(1, bytes);
            });
        };
        data(1, &self.key);
        if let Some(value) = &self.value {
            data(2, value);
        }
        if let Some(last) = &self.last {
            data(10, last);
        }
        if self.behind {
            out.number(3, INTERVAL_END);
        }
    }
}

impl Set {
    pub(super) fn create(&self, table: &str, id: u32, batch: &mut Batch) {
        const INTERVAL: u32 = 4;
        const MAP: u32 = 8;
        const CONCATENATED: u32 = 0x80;
        let (key, value) = self.key.type_numbers();
        let mut set = Attributes::default();
        set.text(1, table).text(2, self.name);
        let is_map = self.key.value_length() > 0;
        let parts = self.key.parts();
        let mut flags = if is_map { MAP } else { 0 };
        if self.key.is_interval() {
            flags |= INTERVAL;
        }
        if !parts.is_empty() {
            flags |= CONCATENATED;
        }
        set.number(3, flags);
        set.number(4, key).number(5, self.key.length());
        if is_map {
            set.number(6, value).number(7, self.key.value_length());
        }
        if !parts.is_empty() {
            set.nest(9, |description| {
                description.nest(2, |list| {
                    for length in parts {
                        list.nest(1, |part| {
                            part.number(1, length);
                        });
                    }
                });
            });
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
