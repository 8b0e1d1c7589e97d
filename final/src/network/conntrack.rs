//! Forgets UDP conversations that a published port has made wrong.
//!
//! Rewriting is decided once per conversation, when its first packet comes.
//! A client that goes on sending while a container restarts keeps a UDP
//! conversation alive that leads to where the container was, or nowhere.
//! TCP has no such trouble: its connections end.

use super::netlink::{ACK, DUMP, Message, Socket, attributes_of};

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message type.
const CONNTRACK: u16 = 1 << 8;
const GET: u16 = CONNTRACK | 1;
const DELETE: u16 = CONNTRACK | 2;
/// `nfgenmsg`.
const HEADER: usize = 4;
const TUPLE_ORIGINAL: u16 = 1;
const ID: u16 = 12;
const UDP: u8 = 17;

/// Forgets the conversations with these UDP ports of the host. This is help
/// for others' clients and never a reason to fail.
pub(super) fn forget_udp(ports: &[u16]) {
    if ports.is_empty() {
        return;
    }
    let Ok(mut socket) = Socket::open(libc::NETLINK_NETFILTER) else {
        return;
    };
    for family in [libc::AF_INET, libc::AF_INET6] {
        let body = vec![family as u8, 0, 0, 0];
        let query = Message { kind: GET, flags: DUMP, body };
        let all = socket.call(&[query]).unwrap_or_default();
        for (_, entry) in all {
            if udp_port(&entry).is_some_and(|it| ports.contains(&it)) {
                let _ = socket.call(&[deletion(&entry)]);
            }
        }
    }
}

/// The destination port of a UDP conversation's first packet.
fn udp_port(entry: &[u8]) -> Option<u16> {
    const PROTOCOL_PART: u16 = 2;
    const NUMBER: u16 = 1;
    const DESTINATION_PORT: u16 = 3;
    let tuple = find(entry.get(HEADER..)?, TUPLE_ORIGINAL)?;
    let protocol = find(tuple, PROTOCOL_PART)?;
    (find(protocol, NUMBER)?.first() == Some(&UDP)).then_some(())?;
    let port = find(protocol, DESTINATION_PORT)?;
    Some(u16::from_be_bytes(port.try_into().ok()?))
}

/// By its first packet and its ID: a conversation that began meanwhile in
/// the same place is spared.
fn deletion(entry: &[u8]) -> Message {
    let mut body = entry.get(..HEADER).unwrap_or_default().to_vec();
    for kind in [TUPLE_ORIGINAL, ID] {
        let value = entry.get(HEADER..).and_then(|it| find(it, kind));
        let value = value.unwrap_or_default();
        let nested = if kind == TUPLE_ORIGINAL { 0x8000 } else { 0 };
        body.extend(((value.len() + 4) as u16).to_ne_bytes());
        body.extend((kind | nested).to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    Message { kind: DELETE, flags: ACK, body }
}

fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes_of(attributes).find(|it| it.0 == kind).map(|it| it.1)
}
