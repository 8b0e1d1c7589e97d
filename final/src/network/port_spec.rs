//! The command line's `-p` and `--expose`, turned into the API's
//! `PortBindings`.
//!
//! ```text
//! -p [[HOST_ADDRESS:][HOST_PORT]:]CONTAINER_PORT[/tcp|/udp]
//! ```
//! Ports may be ranges of equal length; an IPv6 address stands in
//! brackets.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use thiserror::Error;

use super::types::{PortBinding, PortMap};

/// Why a `-p` makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PortError {
    /// Not a number from 1 to 65535.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// Not a number from 0 to 65535.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// Not an address; host names are not looked up here.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// Neither `tcp` nor `udp`.
    #[error("invalid proto: {0}: only tcp and udp can be published")]
    Protocol(String),
    /// `8000-8001:80-82`.
    #[error("invalid ranges specified for container and host Ports: {0}")]
    Lengths(String),
    /// Nothing to publish.
    #[error("no port specified: {0}")]
    Empty(String),
}

/// One `-p`, with its ranges still folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// The host's address, `None` for all of them.
    pub address: Option<IpAddr>,
    /// Ports on the host, `None` for any.
    pub host: Option<RangeInclusive<u16>>,
    /// Ports in the container.
    pub container: RangeInclusive<u16>,
    /// `tcp` or `udp`.
    pub protocol: String,
}

impl std::str::FromStr for PortSpec {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp") {
            return Err(PortError::Protocol(protocol));
        }
        let (rest, inside) = match rest.rsplit_once(':') {
            Some((rest, inside)) => (Some(rest), inside),
            None => (None, rest),
        };
        if inside.is_empty() {
            return Err(PortError::Empty(text.into()));
        }
        let container = range(inside)
            .filter(|it| *it.start() > 0)
            .ok_or_else(|| PortError::Container(inside.into()))?;
        let (address, outside) = split_address(rest)?;
        let host = match outside {
            "" => None,
            port => {
                Some(range(port).ok_or_else(|| PortError::Host(port.into()))?)
            }
        };
        let spec = PortSpec { address, host, container, protocol };
        spec.lengths_match(text)?;
        Ok(spec)
    }
}

impl PortSpec {
    /// Ranges go together port by port; only a single container port may
    /// have a longer range on the host, of which one free port is taken.
    fn lengths_match(&self, text: &str) -> Result<(), PortError> {
        match &self.host {
            Some(host)
                if host.len() != self.container.len()
                    && self.container.len() != 1 =>
            {
                Err(PortError::Lengths(text.into()))
            }
            _ => Ok(()),
        }
    }

    /// Adds this to the API's map.
    pub fn add_to(&self, map: &mut PortMap) {
        let host_ip = self.address.map(|it| it.to_string()).unwrap_or_default();
        for (nth, port) in self.container.clone().enumerate() {
            let host_port = match &self.host {
                None => String::new(),
                Some(host) if self.container.len() == 1 => show(host),
                Some(host) => (usize::from(*host.start()) + nth).to_string(),
            };
            map.entry(format!("{port}/{}", self.protocol))
                .or_default()
                .get_or_insert_default()
                .push(PortBinding { host_ip: host_ip.clone(), host_port });
        }
    }
}

/// All `-p` of a command line as the API's `PortBindings`.
///
/// # Errors
/// The first that makes no sense.
pub fn parse_all<S: AsRef<str>>(specs: &[S]) -> Result<PortMap, PortError> {
    let mut map = PortMap::new();
    for spec in specs {
        spec.as_ref().parse::<PortSpec>()?.add_to(&mut map);
    }
    Ok(map)
}

/// One `--expose` (`80`, `8000-8010/udp`) as keys of `ExposedPorts`.
///
/// # Errors
/// If it is not a port or a range.
pub fn parse_expose(text: &str) -> Result<Vec<String>, PortError> {
    if text.contains(':') {
        return Err(PortError::Container(text.into()));
    }
    let spec: PortSpec = text.parse()?;
    Ok(spec.container.map(|it| format!("{it}/{}", spec.protocol)).collect())
}

/// `None`, `8080`, `127.0.0.1:8080`, `127.0.0.1:` or `[::1]:8080`.
fn split_address(
    text: Option<&str>,
) -> Result<(Option<IpAddr>, &str), PortError> {
    let Some(text) = text else { return Ok((None, "")) };
    let Some((address, port)) = text.rsplit_once(':') else {
        // `127.0.0.1:80`: an address alone, any host port. A lone number
        // is a port.
        return match text.parse::<IpAddr>() {
            Ok(address) => Ok((Some(address), "")),
            Err(_) => Ok((None, text)),
        };
    };
    if text.ends_with(']') {
        return Ok((Some(bracketed(text)?), ""));
    }
    if address.is_empty() {
        return Ok((None, port));
    }
    let address = if address.starts_with('[') {
        bracketed(address)?
    } else {
        address.parse().map_err(|_| PortError::Address(address.into()))?
    };
    Ok((Some(address), port))
}

fn bracketed(text: &str) -> Result<IpAddr, PortError> {
    text.strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .and_then(|it| it.parse().ok())
        .ok_or_else(|| PortError::Address(text.into()))
}

/// `80` or `8000-8010`.
pub(super) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |it: &str| {
        // `u16::from_str` takes a sign, Docker does not.
        it.bytes().all(|it| it.is_ascii_digit()).then(|| it.parse().ok())?
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

fn show(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binding(spec: &str) -> (String, String, String) {
        let map = parse_all(&[spec]).unwrap();
        let (port, bindings) = map.into_iter().next().unwrap();
        let it = bindings.unwrap().remove(0);
        (port, it.host_ip, it.host_port)
    }

    #[test]
    fn every_form_of_the_docker_manual_is_understood() {
        let cases = [
            ("80", "80/tcp", "", ""),
            ("8080:80", "80/tcp", "", "8080"),
            (":80", "80/tcp", "", ""),
            ("127.0.0.1:8080:80", "80/tcp", "127.0.0.1", "8080"),
            ("127.0.0.1::80", "80/tcp", "127.0.0.1", ""),
            ("127.0.0.1:80", "80/tcp", "127.0.0.1", ""),
            ("[::1]:8080:80/udp", "80/udp", "::1", "8080"),
            ("[::]::80", "80/tcp", "::", ""),
            ("53:53/UDP", "53/udp", "", "53"),
            ("8000-8010:80", "80/tcp", "", "8000-8010"),
        ];
        for (spec, port, ip, host) in cases {
            let want = (port.into(), ip.into(), host.into());
            assert_eq!(binding(spec), want, "{spec}");
        }
    }

    #[test]
    fn ranges_pair_up_port_by_port() {
        let map = parse_all(&["8000-8002:90-92"]).unwrap();
        let ports: Vec<_> = map
            .iter()
            .map(|(port, it)| {
                (port.as_str(), it.as_ref().unwrap()[0].host_port.as_str())
            })
            .collect();
        let want = [("90/tcp", "8000"), ("91/tcp", "8001"), ("92/tcp", "8002")];
        assert_eq!(ports, want);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let cases = [
            ("", "no port specified: "),
            ("8080:", "no port specified: 8080:"),
            ("x:80", "invalid hostPort: x"),
            ("80:0", "invalid containerPort: 0"),
            ("80:70000", "invalid containerPort: 70000"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            (
                "80:80/sctp",
                "invalid proto: sctp: only tcp and udp can be published",
            ),
            (
                "1-2:1-3",
                "invalid ranges specified for container and host Ports: \
                 1-2:1-3",
            ),
        ];
        for (spec, want) in cases {
            let error = spec.parse::<PortSpec>().unwrap_err();
            assert_eq!(error.to_string(), want, "{spec}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<PortSpec>();
        }

        #[test]
        fn what_is_printed_is_read_back(
            ip in any::<Option<std::net::Ipv4Addr>>(),
            host in any::<Option<u16>>(),
            port in 1u16..,
            udp in any::<bool>(),
        ) {
            let protocol = if udp { "udp" } else { "tcp" };
            let ip_text =
                ip.map(|it| format!("{it}:")).unwrap_or_default();
            let host_text =
                host.map(|it| it.to_string()).unwrap_or_default();
            let text = format!("{ip_text}{host_text}:{port}/{protocol}");
            let spec: PortSpec = text.parse().unwrap();
            prop_assert_eq!(spec.address, ip.map(IpAddr::V4));
            prop_assert_eq!(spec.host, host.map(|it| it..=it));
            prop_assert_eq!(spec.container, port..=port);
        }
    }
}
