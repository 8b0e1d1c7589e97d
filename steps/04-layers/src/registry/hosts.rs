//! Which servers an image may be fetched from, and whom to trust there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;

use super::{RegistryError, certs};
use crate::reference::DEFAULT_DOMAIN;

/// Where Docker Hub's registry really is.
const HUB: &str = "registry-1.docker.io";

/// What the daemon's flags say about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// `--registry-mirror`: asked before Docker Hub. URLs.
    pub mirrors: Vec<String>,
    /// `--insecure-registry`: `host`, `host:port` or a network like
    /// `10.0.0.0/8`. Only these (and this machine itself) may be spoken to
    /// without a valid certificate, or without TLS.
    pub insecure: Vec<String>,
    /// Where config.json is; by default `$DOCKER_CONFIG` or `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// Certificates by registry, `HOST:PORT/ca.crt`; by default
    /// `/etc/docker/certs.d`.
    pub certificates: Option<PathBuf>,
}

/// A server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and perhaps port.
    pub(super) host: String,
    /// `https` or `http`; empty: both may be tried, in this order.
    pub(super) scheme: Scheme,
    /// Before `/v2/`; mirrors may live in a directory.
    pub(super) prefix: String,
    /// Mirrors may fail without the pull failing.
    pub(super) mirror: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// TLS with a certificate that can be checked.
    Https,
    /// TLS with any certificate, or else none at all.
    Insecure,
    /// No TLS: an `http://` mirror.
    Http,
}

impl RegistryConfig {
    /// The servers for a domain, mirrors first.
    pub(super) fn endpoints(&self, domain: &str) -> Vec<Endpoint> {
        let mut found = Vec::new();
        if domain == DEFAULT_DOMAIN {
            let mirrors = self.mirrors.iter();
            found.extend(mirrors.filter_map(|url| self.mirror(url)));
        }
        let host = if domain == DEFAULT_DOMAIN { HUB } else { domain };
        found.push(Endpoint {
            host: host.to_owned(),
            scheme: self.scheme(host),
            prefix: String::new(),
            mirror: false,
        });
        found
    }

    /// A mirror's URL into its parts; `None` for what is no URL.
    fn mirror(&self, url: &str) -> Option<Endpoint> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let rest = rest.trim_end_matches('/');
        let (host, prefix) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, String::new()),
        };
        if host.is_empty() {
            return None;
        }
        // Who names an http:// mirror has named it as insecure.
        let scheme = match scheme {
            "http" => Scheme::Http,
            _ => self.scheme(host),
        };
        let host = host.to_owned();
        Some(Endpoint { host, scheme, prefix, mirror: true })
    }

    /// Docker's own place counts, so that a machine which had Docker needs
    /// no new configuration.
    fn certificates_of(&self, host: &str) -> PathBuf {
        let usual = || PathBuf::from("/etc/docker/certs.d");
        self.certificates.clone().unwrap_or_else(usual).join(host)
    }

    fn scheme(&self, host: &str) -> Scheme {
        match self.is_insecure(host) {
            true => Scheme::Insecure,
            false => Scheme::Https,
        }
    }

    /// This machine itself counts as insecure, as in Docker: nobody is in
    /// between.
    ///
    /// `entry == name` without a port means all ports, as in Docker.
    fn is_insecure(&self, host: &str) -> bool {
        let name = without_port(host);
        if name == "localhost" {
            return true;
        }
        let address: Option<IpAddr> = name.parse().ok();
        if address.is_some_and(|a| a.is_loopback()) {
            return true;
        }
        self.insecure.iter().any(|entry| {
            entry == host
                || entry == name
                || address.is_some_and(|address| in_network(address, entry))
        })
    }
}

impl Endpoint {
    /// Says whether it is this machine, to which no proxy leads.
    pub(super) fn is_local(&self) -> bool {
        let name = without_port(&self.host);
        let address: Option<IpAddr> = name.parse().ok();
        name == "localhost" || address.is_some_and(|a| a.is_loopback())
    }

    /// A connection pool that trusts what this server may be trusted with.
    pub(super) fn agent(
        &self,
        config: &RegistryConfig,
    ) -> Result<Agent, RegistryError> {
        let dir = config.certificates_of(&self.host);
        let tls = TlsConfig::builder()
            .disable_verification(self.scheme != Scheme::Https)
            .root_certs(certs::roots(&dir))
            .client_cert(certs::client(&dir, &self.host)?)
            .build();
        let mut config = agent_config()
            .tls_config(tls)
            .http_status_as_error(false)
            .user_agent(concat!("skiff/", env!("CARGO_PKG_VERSION")))
            // A digest is of the bytes as stored: nobody may gzip them.
            .accept_encoding("identity")
            .max_redirects(0)
            .max_redirects_will_error(false);
        if self.is_local() {
            config = config.proxy(None);
        }
        Ok(config.build().into())
    }
}

/// What is fetched may be long and take its time; a server that is silent may
/// not. ureq alone would wait for one for ever.
pub fn agent_config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(30)))
}

/// `host:port`, `[v6]:port` or just a host.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

/// Is `10.1.2.3` in `10.0.0.0/8`?
fn in_network(address: IpAddr, network: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u32>() else { return false };
    match (address, base.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(b))) => {
            let number = |a: Ipv4Addr| u128::from(a.to_bits()) << 96;
            same_start(number(a), number(b), bits, 32)
        }
        (IpAddr::V6(a), Ok(IpAddr::V6(b))) => {
            let number = |a: Ipv6Addr| a.to_bits();
            same_start(number(a), number(b), bits, 128)
        }
        _ => false,
    }
}

/// Both addresses are shifted up to 128 bits, so that IPv4 and IPv6 are
/// compared alike.
fn same_start(a: u128, b: u128, bits: u32, most: u32) -> bool {
    bits <= most && (bits == 0 || (a ^ b) >> (128 - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_registries_and_this_machine_are_insecure() {
        let config = RegistryConfig {
            insecure: vec!["10.1.0.0/16".into(), "lan:5000".into()],
            ..RegistryConfig::default()
        };
        for host in [
            "localhost",
            "127.1.2.3:5000",
            "[::1]:5000",
            "10.1.9.9",
            "lan:5000",
        ] {
            assert!(config.is_insecure(host), "{host}");
        }
        for host in ["10.2.0.1:5000", "lan", "lan:5001", "127.0.0.1.nip.io"] {
            assert!(!config.is_insecure(host), "{host}");
        }
    }

    #[test]
    fn mirrors_come_before_docker_hub_and_only_for_it() {
        let config = RegistryConfig {
            mirrors: vec!["http://m:5000/hub/".into()],
            ..RegistryConfig::default()
        };
        let hub = config.endpoints("docker.io");
        assert_eq!(hub[0].host, "m:5000");
        assert_eq!(
            (hub[0].prefix.as_str(), hub[0].scheme),
            ("/hub", Scheme::Http)
        );
        assert_eq!(hub[1].host, "registry-1.docker.io");
        assert_eq!(config.endpoints("ghcr.io").len(), 1);
    }
}
