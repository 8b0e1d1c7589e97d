//! The bytes of nf_tables: messages, attributes, transactions
//! (`linux/netfilter/nf_tables.h`). All numbers in attributes are big-endian.

use crate::network::netlink::{ACK, CREATE, DUMP, Message, attributes_of};

/// `NFPROTO_INET`: one table for IPv4 and IPv6.
const INET: u8 = 1;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NESTED: u16 = 0x8000;

/// `NFT_MSG_*`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    GetChain = 4,
    NewRule = 6,
    NewSet = 9,
    NewElement = 12,
    DeleteElement = 14,
}

/// A buffer of netlink attributes.
#[derive(Debug, Default, Clone)]
pub(super) struct Attributes(pub(super) Vec<u8>);

impl Attributes {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = (4 + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(
        &mut self,
        kind: u16,
        inner: &Attributes,
    ) -> &mut Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// Nested attributes that `fill` writes.
    pub(super) fn nest(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut Attributes),
    ) -> &mut Self {
        let mut inner = Attributes::default();
        fill(&mut inner);
        self.nested(kind, &inner)
    }
}

/// A transaction being put together.
#[derive(Debug)]
pub(in crate::network) struct Batch {
    messages: Vec<Message>,
}

impl Batch {
    pub(in crate::network) fn new() -> Batch {
        let mut body = vec![0, 0];
        body.extend(SUBSYSTEM.to_be_bytes());
        let kind = BATCH_BEGIN;
        Batch { messages: vec![Message { kind, flags: 0, body }] }
    }

    pub(super) fn push(&mut self, verb: Verb, attributes: &Attributes) {
        let flags = match verb {
            Verb::DeleteTable | Verb::DeleteElement => 0,
            _ => CREATE | if matches!(verb, Verb::NewRule) { 0x800 } else { 0 },
        };
        let body = body(attributes);
        self.messages.push(Message { kind: kind(verb), flags, body });
    }

    /// Closes the transaction. One acknowledgement, on the last message,
    /// is enough: a refusal is reported without being asked for.
    pub(super) fn finish(mut self) -> Vec<Message> {
        if let Some(last) = self.messages.last_mut() {
            last.flags |= ACK;
        }
        let mut body = vec![0, 0];
        body.extend(SUBSYSTEM.to_be_bytes());
        self.messages.push(Message { kind: BATCH_END, flags: 0, body });
        self.messages
    }
}

fn kind(verb: Verb) -> u16 {
    SUBSYSTEM << 8 | verb as u16
}

/// `nfgenmsg`, then the attributes.
fn body(attributes: &Attributes) -> Vec<u8> {
    let mut body = vec![INET, 0, 0, 0];
    body.extend(&attributes.0);
    body
}

/// Asks for the chains of all families.
pub(super) fn list_chains() -> Message {
    let kind = kind(Verb::GetChain);
    Message { kind, flags: DUMP, body: vec![0; 4] }
}

/// Family, table and name, if the chain drops by default what is forwarded.
pub(super) fn dropping_chain(
    body: &[u8],
) -> Option<(&'static str, String, String)> {
    const FORWARD: u32 = 2;
    const DROP: u32 = 0;
    let family = match body.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let text = |kind| {
        let value = attribute(&body[4..], kind)?;
        let text = String::from_utf8_lossy(value);
        Some(text.trim_end_matches('\0').to_owned())
    };
    let number =
        |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    let hook = attribute(attribute(&body[4..], 4)?, 1).and_then(number)?;
    let policy = attribute(&body[4..], 5).and_then(number)?;
    (hook == FORWARD && policy == DROP)
        .then(|| Some((family, text(1)?, text(3)?)))
        .flatten()
}

fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes_of(attributes).find(|it| it.0 == kind).map(|it| it.1)
}
