//! The sets and maps that the rules ask, from what is connected.

use ipnet::IpNet;

use super::{Bridge, Forward, Link};
use crate::network::nft::{Element, Family, Key, Set};

/// What all bridges put into the sets that are about bridges.
pub(super) fn of_bridges(bridges: &[Bridge]) -> Vec<Set> {
    let open = |it: &Bridge| !it.internal;
    let masked = |it: &Bridge| open(it) && it.masquerade;
    let pair =
        |it: &Bridge| vec![Element::Pair(it.name.clone(), it.name.clone())];
    let gather = |name, key, of: &dyn Fn(&Bridge) -> Vec<Element>| {
        set(name, key, bridges.iter().flat_map(of).collect())
    };
    let when = |yes: bool, all: Vec<Element>| if yes { all } else { vec![] };
    let interfaces = |name, which: &dyn Fn(&Bridge) -> bool| {
        gather(name, Key::Interface, &|it| {
            when(which(it), vec![Element::Interface(it.name.clone())])
        })
    };
    let mut sets = vec![
        interfaces("bridges", &open),
        interfaces("internal", &|it| it.internal),
        interfaces("apart", &|it| it.rewrites_inside),
        gather("inside", Key::InterfacePair, &|it| when(it.icc, pair(it))),
    ];
    let names = [
        (Family::V4, "masquerade4", "own4"),
        (Family::V6, "masquerade6", "own6"),
    ];
    for (family, masquerade, own) in names {
        let masked = bridges.iter().filter(|it| masked(it));
        let nets = masked.flat_map(|it| subnets(it, family));
        let nets = outermost(nets.collect()).into_iter();
        sets.push(set(
            masquerade,
            Key::Net(family),
            nets.map(Element::Net).collect(),
        ));
        sets.push(gather(own, Key::NetInterface(family), &|it| {
            let with = |net| Element::NetInterface(net, it.name.clone());
            when(open(it), subnets(it, family).map(with).collect())
        }));
    }
    sets
}

fn subnets(bridge: &Bridge, family: Family) -> impl Iterator<Item = IpNet> {
    let v4 = family == Family::V4;
    let all = bridge.subnets.iter().copied();
    all.filter(move |it| it.addr().is_ipv4() == v4)
}

/// Without those that lie in others. No two networks of ours overlap, but
/// for a default bridge that `--bip` has moved, and the kernel refuses a set
/// whose intervals do.
fn outermost(mut nets: Vec<IpNet>) -> Vec<IpNet> {
    nets.sort();
    nets.dedup_by(|it, wider| wider.contains(&*it));
    nets
}

pub(super) fn of_interfaces(name: &'static str, names: &[String]) -> Set {
    let all = names.iter().cloned().map(Element::Interface).collect();
    set(name, Key::Interface, all)
}

pub(super) fn of_links(links: &[Link]) -> Set {
    let element = |it: &Link| {
        let Link { from, to, udp, port } = *it;
        Element::Link { from, to, udp, port }
    };
    set("links", Key::Link, links.iter().map(element).collect())
}

/// The maps of published ports.
pub(super) fn of_forwards(forwards: &[Forward]) -> Vec<Set> {
    let maps = [
        ("ports4", Key::Port(Family::V4)),
        ("ports4_at", Key::AddressPort(Family::V4)),
        ("ports6", Key::Port(Family::V6)),
        ("ports6_at", Key::AddressPort(Family::V6)),
    ];
    let map = |(name, key)| {
        let these = forwards.iter().filter(|it| it.key() == key);
        set(name, key, these.map(Forward::element).collect())
    };
    maps.into_iter().map(map).collect()
}

impl Forward {
    /// That of the map it belongs into.
    fn key(&self) -> Key {
        let v4 = self.to.0.is_ipv4();
        let family = if v4 { Family::V4 } else { Family::V6 };
        match self.host {
            None => Key::Port(family),
            Some(_) => Key::AddressPort(family),
        }
    }

    fn element(&self) -> Element {
        let Forward { host, udp, port, to } = self.clone();
        Element::Port { host, udp, port, to }
    }
}

fn set(name: &'static str, key: Key, mut elements: Vec<Element>) -> Set {
    elements.sort();
    Set { name, key, elements }
}
