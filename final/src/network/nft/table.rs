//! A table: sets, maps, chains, and how to write it down and send it.

use std::fmt;

use super::rule::{Rule, encode};
use super::set::Set;
use super::wire::{Attributes, Batch, Verb};

/// A table of the `inet` family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Table {
    pub(in crate::network) name: String,
    pub(in crate::network) sets: Vec<Set>,
    pub(in crate::network) chains: Vec<Chain>,
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
