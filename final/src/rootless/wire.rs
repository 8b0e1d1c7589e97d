//! What the daemon and the keeper say to each other: one JSON text per
//! packet, and with it, now and then, a file descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::Published;

/// The longest packet: a container with all its ports.
const LIMIT: usize = 1 << 16;

/// The daemon asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Opens a port in the host's network; the socket comes back.
    Bind {
        /// The host's address.
        host: IpAddr,
        /// 0: any.
        port: u16,
        /// Otherwise TCP.
        udp: bool,
    },
    /// Carries what arrives at a socket, which comes along, to a container.
    Serve {
        /// Which port it is, for later.
        published: Published,
        /// Where the container is in the engine's network.
        to: SocketAddr,
    },
    /// Whether a port is served already, as since before a restart.
    IsServed(Published),
    /// Closes these ports.
    Stop(Vec<Published>),
    /// A pipe whose other end is open as long as the keeper lives.
    Lifeline,
}

/// The keeper answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// That is done; a descriptor may come along.
    Done,
    /// The port that was bound; its socket comes along.
    Bound(u16),
    /// Yes or no.
    Is(bool),
    /// The kernel's refusal.
    Errno(i32),
}

/// Sends one packet.
pub(super) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let descriptors = descriptor.map(|it| [it]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(list) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(list));
    }
    let text = [IoSlice::new(&text)];
    sendmsg(socket, &text, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other side has gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut text = vec![0; LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut list) = message {
            descriptor = list.next();
        }
    }
    Ok(Some((serde_json::from_slice(&text[..got.bytes])?, descriptor)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn a_descriptor_travels_with_its_packet() {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&one, &Answer::Bound(80), Some(file.as_fd())).unwrap();
        send(&one, &Answer::Done, None).unwrap();
        let (answer, descriptor) = receive(&other).unwrap().unwrap();
        assert!(matches!(answer, Answer::Bound(80)), "{answer:?}");
        assert!(descriptor.is_some());
        let (answer, descriptor) = receive(&other).unwrap().unwrap();
        assert!(matches!(answer, Answer::Done), "{answer:?}");
        assert!(descriptor.is_none());
        drop(one);
        assert!(receive::<Answer>(&other).unwrap().is_none());
    }
}
