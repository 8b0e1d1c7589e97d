use std::net::{IpAddr, Ipv4Addr};

/// `-p IP:HOST:CONTAINER/PROTOCOL`
#[derive(Debug, PartialEq, Eq)]
pub struct Port {
    /// Where to listen; 0.0.0.0 if nothing is said.
    pub ip: IpAddr,
    /// 0: the engine chooses one.
    pub host: u16,
    pub container: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// Reads the value of `-p`. `None` if it is none.
pub fn parse(text: &str) -> Option<Port> {
    // BEGIN
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !["tcp", "udp"].contains(&protocol) {
        return None;
    }
    // From the right: an IPv6 address has colons, too.
    let mut words = rest.rsplitn(3, ':');
    let container = words.next()?.parse().ok().filter(|it| *it > 0)?;
    let host = match words.next() {
        None | Some("") => 0,
        Some(host) => host.parse().ok()?,
    };
    let ip = match words.next() {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(ip) => ip.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(Port { ip, host, container, protocol: protocol.to_owned() })
    // STARTER
    //= let (host, container) = text.split_once(':')?;
    //= Some(Port {
    //=     ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    //=     host: host.parse().ok()?,
    //=     container: container.parse().ok()?,
    //=     protocol: "tcp".to_owned(),
    //= })
    // END
}
