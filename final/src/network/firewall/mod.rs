//! What the firewall lets through, as one table of our own.
//!
//! ```text
//!            guard ──▶ prerouting ──▶ forward ──▶ postrouting
//!  packet ─▶ no 127/8   host port to   who may     source to the
//!            from wire  container      reach whom  host's address
//!                       ▲
//!            output ────┘ (from the host itself)
//! ```
//! The rules never change. What they ask for does, in sets and maps: a
//! network is an element in some of them, a published port is one in a map.
//! So a change is a transaction of its own size, however many networks and
//! ports there are, and no packet passes a rule more.

mod chains;
mod sets;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard};

use ipnet::IpNet;

use super::Error;
use super::nft::{Batch, Element, Family, Nft, Set, Table};
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
        state.bridges = bridges;
        state.forwards = forwards;
        state.links = links;
        let batch = self.table(&state).replace();
        let Some(nft) = &mut state.nft else { return };
        if let Err(error) = nft.commit("install the firewall", batch) {
            state.lose(&error);
        }
    }

    /// Makes the bridges these, with ports and links left as they are.
    pub(super) fn set_bridges(&self, bridges: Vec<Bridge>) {
        let mut state = self.lock();
        let before = sets::of_bridges(&state.bridges);
        let after = sets::of_bridges(&bridges);
        state.bridges = bridges;
        let batch = self.difference(&before, &after);
        let done = self.commit(&mut state, "change the networks", batch);
        if let Err(error) = done {
            state.lose(&error);
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
        let before = sets::of_links(&state.links);
        let after = sets::of_links(&links);
        state.links = links;
        let batch = self.difference(&[before], &[after]);
        self.commit(&mut state, "let linked containers through", batch)
    }

    /// What makes the first sets the second ones, which have their names.
    fn difference(&self, before: &[Set], after: &[Set]) -> Option<Batch> {
        let mut batch = None;
        for (old, new) in before.iter().zip(after) {
            let gone = missing(&old.elements, &new.elements);
            if !gone.is_empty() {
                let batch = batch.get_or_insert_with(Batch::new);
                batch.remove(&self.table, old.name, &gone);
            }
            let came = missing(&new.elements, &old.elements);
            if !came.is_empty() {
                let batch = batch.get_or_insert_with(Batch::new);
                batch.add(&self.table, new.name, &came);
            }
        }
        batch
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
        for map in sets::of_forwards(forwards) {
            if !map.elements.is_empty() {
                put(&mut batch, &self.table, map.name, &map.elements);
            }
        }
        Some(batch)
    }

    fn table(&self, state: &State) -> Table {
        let mut sets = sets::of_bridges(&state.bridges);
        sets.push(sets::of_interfaces("outside", &self.outside));
        sets.push(sets::of_links(&state.links));
        sets.extend(sets::of_forwards(&state.forwards));
        let chains = vec![
            rewriting("publish4", Family::V4, "ports4_at", "ports4"),
            rewriting("publish6", Family::V6, "ports6_at", "ports6"),
            guard(),
            prerouting(),
            output(),
            postrouting(),
            forward(),
        ];
        Table { name: self.table.clone(), sets, chains }
    }
}

impl State {
    fn lose(&mut self, error: &Error) {
        self.lost = Some(error.to_string());
        self.nft = None;
    }
}

/// Those of the first that are not among the second. Both are sorted.
fn missing(these: &[Element], others: &[Element]) -> Vec<Element> {
    let new = these.iter().filter(|it| others.binary_search(it).is_err());
    new.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(nth: u8, net: &str) -> Bridge {
        Bridge {
            name: format!("br-{nth}"),
            subnets: vec![net.parse().unwrap()],
            internal: false,
            icc: true,
            rewrites_inside: false,
            masquerade: true,
        }
    }

    #[test]
    fn a_network_is_a_few_elements_however_many_others_there_are() {
        let many = |count: u8| {
            let all =
                (0..count).map(|it| bridge(it, &format!("10.0.{it}.0/24")));
            sets::of_bridges(&all.collect::<Vec<_>>())
        };
        let (before, after) = (many(200), many(201));
        let new = |these: &[Set], others: &[Set]| -> usize {
            let pairs = these.iter().zip(others);
            pairs
                .map(|(it, old)| missing(&it.elements, &old.elements).len())
                .sum()
        };
        assert_eq!(new(&after, &before), 4);
        assert_eq!(new(&before, &after), 0);
    }

    #[test]
    fn of_networks_that_overlap_the_widest_is_masqueraded() {
        let all = [bridge(1, "10.0.1.0/24"), bridge(2, "10.0.0.0/16")];
        let sets = sets::of_bridges(&all);
        let set = sets.iter().find(|it| it.name == "masquerade4").unwrap();
        let widest = Element::Net("10.0.0.0/16".parse().unwrap());
        assert_eq!(set.elements, [widest]);
    }
}
