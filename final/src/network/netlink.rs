//! A netlink socket that asks and waits: netlink(7), one request at a time
//! and no async machinery, because the kernel answers within microseconds.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket as Raw, SocketAddr};
use rustix::io::Errno;

use super::error::errno_of;

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `nlmsgerr`: the errno, then the header of the request it answers.
const ERROR_BODY: usize = 4 + HEADER;

/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even if all went well.
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_EXCL`.
pub(super) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_DUMP`.
pub(super) const DUMP: u16 = 0x300;

/// The kernel's "no", and to which of the messages of one call.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// Position of the message in the call.
    pub(super) nth: usize,
    pub(super) errno: Errno,
    /// The kernel's own sentence (`NETLINK_EXT_ACK`, since Linux 4.12).
    pub(super) said: Option<String>,
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Refusal { nth: 0, errno: errno_of(&error), said: None }
    }
}

/// One message: type, flags beside `NLM_F_REQUEST`, payload.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
}

/// A netlink socket of the namespace its opener was in.
#[derive(Debug)]
pub(super) struct Socket {
    raw: Raw,
    sequence: u32,
}

impl Socket {
    /// `protocol` as in netlink(7), such as `NETLINK_ROUTE`.
    pub(super) fn open(protocol: i32) -> std::io::Result<Socket> {
        let mut raw = Raw::new(protocol as isize)?;
        raw.bind_auto()?;
        raw.connect(&SocketAddr::new(0, 0))?;
        // A refusal then does not repeat our message, and brings a sentence
        // where the kernel has one. Old kernels know neither: no matter.
        let _ = raw.set_cap_ack(true);
        let _ = raw.set_ext_ack(true);
        Ok(Socket { raw, sequence: 0 })
    }

    /// Sends all messages with one system call and waits until each that
    /// wants an [`ACK`] or a [`DUMP`] has its answer.
    ///
    /// Returns the answers' types and bodies. After a refusal the kernel
    /// still handles the messages that follow it; the first is returned.
    pub(super) fn call(
        &mut self,
        messages: &[Message],
    ) -> Result<Vec<(u16, Vec<u8>)>, Refusal> {
        let first = self.sequence.wrapping_add(1);
        let mut waiting = 0;
        let mut buffer = Vec::new();
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            if message.flags & (ACK | DUMP) != 0 {
                waiting += 1;
            }
            append(&mut buffer, message, self.sequence);
        }
        self.raw.send(&buffer, 0)?;
        self.collect(first, messages.len(), waiting)
    }

    fn collect(
        &mut self,
        first: u32,
        count: usize,
        mut waiting: usize,
    ) -> Result<Vec<(u16, Vec<u8>)>, Refusal> {
        let mut answers = Vec::new();
        let mut refusal: Option<Refusal> = None;
        // The kernel never sends more than 32 KiB at once to a reader that
        // has room for it.
        let mut buffer = vec![0; 32 << 10];
        while waiting > 0 {
            let flags = rustix::net::RecvFlags::empty();
            let (_, length) =
                rustix::net::recv(&self.raw, &mut buffer[..], flags)
                    .map_err(std::io::Error::from)?;
            let datagram = buffer.get(..length).unwrap_or_default();
            for (kind, sequence, flags, body) in split(datagram) {
                let nth = sequence.wrapping_sub(first) as usize;
                if nth >= count {
                    // The late answer to a call that was given up.
                    continue;
                }
                match kind {
                    ERROR => {
                        waiting -= usize::from(waiting > 0);
                        if let Some(it) = refused(nth, flags, body) {
                            refusal.get_or_insert(it);
                        }
                    }
                    DONE => waiting -= usize::from(waiting > 0),
                    _ => answers.push((kind, body.to_vec())),
                }
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(answers),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

/// Puts one message, with its header and padding, behind the others.
fn append(buffer: &mut Vec<u8>, message: &Message, sequence: u32) {
    let length = (HEADER + message.body.len()) as u32;
    buffer.extend(length.to_ne_bytes());
    buffer.extend(message.kind.to_ne_bytes());
    buffer.extend((message.flags | REQUEST).to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    buffer.extend(0u32.to_ne_bytes());
    buffer.extend(&message.body);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// The messages of one datagram: type, sequence number, flags, body.
fn split(mut datagram: &[u8]) -> impl Iterator<Item = (u16, u32, u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = word(datagram, 0)? as usize;
        let body = datagram.get(HEADER..length)?;
        let types = word(datagram, 4)?.to_ne_bytes();
        let kind = u16::from_ne_bytes([types[0], types[1]]);
        let flags = u16::from_ne_bytes([types[2], types[3]]);
        let sequence = word(datagram, 8)?;
        let next = length.next_multiple_of(4).min(datagram.len());
        datagram = &datagram[next..];
        Some((kind, sequence, flags, body))
    })
}

/// `None` if the answer is "done".
fn refused(nth: usize, flags: u16, body: &[u8]) -> Option<Refusal> {
    const HAS_ATTRIBUTES: u16 = 0x200;
    let errno = word(body, 0)? as i32;
    if errno == 0 {
        return None;
    }
    let said = (flags & HAS_ATTRIBUTES != 0)
        .then(|| sentence(body.get(ERROR_BODY..)?))
        .flatten();
    Some(Refusal { nth, errno: Errno::from_raw_os_error(-errno), said })
}

/// `NLMSGERR_ATTR_MSG` among the attributes of an error.
fn sentence(attributes: &[u8]) -> Option<String> {
    const MESSAGE: u16 = 1;
    attributes_of(attributes).find(|(kind, _)| *kind == MESSAGE).map(
        |(_, text)| {
            String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()
        },
    )
}

/// The attributes in a buffer: type without its flag bits, value.
pub(super) fn attributes_of(
    mut rest: &[u8],
) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = word(rest, 0)?.to_ne_bytes();
        let length = u16::from_ne_bytes([head[0], head[1]]) as usize;
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let value = rest.get(4..length)?;
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        Some((kind, value))
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}
