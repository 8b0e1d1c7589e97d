//! nf_tables, spoken to the kernel over netlink: no `nft`, no `iptables`.
//!
//! A firewall is data here ([`Table`]). The same data is printed as `nft
//! list table` would print it and encoded into one transaction, so what a
//! person reads is what the kernel got:
//!
//! ```text
//! Table ──┬─ Display ──▶ text, as nft(8) writes it
//!         └─ replace ──▶ BATCH_BEGIN, delete, create …, BATCH_END
//! ```
//! A transaction is applied as a whole or not at all.

mod elements;
mod rule;
mod set;
mod table;
mod wire;

pub(super) use rule::{Family, Part, Port, Rule};
pub(super) use set::{Element, Key, Set};
pub(super) use table::{Chain, Hook, Table};
pub(super) use wire::Batch;

use super::Error;
use super::netlink::{Refusal, Socket};

/// A connection to nf_tables of the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Nft {
    socket: Socket,
}

impl Nft {
    pub(super) fn open() -> Result<Nft, Error> {
        let socket = Socket::open(libc::NETLINK_NETFILTER)
            .map_err(|it| refused("open a connection", it.into()))?;
        // A transaction is one datagram, and a table with thousands of
        // published ports does not fit the default of 208 KiB.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(
            &socket,
            8 << 20,
        );
        Ok(Nft { socket })
    }

    /// Sends one transaction.
    pub(super) fn commit(
        &mut self,
        doing: &str,
        batch: Batch,
    ) -> Result<(), Error> {
        let messages = batch.finish();
        self.socket.call(&messages).map(drop).map_err(|it| refused(doing, it))
    }

    /// The chains of other tables that drop what nobody accepts on the
    /// forwarding path, as `family table chain`. An `accept` of ours cannot
    /// overrule them: a packet must pass every chain of a hook.
    pub(super) fn foreign_drops(&mut self, own: &str) -> Vec<String> {
        let query = wire::list_chains();
        let answers = self.socket.call(&[query]).unwrap_or_default();
        answers
            .iter()
            .filter_map(|(_, body)| wire::dropping_chain(body))
            .filter(|(_, table, _)| table != own)
            .map(|(family, table, chain)| format!("{family} {table} {chain}"))
            .collect()
    }
}

fn refused(doing: &str, refusal: Refusal) -> Error {
    let Refusal { errno, said, .. } = refusal;
    Error::Firewall { doing: doing.into(), errno, said }
}
