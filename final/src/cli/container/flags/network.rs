//! Networks, ports and names.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Body;
use crate::network::extra_host;
use crate::network::port_spec::{parse_all, parse_expose};

/// Flags about the network.
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkFlags {
    /// Publish a port, as 8080:80 or 127.0.0.1:8080:80/udp; may repeat
    #[arg(short, long, value_name = "PORTS")]
    publish: Vec<String>,
    /// Publish all exposed ports on free ports of the host
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Say that a port is used, without publishing it; may repeat
    #[arg(long, value_name = "PORT")]
    expose: Vec<String>,
    /// Network to join: a name, bridge, host, none, or container:NAME; may
    /// repeat
    #[arg(long, alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// Further name in that network; may repeat
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// IPv4 address in that network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// IPv6 address in that network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    /// Link-local address; may repeat
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<String>,
    /// MAC address
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<String>,
    /// Make another container known under a name; may repeat
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// Host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Domain name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Name server; may repeat
    #[arg(long, value_name = "ADDRESS", value_parser = name_server)]
    dns: Vec<String>,
    /// Option of the resolver; may repeat
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Search domain; may repeat
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Line for /etc/hosts, as name:ADDRESS; may repeat
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = host)]
    add_host: Vec<String>,
}

impl NetworkFlags {
    pub(super) fn add(&self, body: &mut Body) -> anyhow::Result<()> {
        body.config("Hostname", self.hostname.clone().unwrap_or_default());
        body.config("Domainname", self.domainname.clone().unwrap_or_default());
        if let Some(address) = &self.mac_address {
            anyhow::ensure!(
                is_mac(address),
                "{address} is not a valid mac address"
            );
            body.config("MacAddress", address.clone());
        }
        self.ports(body)?;
        body.host("PublishAllPorts", self.publish_all);
        body.host("Dns", self.dns.clone());
        body.host("DnsOptions", self.dns_option.clone());
        body.host("DnsSearch", self.dns_search.clone());
        body.host("ExtraHosts", self.add_host.clone());
        body.host("Links", self.link.clone());
        self.networks(body)
    }

    fn ports(&self, body: &mut Body) -> anyhow::Result<()> {
        let bindings = parse_all(&self.publish)?;
        let mut exposed = Map::new();
        for port in bindings.keys() {
            exposed.insert(port.clone(), json!({}));
        }
        for text in &self.expose {
            for port in parse_expose(text)? {
                exposed.insert(port, json!({}));
            }
        }
        if !exposed.is_empty() {
            body.config("ExposedPorts", exposed);
        }
        body.host("PortBindings", serde_json::to_value(bindings)?);
        Ok(())
    }

    /// The first network is the mode; flags such as `--ip` belong to it.
    fn networks(&self, body: &mut Body) -> anyhow::Result<()> {
        let mut all = Vec::new();
        for text in &self.network {
            all.push(advanced(text)?);
        }
        if all.is_empty() {
            all.push(("default".to_owned(), Map::new()));
        }
        body.host("NetworkMode", all[0].0.clone());
        let first = &mut all[0].1;
        if !self.network_alias.is_empty() {
            first.insert("Aliases".into(), self.network_alias.clone().into());
        }
        if let Some(address) = &self.mac_address {
            first.insert("MacAddress".into(), address.clone().into());
        }
        let mut ipam = Map::new();
        if let Some(address) = &self.ip {
            ipam.insert("IPv4Address".into(), address.clone().into());
        }
        if let Some(address) = &self.ip6 {
            ipam.insert("IPv6Address".into(), address.clone().into());
        }
        if !self.link_local_ip.is_empty() {
            let all = self.link_local_ip.clone();
            ipam.insert("LinkLocalIPs".into(), all.into());
        }
        if !ipam.is_empty() {
            first.insert("IPAMConfig".into(), ipam.into());
        }
        for (name, settings) in all {
            anyhow::ensure!(
                !body.endpoints.contains_key(&name),
                "network {name:?} is specified multiple times"
            );
            body.endpoints.insert(name, settings.into());
        }
        Ok(())
    }
}

/// `name=web,alias=a,ip=10.0.0.2`, the long form of `--network`.
fn advanced(text: &str) -> anyhow::Result<(String, Map<String, Value>)> {
    if !text.contains('=') {
        return Ok((text.to_owned(), Map::new()));
    }
    let mut name = None;
    let mut settings = json!({});
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            anyhow::anyhow!("invalid field {part} in --network")
        })?;
        match key {
            "name" => name = Some(value.to_owned()),
            _ => field(&mut settings, key, value)?,
        }
    }
    let name =
        name.ok_or_else(|| anyhow::anyhow!("network name missing in {text}"))?;
    let settings = settings.as_object().cloned().unwrap_or_default();
    Ok((name, settings))
}

/// Puts one `key=value` where the API has it.
fn field(settings: &mut Value, key: &str, value: &str) -> anyhow::Result<()> {
    match key {
        "alias" => match &mut settings["Aliases"] {
            Value::Array(all) => all.push(value.into()),
            none => *none = json!([value]),
        },
        // Indexing a JSON object by a new key makes it.
        "ip" => settings["IPAMConfig"]["IPv4Address"] = value.into(),
        "ip6" => settings["IPAMConfig"]["IPv6Address"] = value.into(),
        "mac-address" => settings["MacAddress"] = value.into(),
        "gw-priority" => {
            settings["GwPriority"] = value.parse::<i64>()?.into();
        }
        "driver-opt" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            settings["DriverOpts"][key] = value.into();
        }
        _ => anyhow::bail!("invalid field key {key} in --network"),
    }
    Ok(())
}

/// `name=ADDRESS` is written `name:ADDRESS` in the API.
fn host(text: &str) -> Result<String, String> {
    extra_host(text).map(|(name, address)| format!("{name}:{address}"))
}

/// Six bytes in hexadecimal, with colons or hyphens between them.
fn is_mac(text: &str) -> bool {
    let parts: Vec<_> = text.split([':', '-']).collect();
    let is_byte =
        |it: &&str| it.len() == 2 && u8::from_str_radix(it, 16).is_ok();
    parts.len() == 6 && parts.iter().all(is_byte)
}

fn name_server(text: &str) -> Result<String, String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}
