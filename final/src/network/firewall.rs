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

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard};

use ipnet::{IpNet, Ipv4Net};

use super::Error;
use super::nft::{
    Batch, Chain, Element, Family, Hook, Key, Nft, Part, Rule, Set, Table,
};

/// What the firewall must know of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) subnets: Vec<IpNet>,
    /// Neither in nor out.
    pub(super) internal: bool,
    /// Whether its containers may talk to each other.
    pub(super) icc: bool,
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
}

impl Firewall {
    /// Nothing is sent to the kernel before [`Firewall::rebuild`].
    pub(super) fn new(table: String, outside: Vec<String>) -> Firewall {
        let (nft, lost) = match Nft::open() {
            Ok(nft) => (Some(nft), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let state = State { nft, lost, bridges: vec![], forwards: vec![] };
        Firewall { table, outside, state: Mutex::new(state) }
    }

    /// Makes the kernel's table what `bridges` and `forwards` demand,
    /// whatever it was. A kernel that cannot is no error: see
    /// [`Firewall::lost`].
    pub(super) fn rebuild(&self, bridges: Vec<Bridge>, forwards: Vec<Forward>) {
        let mut state = self.lock();
        state.bridges = bridges;
        state.forwards = forwards;
        let batch = self.table(&state).replace();
        let Some(nft) = &mut state.nft else { return };
        if let Err(error) = nft.commit("install the firewall", batch) {
            state.lost = Some(error.to_string());
            state.nft = None;
        }
    }

    /// Like [`Firewall::rebuild`] with the ports left as they are.
    pub(super) fn set_bridges(&self, bridges: Vec<Bridge>) {
        let forwards = self.lock().forwards.clone();
        self.rebuild(bridges, forwards);
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
        sets.extend(MAPS.iter().map(|(name, key)| Set {
            name,
            key: *key,
            elements: elements(&state.forwards, *key),
        }));
        let chains = vec![
            rewriting("publish4", Family::V4, "ports4_at", "ports4"),
            rewriting("publish6", Family::V6, "ports6_at", "ports6"),
            guard(),
            prerouting(),
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

const MAPS: &[(&str, Key)] = &[
    ("ports4", Key::Port(Family::V4)),
    ("ports4_at", Key::AddressPort(Family::V4)),
    ("ports6", Key::Port(Family::V6)),
    ("ports6_at", Key::AddressPort(Family::V6)),
];

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

fn rewriting(
    name: &'static str,
    family: Family,
    by_address: &'static str,
    by_port: &'static str,
) -> Chain {
    let rewrite =
        |by_address, map| vec![Part::Rewrite { family, by_address, map }];
    let rules = vec![rewrite(true, by_address), rewrite(false, by_port)];
    Chain { name, hook: None, rules }
}

fn loopback() -> IpNet {
    Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into()
}

/// A port published on 127.0.0.1 is for this host only, and so are all the
/// host's own services there; but we route that network to our bridges
/// (route_localnet), and rewriting comes before the kernel would notice
/// that such a packet cannot come from a wire.
fn guard() -> Chain {
    let rules = vec![vec![
        Part::NotFrom("lo".into()),
        Part::Destination(loopback()),
        Part::Drop,
    ]];
    Chain { name: "guard", hook: Some(Hook::Raw), rules }
}

fn prerouting() -> Chain {
    let rule = |family, chain| {
        vec![Part::Is(family), Part::ToThisHost, Part::Jump(chain)]
    };
    let rules =
        vec![rule(Family::V4, "publish4"), rule(Family::V6, "publish6")];
    Chain { name: "prerouting", hook: Some(Hook::NatPrerouting), rules }
}

/// The host's own connections. IPv6 has no route_localnet, so ::1 cannot be
/// rewritten to a container: the forwarder serves it.
fn output() -> Chain {
    let rules = vec![
        vec![Part::Is(Family::V4), Part::ToThisHost, Part::Jump("publish4")],
        vec![
            Part::NotTo6(Ipv6Addr::LOCALHOST),
            Part::ToThisHost,
            Part::Jump("publish6"),
        ],
    ];
    Chain { name: "output", hook: Some(Hook::NatOutput), rules }
}

fn postrouting(bridges: &[Bridge]) -> Chain {
    let mut rules: Vec<Rule> = Vec::new();
    for bridge in bridges.iter().filter(|it| !it.internal) {
        for subnet in &bridge.subnets {
            if bridge.masquerade {
                rules.push(vec![
                    Part::Source(*subnet),
                    Part::NotTo(bridge.name.clone()),
                    Part::Masquerade,
                ]);
            }
            // Hairpin: a container that reaches its own network through
            // the host's port. The answer would go straight back, without
            // passing the rewriting, and be nobody's.
            rules.push(vec![
                Part::Source(*subnet),
                Part::To(bridge.name.clone()),
                Part::Rewritten,
                Part::Masquerade,
            ]);
        }
    }
    // From 127.0.0.1 to a published port: no container can answer that.
    rules.push(vec![
        Part::Source(loopback()),
        Part::ToOneOf("bridges"),
        Part::Masquerade,
    ]);
    Chain { name: "postrouting", hook: Some(Hook::NatPostrouting), rules }
}

/// Who may reach whom. Published ports come before the isolation: their
/// owner has opened them to everybody.
fn forward() -> Chain {
    let rules = vec![
        vec![Part::Established, Part::Accept],
        vec![Part::Pair("inside"), Part::Accept],
        vec![Part::FromOneOf("internal"), Part::Drop],
        vec![Part::ToOneOf("internal"), Part::Drop],
        vec![Part::Rewritten, Part::ToOneOf("bridges"), Part::Accept],
        vec![Part::ToOneOf("bridges"), Part::Drop],
        vec![Part::FromOneOf("outside"), Part::ToOneOf("outside"), Part::Drop],
    ];
    Chain { name: "forward", hook: Some(Hook::Forward), rules }
}
