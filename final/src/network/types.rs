//! What goes in and out of [`Networks`](super::Networks), in the shapes and
//! with the field names of the Docker Engine API.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize};

use super::Error;
use super::pool::{mac_of, parse_mac, show_mac};

/// `"key": "value"`, sorted, as Docker prints labels and options.
pub type Map = BTreeMap<String, String>;

/// Docker's clients send `null` where they mean "nothing".
pub(super) fn null_is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Body of `POST /networks/create`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreate {
    /// The name; unique on this engine.
    pub name: String,
    /// `bridge` or empty; the others are refused.
    pub driver: String,
    /// Subnets, gateways, ranges.
    #[serde(rename = "IPAM", deserialize_with = "null_is_default")]
    pub ipam: Ipam,
    /// No way out of the network, and none in.
    pub internal: bool,
    /// Kept for `inspect`; only swarm networks need it.
    pub attachable: bool,
    /// Swarm's routing mesh; refused.
    pub ingress: bool,
    /// `com.docker.network.bridge.*` and `com.docker.network.driver.mtu`.
    #[serde(deserialize_with = "null_is_default")]
    pub options: Map,
    /// The user's own data.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: Map,
    /// Empty or `local`; the others are Swarm's, and refused.
    pub scope: String,
    /// Settings for other networks instead of a network; refused.
    pub config_only: bool,
    /// Which settings to take over; refused.
    #[serde(deserialize_with = "null_is_default")]
    pub config_from: ConfigFrom,
    /// `false` leaves the containers without IPv4; refused.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    /// Addresses of both families.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
}

/// How a network gets its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// Always `default`.
    pub driver: String,
    /// None are known; kept for `inspect`.
    pub options: Option<Map>,
    /// One entry per address family.
    #[serde(deserialize_with = "null_is_default")]
    pub config: Vec<IpamConfig>,
}

impl Default for Ipam {
    fn default() -> Self {
        Ipam { driver: "default".into(), options: None, config: vec![] }
    }
}

/// One subnet of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    /// CIDR, such as `172.18.0.0/16`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// CIDR within the subnet that automatic addresses come from.
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// The bridge's own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that are somebody else's: `name: address`.
    #[serde(
        rename = "AuxiliaryAddresses",
        skip_serializing_if = "Map::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub auxiliary: Map,
}

/// One network, as `docker network inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// The name.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Always `local`.
    pub scope: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Always true for bridges.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Whether containers get an IPv6 address as well.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Addresses, with everything filled in.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// See [`NetworkCreate::internal`].
    pub internal: bool,
    /// See [`NetworkCreate::attachable`].
    pub attachable: bool,
    /// Always false.
    pub ingress: bool,
    /// Always empty: no configuration-only networks.
    pub config_from: ConfigFrom,
    /// Always false.
    pub config_only: bool,
    /// Who is connected now, by container ID.
    #[serde(default)]
    pub containers: BTreeMap<String, Member>,
    /// As given on creation.
    pub options: Map,
    /// As given on creation.
    pub labels: Map,
}

/// Where a network's configuration comes from: nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigFrom {
    /// Always empty.
    pub network: String,
}

/// A connected container, as `docker network inspect` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// The container's name, without a slash.
    pub name: String,
    /// See [`EndpointSettings::endpoint_id`].
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Of the container's interface.
    pub mac_address: String,
    /// CIDR.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// CIDR, or empty.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// A container's place in one network: what the user asks for (the first
/// half) and what it got (the second), in one type as in Docker's API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Addresses the user wants.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    /// `container[:alias]`: names only this container sees.
    pub links: Option<Vec<String>>,
    /// Further names of this container in this network.
    pub aliases: Option<Vec<String>>,
    /// Wanted, then given; empty means "made from the address".
    #[serde(deserialize_with = "null_is_default")]
    pub mac_address: String,
    /// `com.docker.network.endpoint.ifname` sets the interface's name.
    pub driver_opts: Option<Map>,
    /// The network with the highest number gives the default route.
    pub gw_priority: i64,

    /// The network's ID.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// 64 hexadecimal digits, new with every connection.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The network's gateway, or empty.
    pub gateway: String,
    /// The container's address, or empty.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Bits of the network part.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// The IPv6 gateway, or empty.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// The container's IPv6 address, or empty.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Bits of the network part.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Every name that finds this container; null on the default bridge,
    /// which has no DNS.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// The addresses of `--ip` and `--ip6`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointIpam {
    /// `--ip`.
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    /// `--ip6`.
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    /// Refused when not empty.
    #[serde(
        rename = "LinkLocalIPs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub link_local_ips: Vec<String>,
}

impl EndpointSettings {
    /// Refuses what is wrong in any network.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the address.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |what, text| {
            Error::Invalid(format!("invalid {what} address: {text}"))
        };
        let mac = self.mac_address.as_str();
        if !mac.is_empty() && parse_mac(mac).is_none() {
            return Err(bad("MAC", mac.to_owned()));
        }
        for (version, wanted) in
            [("IPv4", self.wanted_v4()), ("IPv6", self.wanted_v6())]
        {
            wanted.transpose().map_err(|text| bad(version, text))?;
        }
        Ok(())
    }

    /// Whether the user has named an address.
    pub fn has_wishes(&self) -> bool {
        let ipam = self.ipam_config.as_ref();
        ipam.is_some_and(|it| *it != EndpointIpam::default())
    }

    /// What of it was the user's to say, for the next start.
    pub fn wishes(&self) -> EndpointSettings {
        // One that was not wanted is made from the address.
        let address = self.ip_address.parse().ok();
        let made = address.map(|it| show_mac(mac_of(it)));
        let own = made.is_none_or(|it| it != self.mac_address);
        EndpointSettings {
            mac_address: if own {
                self.mac_address.clone()
            } else {
                String::new()
            },
            ipam_config: self.ipam_config.clone(),
            links: self.links.clone(),
            aliases: self.aliases.clone(),
            driver_opts: self.driver_opts.clone(),
            gw_priority: self.gw_priority,
            ..EndpointSettings::default()
        }
    }

    /// The wanted IPv4 address, or the text that is none.
    pub(super) fn wanted_v4(&self) -> Option<Result<IpAddr, String>> {
        let text = &self.ipam_config.as_ref()?.ipv4_address;
        let parse = || text.parse::<Ipv4Addr>().map(IpAddr::V4);
        (!text.is_empty()).then(|| parse().map_err(|_| text.clone()))
    }

    /// The wanted IPv6 address, or the text that is none.
    pub(super) fn wanted_v6(&self) -> Option<Result<IpAddr, String>> {
        let text = &self.ipam_config.as_ref()?.ipv6_address;
        let parse = || text.parse::<Ipv6Addr>().map(IpAddr::V6);
        (!text.is_empty()).then(|| parse().map_err(|_| text.clone()))
    }
}

/// `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// One place on the host where a container's port is to be found.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// The host's address; empty in a request means all of them.
    #[serde(deserialize_with = "null_is_default")]
    pub host_ip: String,
    /// One port, a range `8000-8010` in a request, empty for any free one.
    #[serde(deserialize_with = "null_is_default")]
    pub host_port: String,
}

/// Everything [`Networks::attach`](super::Networks::attach) must know of a
/// container that is about to start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The container's ID.
    pub id: String,
    /// The container's name, without a slash.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// Its domain name, mostly empty.
    pub domainname: String,
    /// `HostConfig.NetworkMode` as it came: `default`, `bridge`, `host`,
    /// `none`, `container:ID` (resolved by the caller) or a network.
    pub mode: String,
    /// `NetworkingConfig.EndpointsConfig`, completed by later connects.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// `HostConfig.PortBindings`.
    pub ports: PortMap,
    /// `Config.ExposedPorts`' keys: `80/tcp`.
    pub exposed: Vec<String>,
    /// `HostConfig.PublishAllPorts`: a random port for each of `exposed`.
    pub publish_all: bool,
    /// `HostConfig.Links` resolved: `(container's ID, alias)`.
    pub links: Vec<(String, String)>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--add-host`: `name:address`, where the address may be
    /// `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// Where `hosts`, `hostname` and `resolv.conf` are written, normally
    /// the container's directory.
    pub dir: std::path::PathBuf,
}

/// What a container gets.
#[derive(Debug, Clone)]
pub struct Attached {
    /// Where its network namespace comes from.
    pub namespace: Namespace,
    /// `NetworkSettings.Networks`.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// `NetworkSettings.Ports`.
    pub ports: PortMap,
    /// Lines for the user: what is not as asked for, and why.
    pub warnings: Vec<String>,
}

/// Where a container's network namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// This file keeps one ready, to be joined by path.
    Path(std::path::PathBuf),
    /// The host's own.
    Host,
    /// That of the container with this ID, through its first process.
    Container(String),
}
