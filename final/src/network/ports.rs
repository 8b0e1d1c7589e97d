//! Published ports: which ones are wanted, which host ports they get, and
//! the sockets that hold those against other programs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use super::Error;
use super::port_spec::range;
use super::types::{PortBinding, PortMap};

/// A container's port that shall be found on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `None`: all addresses of both families.
    pub(super) host: Option<IpAddr>,
    /// `0..=0`: any free port.
    pub(super) ports: RangeInclusive<u16>,
    pub(super) container: u16,
    pub(super) udp: bool,
}

/// A host port that was given to a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Published {
    /// A host address, or the unspecified one of a family.
    pub(super) host: IpAddr,
    pub(super) port: u16,
    pub(super) container: u16,
    pub(super) udp: bool,
}

/// A port with the socket that holds it.
#[derive(Debug)]
pub struct Held {
    pub(crate) published: Published,
    /// Listening already, if it is TCP.
    pub(crate) socket: OwnedFd,
}

/// Opens a port in the host's network: [`bind`], or a keeper's.
pub(super) type Bind<'a> =
    &'a dyn Fn(IpAddr, u16, bool) -> Result<(OwnedFd, u16), Errno>;

/// What `PortBindings`, `ExposedPorts` and `PublishAllPorts` ask for.
pub(super) fn wanted(
    bindings: &PortMap,
    exposed: &[String],
    publish_all: bool,
) -> Result<Vec<Wanted>, Error> {
    let mut all = Vec::new();
    for (port, bindings) in bindings {
        let (container, udp) = parse_port(port)?;
        for binding in bindings.iter().flatten() {
            all.push(parse_binding(binding, container, udp)?);
        }
    }
    if publish_all {
        for port in exposed {
            if bindings.get(port).is_some_and(Option::is_some) {
                continue;
            }
            let (container, udp) = parse_port(port)?;
            all.push(Wanted { host: None, ports: 0..=0, container, udp });
        }
    }
    Ok(all)
}

/// `80`, `80/tcp`, `53/udp`.
pub(super) fn parse_port(text: &str) -> Result<(u16, bool), Error> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let udp = match protocol {
        "tcp" => false,
        "udp" => true,
        other => {
            return Err(Error::Invalid(format!(
                "invalid proto: {other}: only tcp and udp can be published"
            )));
        }
    };
    match port.parse() {
        Ok(port) if port > 0 => Ok((port, udp)),
        _ => Err(Error::Invalid(format!("invalid port: {text}"))),
    }
}

fn parse_binding(
    binding: &PortBinding,
    container: u16,
    udp: bool,
) -> Result<Wanted, Error> {
    let invalid = |what: &str, it: &str| {
        Error::Invalid(format!("invalid port specification: {what} {it:?}"))
    };
    let ip = binding.host_ip.trim_start_matches('[').trim_end_matches(']');
    let host = match ip {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid("host address", text))?),
    };
    let ports = match binding.host_port.as_str() {
        "" => 0..=0,
        text => range(text).ok_or_else(|| invalid("host port", text))?,
    };
    Ok(Wanted { host, ports, container, udp })
}

/// What `NetworkSettings.Ports` shows: also what is exposed and not
/// published, as `null`.
pub(super) fn port_map(published: &[Published], exposed: &[String]) -> PortMap {
    let mut map: PortMap = BTreeMap::new();
    for port in exposed {
        let port = match port.contains('/') {
            true => port.clone(),
            false => format!("{port}/tcp"),
        };
        map.insert(port, None);
    }
    for it in published {
        let protocol = if it.udp { "udp" } else { "tcp" };
        map.entry(format!("{}/{protocol}", it.container))
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: it.host.to_string(),
                host_port: it.port.to_string(),
            });
    }
    map
}

/// Finds a host port for one wish and holds it.
///
/// `taken` tells whether a container of this engine has the port already:
/// the reason is then another than if it is a stranger's.
pub(super) fn hold(
    wanted: &Wanted,
    container: &str,
    taken: &dyn Fn(&Published) -> bool,
    bind: Bind<'_>,
) -> Result<Vec<Held>, Error> {
    let mut last = None;
    for port in wanted.ports.clone() {
        // The kernel chooses a port for the first family; the second has
        // to get the same, which may be taken there.
        let attempts = if port == 0 { 16 } else { 1 };
        for _ in 0..attempts {
            match hold_port(wanted, port, container, taken, bind) {
                Ok(held) => return Ok(held),
                Err(error) => last = Some(error),
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        Error::Invalid(format!("no port in {:?}", wanted.ports))
    }))
}

fn hold_port(
    wanted: &Wanted,
    mut port: u16,
    container: &str,
    taken: &dyn Fn(&Published) -> bool,
    bind: Bind<'_>,
) -> Result<Vec<Held>, Error> {
    let mut held = Vec::new();
    for host in addresses(wanted.host) {
        let optional = wanted.host.is_none() && host.is_ipv6();
        let published = Published {
            host,
            port,
            container: wanted.container,
            udp: wanted.udp,
        };
        let failed = |cause: String| Error::PortTaken {
            container: container.into(),
            address: show_address(host),
            port,
            cause,
        };
        if port != 0 && taken(&published) {
            return Err(failed("port is already allocated".into()));
        }
        match bind(host, port, wanted.udp) {
            Ok((socket, given)) => {
                port = given;
                let published = Published { port, ..published };
                held.push(Held { published, socket });
            }
            // A host without IPv6.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if optional => {}
            Err(errno) => return Err(failed(reason(errno, port))),
        }
    }
    Ok(held)
}

fn addresses(host: Option<IpAddr>) -> Vec<IpAddr> {
    match host {
        Some(it) => vec![it],
        None => {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        }
    }
}

fn show_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(it) => it.to_string(),
        IpAddr::V6(it) => format!("[{it}]"),
    }
}

fn reason(errno: Errno, port: u16) -> String {
    match errno {
        Errno::ADDRINUSE => "address already in use".into(),
        Errno::ADDRNOTAVAIL => {
            "cannot assign requested address (the host has no such address)"
                .into()
        }
        Errno::ACCESS => format!(
            "permission denied (ports below \
             net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE; \
             as root: sysctl net.ipv4.ip_unprivileged_port_start={port}, or \
             choose a port from 1024 on)"
        ),
        other => other.to_string(),
    }
}

/// A socket that nobody else can bind beside; TCP also listens, as a port
/// that is merely bound can still be bound and listened on by others.
pub(crate) fn bind(
    host: IpAddr,
    port: u16,
    udp: bool,
) -> Result<(OwnedFd, u16), Errno> {
    let family = match host {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = if udp { SocketType::DGRAM } else { SocketType::STREAM };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if host.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if !udp {
        // Connections of the last container with this port may linger.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(host, port))?;
    if !udp {
        rustix::net::listen(&socket, 1024)?;
    }
    let given = rustix::net::getsockname(&socket)?;
    let given = SocketAddr::try_from(given).map_err(|_| Errno::INVAL)?;
    Ok((socket, given.port()))
}

/// Holds again what a container has had all along.
pub(super) fn hold_again(
    published: &Published,
    bind: Bind<'_>,
) -> Result<Held, Errno> {
    let it = published.clone();
    let (socket, _) = bind(it.host, it.port, it.udp)?;
    Ok(Held { published: it, socket })
}

impl Published {
    /// Whether both would listen in the same place.
    pub(super) fn clashes(&self, other: &Published) -> bool {
        self.port == other.port
            && self.udp == other.udp
            && self.host.is_ipv4() == other.host.is_ipv4()
            && (self.host == other.host
                || self.host.is_unspecified()
                || other.host.is_unspecified())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(port: &str, ip: &str, host: &str) -> PortMap {
        let binding =
            PortBinding { host_ip: ip.into(), host_port: host.into() };
        PortMap::from([(port.into(), Some(vec![binding]))])
    }

    #[test]
    fn bindings_of_the_api_are_understood() {
        let got = wanted(&map("53/udp", "::1", "5300-5310"), &[], false);
        let want = Wanted {
            host: Some(Ipv6Addr::LOCALHOST.into()),
            ports: 5300..=5310,
            container: 53,
            udp: true,
        };
        assert_eq!(got.unwrap(), [want]);
    }

    #[test]
    fn publish_all_takes_what_is_exposed_and_not_published() {
        let exposed = ["80/tcp".into(), "53/udp".into()];
        let got = wanted(&map("80/tcp", "", "8080"), &exposed, true).unwrap();
        let ports: Vec<_> =
            got.iter().map(|it| (it.container, it.ports.clone())).collect();
        assert_eq!(ports, [(80, 8080..=8080), (53, 0..=0)]);
    }

    #[test]
    fn protocols_that_cannot_be_published_are_named() {
        let error = wanted(&map("80/sctp", "", ""), &[], false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid proto: sctp: only tcp and udp can be published"
        );
    }

    #[test]
    fn every_address_clashes_with_one_of_its_family() {
        let at = |host: &str| Published {
            host: host.parse().unwrap(),
            port: 80,
            container: 80,
            udp: false,
        };
        assert!(at("0.0.0.0").clashes(&at("127.0.0.1")));
        assert!(!at("127.0.0.1").clashes(&at("127.0.0.2")));
        assert!(!at("::").clashes(&at("0.0.0.0")));
    }
}
