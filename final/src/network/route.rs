//! Links, addresses and routes: rtnetlink(7) as a handful of verbs.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::Emitable;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
    RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::Error;
use super::netlink::{ACK, CREATE, DUMP, EXCLUSIVE, Message, Refusal, Socket};

/// `RTM_NEWROUTE`, for reading dumps.
const NEW_ROUTE: u16 = 24;

/// `RTM_NEWADDR`, likewise.
const NEW_ADDRESS: u16 = 20;

/// An rtnetlink socket; every verb acts on the network namespace in which
/// it was opened.
#[derive(Debug)]
pub(super) struct Route {
    socket: Socket,
}

/// What makes up a veth pair.
#[derive(Debug)]
pub(super) struct Veth<'a> {
    /// The host's end.
    pub(super) name: &'a str,
    /// The container's end.
    pub(super) peer: &'a str,
    pub(super) peer_mac: [u8; 6],
    pub(super) peer_namespace: BorrowedFd<'a>,
    /// Index of the bridge that the host's end is plugged into.
    pub(super) bridge: u32,
    pub(super) mtu: Option<u32>,
}

impl Route {
    pub(super) fn open() -> Result<Route, Error> {
        let socket = Socket::open(libc::NETLINK_ROUTE)
            .map_err(|it| refusal("open a netlink socket", it.into()))?;
        Ok(Route { socket })
    }

    /// The link's index, `None` if there is no such link.
    pub(super) fn index(&self, name: &str) -> Option<u32> {
        rustix::net::netdevice::name_to_index(self.socket.as_fd(), name).ok()
    }

    /// A new bridge, up; an existing one is brought up.
    pub(super) fn bridge(
        &mut self,
        name: &str,
        mac: [u8; 6],
        mtu: Option<u32>,
    ) -> Result<u32, Error> {
        let doing = || format!("create the bridge {name}");
        let mut link = LinkMessage::default();
        up(&mut link);
        link.attributes = vec![
            LinkAttribute::IfName(name.into()),
            // A bridge without an address of its own takes the lowest of
            // its ports' and changes it as they come and go, which breaks
            // the ARP caches of the containers.
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        link.attributes.extend(mtu.map(LinkAttribute::Mtu));
        let new = RouteNetlinkMessage::NewLink(link);
        match self.call(&[(new, ACK | CREATE | EXCLUSIVE)]) {
            Ok(()) => {}
            Err(it) if it.errno == Errno::EXIST => {
                let index = self.index(name).unwrap_or_default();
                self.up(index, name)?;
            }
            Err(it) => return Err(refusal(doing(), it)),
        }
        self.index(name).ok_or_else(|| {
            let errno = Errno::NODEV;
            Error::Route { doing: doing(), errno, said: None }
        })
    }

    /// Both ends of a veth(4) pair with one message: the peer is born in
    /// the container's namespace, with its final name. Making it here and
    /// moving it there takes thirty times as long, since a move waits for
    /// every CPU to let go of the device (synchronize_net). The peer stays
    /// down: at its birth it has no other end yet (ENOTCONN).
    pub(super) fn veth(&mut self, veth: &Veth<'_>) -> Result<(), Refusal> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(veth.peer.into()),
            LinkAttribute::Address(veth.peer_mac.to_vec()),
            LinkAttribute::NetNsFd(veth.peer_namespace.as_raw_fd()),
        ];
        peer.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        let mut link = LinkMessage::default();
        up(&mut link);
        link.attributes = vec![
            LinkAttribute::IfName(veth.name.into()),
            LinkAttribute::Controller(veth.bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        link.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        let new = RouteNetlinkMessage::NewLink(link);
        self.call(&[(new, ACK | CREATE | EXCLUSIVE)])
    }

    /// Keeps two bridge ports from talking to each other: both must be
    /// isolated. The bridge itself, and so the gateway, stays in reach.
    pub(super) fn isolate(
        &mut self,
        name: &str,
        isolated: bool,
    ) -> Result<(), Error> {
        self.set_port(name, InfoBridgePort::Isolated(isolated))
            .map_err(|it| refusal(format!("isolate the port {name}"), it))
    }

    /// Lets a bridge send a frame back to the port it came from.
    pub(super) fn hairpin(&mut self, name: &str) -> Result<(), Error> {
        self.set_port(name, InfoBridgePort::HairpinMode(true)).map_err(|it| {
            refusal(format!("let the port {name} reach itself"), it)
        })
    }

    fn set_port(
        &mut self,
        name: &str,
        setting: InfoBridgePort,
    ) -> Result<(), Refusal> {
        let mut link = LinkMessage::default();
        link.header.index = self.index(name).unwrap_or_default();
        link.attributes = vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![setting])),
        ])];
        self.call(&[(RouteNetlinkMessage::NewLink(link), ACK)])
    }

    pub(super) fn up(&mut self, index: u32, name: &str) -> Result<(), Error> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        up(&mut link);
        let set = RouteNetlinkMessage::SetLink(link);
        self.call(&[(set, ACK)])
            .map_err(|it| refusal(format!("bring {name} up"), it))
    }

    /// Deletes a link; one that is gone already is fine.
    pub(super) fn delete(&mut self, name: &str) -> Result<(), Error> {
        let Some(index) = self.index(name) else { return Ok(()) };
        let mut link = LinkMessage::default();
        link.header.index = index;
        match self.call(&[(RouteNetlinkMessage::DelLink(link), ACK)]) {
            Err(it) if it.errno != Errno::NODEV => {
                Err(refusal(format!("delete the link {name}"), it))
            }
            _ => Ok(()),
        }
    }

    /// Makes the kernel act on a link's carrier now. It does so on its own,
    /// but from a queue that waits for a busy lock (linkwatch); until then a
    /// bridge port forwards nothing, the container's first ARP request is
    /// lost, and the next one is sent a second later. Being asked for the
    /// link's state makes the kernel bring it up to date first (Linux 6.3;
    /// before that, this does nothing).
    pub(super) fn notice(&mut self, name: &str) -> Result<(), Error> {
        let mut link = LinkMessage::default();
        link.header.index = self.index(name).unwrap_or_default();
        self.call(&[(RouteNetlinkMessage::GetLink(link), ACK)])
            .map_err(|it| refusal(format!("ask for the state of {name}"), it))
    }

    /// Tells the neighbours whose MAC address the link's addresses have now:
    /// they were perhaps another container's, and a neighbour believes what
    /// it knew for half a minute. A link whose MAC address is set, be it to
    /// the same, says so to all (`arp_notify`, `ndisc_notify`).
    pub(super) fn announce(
        &mut self,
        index: u32,
        mac: [u8; 6],
    ) -> Result<(), Error> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::Address(mac.to_vec())];
        self.call(&[(RouteNetlinkMessage::SetLink(link), ACK)])
            .map_err(|it| refusal("announce a MAC address", it))
    }

    /// Brings a link up with its addresses and, with `gateways`, default
    /// routes, all in one system call. What is there already is fine.
    pub(super) fn configure(
        &mut self,
        link: (u32, &str),
        addresses: &[IpNet],
        gateways: &[IpAddr],
    ) -> Result<(), Error> {
        let (index, name) = link;
        let mut set = LinkMessage::default();
        set.header.index = index;
        up(&mut set);
        let mut all = vec![(RouteNetlinkMessage::SetLink(set), ACK)];
        for address in addresses {
            let message = new_address(index, *address);
            let message = RouteNetlinkMessage::NewAddress(message);
            all.push((message, ACK | CREATE));
        }
        for gateway in gateways {
            let message = default_route(index, *gateway);
            let message = RouteNetlinkMessage::NewRoute(message);
            all.push((message, ACK | CREATE));
        }
        match self.call(&all) {
            Err(it) if it.errno != Errno::EXIST => {
                let nth = it.nth.checked_sub(1);
                let what = match nth.map(|it| addresses.get(it)) {
                    None => format!("bring {name} up"),
                    Some(Some(it)) => format!("give {name} {it}"),
                    Some(None) => format!("route through {name}"),
                };
                Err(refusal(what, it))
            }
            _ => Ok(()),
        }
    }

    /// Takes a default route away, if it is there.
    pub(super) fn remove_default(
        &mut self,
        index: u32,
        gateway: IpAddr,
    ) -> Result<(), Error> {
        let message = default_route(index, gateway);
        match self.call(&[(RouteNetlinkMessage::DelRoute(message), ACK)]) {
            Err(it) if it.errno != Errno::SRCH => {
                Err(refusal("remove a default route", it))
            }
            _ => Ok(()),
        }
    }

    /// Every destination the host has a route to, but for the default.
    pub(super) fn destinations(&mut self) -> Result<Vec<IpNet>, Error> {
        let query = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let message = encode(&query, DUMP);
        let answers = self
            .socket
            .call(&[message])
            .map_err(|it| refusal("list the host's routes", it))?;
        Ok(answers
            .iter()
            .filter(|(kind, _)| *kind == NEW_ROUTE)
            .filter_map(|(_, body)| destination(body))
            .collect())
    }

    /// The addresses of a link, each with its subnet.
    pub(super) fn addresses(&mut self, link: u32) -> Result<Vec<IpNet>, Error> {
        let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let message = encode(&query, DUMP);
        let answers = self
            .socket
            .call(&[message])
            .map_err(|it| refusal("list the host's addresses", it))?;
        Ok(answers
            .iter()
            .filter(|(kind, _)| *kind == NEW_ADDRESS)
            .filter_map(|(_, body)| address_of(link, body))
            .collect())
    }

    fn call(
        &mut self,
        messages: &[(RouteNetlinkMessage, u16)],
    ) -> Result<(), Refusal> {
        let messages: Vec<Message> =
            messages.iter().map(|(it, flags)| encode(it, *flags)).collect();
        self.socket.call(&messages).map(drop)
    }
}

/// The kernel's refusal with what we were about.
pub(super) fn refusal(doing: impl Into<String>, refusal: Refusal) -> Error {
    let Refusal { errno, said, .. } = refusal;
    Error::Route { doing: doing.into(), errno, said }
}

fn encode(message: &RouteNetlinkMessage, flags: u16) -> Message {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    Message { kind: message.message_type(), flags, body }
}

fn up(link: &mut LinkMessage) {
    link.header.flags |= LinkFlags::Up;
    link.header.change_mask |= LinkFlags::Up;
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn new_address(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(address.addr()));
    match address {
        IpNet::V4(net) => {
            message.attributes.push(AddressAttribute::Local(address.addr()));
            message
                .attributes
                .push(AddressAttribute::Broadcast(net.broadcast()));
        }
        // Our allocator knows that the address is free; waiting a second
        // for duplicate address detection would be felt by every start.
        IpNet::V6(_) => message.header.flags |= AddressHeaderFlags::Nodad,
    }
    message
}

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(gateway),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Gateway(match gateway {
            IpAddr::V4(it) => RouteAddress::Inet(it),
            IpAddr::V6(it) => RouteAddress::Inet6(it),
        }),
        RouteAttribute::Oif(index),
    ];
    message
}

/// The destination in an `RTM_NEWROUTE`: `rtmsg`, then attributes. Read by
/// hand, since only two fields matter and new kinds of route keep coming.
fn destination(body: &[u8]) -> Option<IpNet> {
    const RTM_HEADER: usize = 12;
    const RTA_DST: u16 = 1;
    let bits = *body.get(1)?;
    net(body.get(RTM_HEADER..)?, RTA_DST, bits)
}

/// The address in an `RTM_NEWADDR`, if it is one of this link: `ifaddrmsg`,
/// then attributes. Only IPv4 has `IFA_LOCAL`, where `IFA_ADDRESS` is the
/// other end's on a line with two.
fn address_of(link: u32, body: &[u8]) -> Option<IpNet> {
    const IFA_HEADER: usize = 8;
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let bits = *body.get(1)?;
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let attributes = body.get(IFA_HEADER..)?;
    let address = net(attributes, IFA_LOCAL, bits)
        .or_else(|| net(attributes, IFA_ADDRESS, bits));
    address.filter(|_| index == link)
}

/// The address in one of the attributes, with its prefix length.
fn net(attributes: &[u8], wanted: u16, bits: u8) -> Option<IpNet> {
    let (_, value) = super::netlink::attributes_of(attributes)
        .find(|(kind, _)| *kind == wanted)?;
    let address = if let Ok(four) = <[u8; 4]>::try_from(value) {
        IpAddr::from(four)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(value).ok()?)
    };
    IpNet::new(address, bits).ok()
}
