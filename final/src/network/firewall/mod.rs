//! What the firewall lets through, as one table of our own.
//!
//! ```text
//!            guard ──▶ prerouting ──▶ forward ──▶ postrouting
//!  packet ─▶ no 127/8   host port to   who may     source to the
//!            from wire  container      reach whom  host's address
//!                       ▲
//!            output ────┘ (from the host itself)
//! ```
//! Networks change rarely: the table is then rebuilt as a whole, in one
//! transaction. Published ports change often: each is one map element.

mod chains;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard};

use ipnet::IpNet;

use super::Error;
use super::nft::{Batch, Element, Family, Key, Nft, Set, Table};
use chains::{forward, guard, output, postrouting, prerouting, rewriting};

/// What the firewall must know of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) subnets: Vec<IpNet>,
    /// Neither in nor out.
    pub(super) internal: bool,
    /// Whether its containers may talk to each other.
    pub(super) icc: bool,
    /// Keeps them apart, on a host whose br_netfilter rewrites packets
    /// before they have left the bridge.
    pub(super) rewrites_inside: bool,
    /// Whether they leave the host under the host's address.
    pub(super) masquerade: bool,
}

/// A host port that leads to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    /// One address of the host, or all of the family of `to`.
    pub(super) host: Option<IpAddr>,
    pub(super) udp: bool,
    pub(super) port: u16,
    pub(super) to: (IpAddr, u16),
}

/// Lets one container reach a port of another although their bridge keeps
/// its containers apart: what `--link` does there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    pub(super) udp: bool,
    pub(super) port: u16,
}

/// The table, as it should be and as the kernel has it.
#[derive(Debug)]
pub(super) struct Firewall {
    table: String,
    /// The interfaces between which the host did not route until this
    /// engine made it a router.
    outside: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` if the kernel has no nf_tables.
    nft: Option<Nft>,
    /// Why not.
    lost: Option<String>,
    bridges: Vec<Bridge>,
    forwards: Vec<Forward>,
    links: Vec<Link>,
}

impl Firewall {
    /// Nothing is sent to the kernel before [`Firewall::rebuild`].
    pub(super) fn new(table: String, outside: Vec<String>) -> Firewall {
        let (nft, lost) = match Nft::open() {
            Ok(nft) => (Some(nft), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let state = State {
            nft,
            lost,
            bridges: vec![],
            forwards: vec![],
            links: vec![],
        };
        Firewall { table, outside, state: Mutex::new(state) }
    }

    /// Makes the kernel's table what these demand, whatever it was. A kernel
    /// that cannot is no error: see [`Firewall::lost`].
    pub(super) fn rebuild(
        &self,
        bridges: Vec<Bridge>,
        forwards: Vec<Forward>,
        links: Vec<Link>,
    ) {
        let mut state = self.lock();
        state.forwards = forwards;
        state.links = links;
        self.replace(&mut state, bridges);
    }

    /// Like [`Firewall::rebuild`] with ports and links left as they are.
    pub(super) fn set_bridges(&self, bridges: Vec<Bridge>) {
        self.replace(&mut self.lock(), bridges);
    }

    fn replace(&self, state: &mut State, bridges: Vec<Bridge>) {
        state.bridges = bridges;
        let batch = self.table(state).replace();
        let Some(nft) = &mut state.nft else { return };
        if let Err(error) = nft.commit("install the firewall", batch) {
            state.lost = Some(error.to_string());
            state.nft = None;
        }
    }

    /// Why the kernel cannot do this, if it cannot.
    pub(super) fn lost(&self) -> Option<String> {
        self.lock().lost.clone()
    }

    /// Lets `forwards` in: one element each.
    pub(super) fn publish(&self, forwards: &[Forward]) -> Result<(), Error> {
        let mut state = self.lock();
        let batch = self.change(forwards, Batch::add);
        state.forwards.extend(forwards.iter().cloned());
        let done = self.commit(&mut state, "publish the ports", batch);
        if done.is_err() {
            state.forwards.retain(|it| !forwards.contains(it));
        }
        done
    }

    /// Takes `forwards` back; those that are not there are skipped.
    pub(super) fn unpublish(&self, forwards: &[Forward]) -> Result<(), Error> {
        let mut state = self.lock();
        let (gone, left): (Vec<_>, Vec<_>) =
            state.forwards.drain(..).partition(|it| forwards.contains(it));
        state.forwards = left;
        let batch = self.change(&gone, Batch::remove);
        self.commit(&mut state, "unpublish the ports", batch)
    }

    /// Makes the links in the kernel these.
    pub(super) fn set_links(&self, links: Vec<Link>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.links == links {
            return Ok(());
        }
        let elements = |these: &[Link], others: &[Link]| {
            let new = these.iter().filter(|it| !others.contains(it));
            new.map(Link::element).collect::<Vec<_>>()
        };
        let mut batch = Batch::new();
        let gone = elements(&state.links, &links);
        if !gone.is_empty() {
            batch.remove(&self.table, LINKS, &gone);
        }
        let new = elements(&links, &state.links);
        if !new.is_empty() {
            batch.add(&self.table, LINKS, &new);
        }
        state.links = links;
        self.commit(&mut state, "let linked containers through", Some(batch))
    }

    /// Sends a change. If that fails, somebody has most likely removed the
    /// table (`nft flush ruleset`, a restarted firewall service): what it
    /// should be is known, so it is made again as a whole.
    fn commit(
        &self,
        state: &mut State,
        doing: &str,
        batch: Option<Batch>,
    ) -> Result<(), Error> {
        let (Some(nft), Some(batch)) = (&mut state.nft, batch) else {
            return Ok(());
        };
        if nft.commit(doing, batch).is_ok() {
            return Ok(());
        }
        let whole = self.table(state).replace();
        match &mut state.nft {
            Some(nft) => nft.commit(doing, whole),
            None => Ok(()),
        }
    }

    /// Removes the table from the kernel.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let batch = Table::delete(&self.table);
        match &mut self.lock().nft {
            Some(nft) => nft.commit("remove the firewall", batch),
            None => Ok(()),
        }
    }

    /// As if the kernel had no nf_tables.
    #[cfg(test)]
    pub(super) fn disable(&self, cause: &str) {
        let _ = self.remove();
        let mut state = self.lock();
        state.nft = None;
        state.lost = Some(cause.into());
    }

    /// Chains of others that drop what is forwarded and not accepted.
    pub(super) fn foreign_drops(&self) -> Vec<String> {
        match &mut self.lock().nft {
            Some(nft) => nft.foreign_drops(&self.table),
            None => vec![],
        }
    }

    /// The rules as nft(8) would list them.
    pub(super) fn text(&self) -> String {
        self.table(&self.lock()).to_string()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|it| it.into_inner())
    }

    fn change(
        &self,
        forwards: &[Forward],
        put: impl Fn(&mut Batch, &str, &str, &[Element]),
    ) -> Option<Batch> {
        if forwards.is_empty() {
            return None;
        }
        let mut batch = Batch::new();
        for (map, key) in MAPS {
            let elements = elements(forwards, *key);
            if !elements.is_empty() {
                put(&mut batch, &self.table, map, &elements);
            }
        }
        Some(batch)
    }

    fn table(&self, state: &State) -> Table {
        let mut sets = self.interface_sets(&state.bridges);
        sets.push(Set {
            name: LINKS,
            key: Key::Link,
            elements: state.links.iter().map(Link::element).collect(),
        });
        sets.extend(MAPS.iter().map(|(name, key)| Set {
            name,
            key: *key,
            elements: elements(&state.forwards, *key),
        }));
        let chains = vec![
            rewriting("publish4", Family::V4, "ports4_at", "ports4"),
            rewriting("publish6", Family::V6, "ports6_at", "ports6"),
            guard(),
            prerouting(&state.bridges),
            output(),
            postrouting(&state.bridges),
            forward(),
        ];
        Table { name: self.table.clone(), sets, chains }
    }

    fn interface_sets(&self, bridges: &[Bridge]) -> Vec<Set> {
        let set = |name, names: Vec<&String>| {
            let mut elements: Vec<Element> = names
                .into_iter()
                .map(|it| Element::Interface(it.clone()))
                .collect();
            elements.sort();
            Set { name, key: Key::Interface, elements }
        };
        let all = |internal| {
            let these = bridges.iter().filter(|it| it.internal == internal);
            these.map(|it| &it.name).collect()
        };
        let mut pairs: Vec<Element> = bridges
            .iter()
            .filter(|it| it.icc)
            .map(|it| Element::Pair(it.name.clone(), it.name.clone()))
            .collect();
        pairs.sort();
        vec![
            set("bridges", all(false)),
            set("internal", all(true)),
            set("outside", self.outside.iter().collect()),
            Set { name: "inside", key: Key::InterfacePair, elements: pairs },
        ]
    }
}

const LINKS: &str = "links";

const MAPS: &[(&str, Key)] = &[
    ("ports4", Key::Port(Family::V4)),
    ("ports4_at", Key::AddressPort(Family::V4)),
    ("ports6", Key::Port(Family::V6)),
    ("ports6_at", Key::AddressPort(Family::V6)),
];

impl Link {
    fn element(&self) -> Element {
        let Link { from, to, udp, port } = *self;
        Element::Link { from, to, udp, port }
    }
}

/// The forwards that belong into the map with this key, sorted.
fn elements(forwards: &[Forward], key: Key) -> Vec<Element> {
    let belongs = |it: &&Forward| {
        let v4 = it.to.0.is_ipv4();
        let family = if v4 { Family::V4 } else { Family::V6 };
        key == match it.host {
            None => Key::Port(family),
            Some(_) => Key::AddressPort(family),
        }
    };
    let mut all: Vec<Element> = forwards
        .iter()
        .filter(belongs)
        .map(|it| {
            let Forward { host, udp, port, to } = it.clone();
            Element::Port { host, udp, port, to }
        })
        .collect();
    all.sort();
    all
}
