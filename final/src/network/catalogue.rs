//! Networks as the API sees them: create, list, inspect, remove, prune.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cli_api::id::hex64;
use ipnet::IpNet;

use super::bridge::{
    HOST_BINDING, ICC, IFPREFIX, MASQUERADE, MTU, PREDEFINED, parse_bool,
};
use super::pool::{free_subnet, local_pool6, overlap, usable};
use super::reserve::is_interface;
use super::state::State;
use super::types::{ConfigFrom, Ipam, IpamConfig, Map, Member, NetworkCreate};
use super::{Error, Network, Networks, routes};

impl Networks {
    /// Creates a bridge network, in the kernel too.
    ///
    /// # Errors
    /// Docker's sentences for names, drivers and subnets that cannot be;
    /// [`Error::Route`] if the kernel refuses the bridge. Nothing stays.
    pub fn create(&self, wanted: NetworkCreate) -> Result<Network, Error> {
        check(&wanted)?;
        let _one_at_a_time = self.changing_networks();
        let network = self.plan(wanted)?;
        // Written first: a bridge that nobody knows would keep its subnet
        // for ever, while one that is missing is made when it is wanted.
        let made =
            self.list_it(&network).and_then(|()| self.ensure_bridge(&network));
        if let Err(error) = made {
            let mut all = vec![error];
            all.extend(self.unlist(&network).err());
            Error::collect(all)?;
        }
        self.update_firewall();
        Ok(network)
    }

    fn list_it(&self, network: &Network) -> Result<(), Error> {
        let id = network.id.clone();
        self.state().networks.insert(id, network.clone());
        self.save_list()
    }

    fn unlist(&self, network: &Network) -> Result<(), Error> {
        self.state().networks.remove(&network.id);
        self.save_list()
    }

    /// Without the state's lock, at which names are waited for: the disk may
    /// take its time.
    pub(super) fn save_list(&self) -> Result<(), Error> {
        let all: Vec<Network> =
            self.state().networks.values().cloned().collect();
        self.files.save_networks(&all)
    }

    /// Everything about the new network, checked against the others.
    fn plan(&self, wanted: NetworkCreate) -> Result<Network, Error> {
        let state = self.state();
        if state.networks.values().any(|it| it.name == wanted.name) {
            return Err(Error::Exists(wanted.name));
        }
        let v6 = wanted.enable_ipv6.unwrap_or_else(|| {
            wanted.ipam.config.iter().any(|it| it.subnet.contains(':'))
        });
        let mut network = Network {
            enable_ipv6: v6,
            ipam: wanted.ipam,
            internal: wanted.internal,
            attachable: wanted.attachable,
            options: wanted.options,
            labels: wanted.labels,
            ..blank(&wanted.name, "bridge")
        };
        check_bridge_name(&network, &state)?;
        self.complete_addresses(&mut network, &state)?;
        Ok(network)
    }

    /// Fills in subnets and gateways the user has not named.
    pub(super) fn complete_addresses(
        &self,
        network: &mut Network,
        state: &State,
    ) -> Result<(), Error> {
        let given = std::mem::take(&mut network.ipam.config);
        let mut taken = self.taken(state)?;
        for config in given {
            if config.subnet.is_empty() {
                // `--gateway` or `--ip-range` alone.
                return Err(Error::Invalid(
                    "invalid subnet : a gateway or an IP range needs a \
                     subnet (--subnet)"
                        .into(),
                ));
            }
            let networks = state.networks.values().chain([&*network]);
            let others = networks.flat_map(|it| it.subnets());
            let others: Vec<_> = others.map(|it| it.subnet).collect();
            let config = complete(config, &others)?;
            if network.subnet(config.subnet.contains(':')).is_some() {
                let text = "bridge driver doesn't support multiple subnets";
                return Err(Error::Forbidden(text.into()));
            }
            taken.extend(config.subnet.parse::<IpNet>());
            network.ipam.config.push(config);
        }
        if network.subnet(false).is_none() {
            let subnet = free_subnet(&self.options.pools, &taken)
                .ok_or(Error::PoolsExhausted)?;
            network.ipam.config.insert(0, with_gateway(subnet));
        }
        if network.enable_ipv6 && network.subnet(true).is_none() {
            let host = std::fs::read_to_string("/etc/machine-id");
            let pool = local_pool6(&host.unwrap_or_default());
            let subnet =
                free_subnet(&[pool], &taken).ok_or(Error::PoolsExhausted)?;
            network.ipam.config.push(with_gateway(subnet));
        }
        Ok(())
    }

    /// What no automatic subnet may overlap.
    fn taken(&self, state: &State) -> Result<Vec<IpNet>, Error> {
        let mut taken: Vec<IpNet> = state
            .networks
            .values()
            .flat_map(|it| it.subnets())
            .map(|it| it.subnet)
            .collect();
        taken.extend(routes()?);
        taken.extend(&self.options.reserved);
        // Where the resolver is reached over a default route alone, its
        // address is in no route and still must stay reachable.
        let host = self.state.host_resolver();
        taken.extend(host.servers.iter().map(|it| IpNet::from(*it)));
        Ok(taken)
    }

    /// All networks, by name.
    pub fn list(&self) -> Vec<Network> {
        let state = self.state();
        let mut all: Vec<Network> = state.networks.values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The name of the network that is named so, or by its ID; what names
    /// none stays as it is.
    pub fn name_of(&self, wanted: &str) -> String {
        let state = self.state();
        let found = state.find(wanted).ok();
        found.map_or(wanted, |it| &it.name).to_owned()
    }

    /// One network by name, ID or beginning of an ID, with its containers.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn inspect(&self, wanted: &str) -> Result<Network, Error> {
        let state = self.state();
        let mut network = state.find(wanted)?.clone();
        let show = |net: Option<IpNet>| {
            net.map(|it| it.to_string()).unwrap_or_default()
        };
        for (sandbox, endpoint) in state.members(&network.id) {
            let member = Member {
                name: sandbox.request.name.clone(),
                endpoint_id: endpoint.settings.endpoint_id.clone(),
                mac_address: endpoint.settings.mac_address.clone(),
                ipv4_address: show(endpoint.v4),
                ipv6_address: show(endpoint.v6),
            };
            network.containers.insert(sandbox.request.id.clone(), member);
        }
        Ok(network)
    }

    /// Removes a network that nobody is connected to.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`] for a predefined one,
    /// [`Error::InUse`].
    pub fn remove(&self, wanted: &str) -> Result<Network, Error> {
        let _one_at_a_time = self.changing_networks();
        let network = {
            let mut state = self.state();
            let network = state.find(wanted)?.clone();
            if network.is_predefined() {
                return Err(Error::Forbidden(format!(
                    "{} is a pre-defined network and cannot be removed",
                    network.name
                )));
            }
            if let Some((sandbox, endpoint)) = state.members(&network.id).next()
            {
                let id = endpoint.settings.endpoint_id.clone();
                return Err(Error::InUse {
                    name: network.name.clone(),
                    container: sandbox.request.name.clone(),
                    id: id.chars().take(12).collect(),
                });
            }
            // Nobody can come to it any more; the file follows the bridge.
            state.networks.remove(&network.id);
            network
        };
        self.update_firewall();
        if let Err(error) = self.delete_bridge(&network) {
            let mut all = vec![error];
            all.extend(self.list_it(&network).err());
            self.update_firewall();
            Error::collect(all)?;
        }
        self.unlist(&network)?;
        Ok(network)
    }

    /// Removes all networks that nobody is connected to and `matches` says
    /// yes to. Returns their names.
    ///
    /// # Errors
    /// What could not be removed; the others are.
    pub fn prune(
        &self,
        matches: impl Fn(&Network) -> bool,
    ) -> Result<Vec<Network>, Error> {
        let mut removed = Vec::new();
        let mut errors = Vec::new();
        for network in self.list() {
            if PREDEFINED.contains(&network.name.as_str()) || !matches(&network)
            {
                continue;
            }
            match self.remove(&network.id) {
                Ok(it) => removed.push(it),
                // Used, or removed by somebody else meanwhile.
                Err(Error::InUse { .. } | Error::NotFound(_)) => {}
                Err(error) => errors.push(error),
            }
        }
        Error::collect(errors)?;
        Ok(removed)
    }
}

pub(super) fn blank(name: &str, driver: &str) -> Network {
    Network {
        name: name.into(),
        id: hex64(),
        created: jiff::Timestamp::now().to_string(),
        scope: "local".into(),
        driver: driver.into(),
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: Ipam::default(),
        internal: false,
        attachable: false,
        ingress: false,
        config_from: ConfigFrom::default(),
        config_only: false,
        containers: BTreeMap::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

fn check(wanted: &NetworkCreate) -> Result<(), Error> {
    let name = &wanted.name;
    if PREDEFINED.contains(&name.as_str()) || name == "default" {
        return Err(Error::Forbidden(format!(
            "operation is not permitted on predefined {name} network"
        )));
    }
    // Unlike a container's, a network's name may be any text.
    if name.trim().is_empty() {
        return Err(Error::Invalid(format!("invalid name: {name}")));
    }
    match wanted.driver.as_str() {
        "" | "bridge" | "default" => {}
        "host" | "null" => {
            return Err(Error::Forbidden(format!(
                "only one instance of \"{}\" network is allowed",
                wanted.driver
            )));
        }
        other => {
            return Err(Error::Invalid(format!(
                "could not find plugin {other} in v1 plugin registry: this \
                 engine has the driver bridge only"
            )));
        }
    }
    if wanted.ingress {
        return Err(Error::Invalid("swarm is not supported".into()));
    }
    if wanted.config_only || !wanted.config_from.network.is_empty() {
        return Err(Error::Invalid(
            "configuration-only networks are not supported: give the options \
             to the network itself"
                .into(),
        ));
    }
    if !matches!(wanted.scope.as_str(), "" | "local") {
        return Err(Error::Forbidden(
            "cannot create a swarm scoped network when swarm is not active"
                .into(),
        ));
    }
    check_options(&wanted.options)?;
    if wanted.enable_ipv4 == Some(false) {
        return Err(Error::Invalid(
            "networks without IPv4 are not supported".into(),
        ));
    }
    match wanted.ipam.driver.as_str() {
        "" | "default" => Ok(()),
        other => Err(Error::Invalid(format!(
            "could not find IPAM driver {other}: there is only default"
        ))),
    }
}

/// In Docker's words, which are its language's: a typing error must not
/// become another setting.
fn check_options(options: &Map) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::Invalid(text));
    for (key, value) in options {
        let unreadable = |parser: &str| {
            refuse(format!(
                "failed to parse {key} value: {value} (strconv.{parser}: \
                 parsing {value:?}: invalid syntax)"
            ))
        };
        match key.as_str() {
            MTU => match value.parse::<i64>() {
                Err(_) => return unreadable("Atoi"),
                // What IPv4 needs at least (RFC 791), and 0 for "any".
                Ok(0 | 68..=65535) => {}
                Ok(_) => {
                    return refuse(format!(
                        "invalid value for {key}: {value} is not from 68 to \
                         65535"
                    ));
                }
            },
            ICC | MASQUERADE if parse_bool(value).is_none() => {
                return unreadable("ParseBool");
            }
            HOST_BINDING if value.parse::<IpAddr>().is_err() => {
                return refuse(format!(
                    "failed to parse {key} value: {value} (nil ip)"
                ));
            }
            // With a number behind it.
            IFPREFIX if !is_interface(&format!("{value}00")) => {
                return refuse(format!(
                    "invalid value for {key}: {value:?} and a number are no \
                     interface's name"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_bridge_name(network: &Network, state: &State) -> Result<(), Error> {
    let name = network.bridge_name();
    let fits = !name.is_empty()
        && name.len() <= 15
        && !name.contains(|it: char| it.is_whitespace() || "/\":".contains(it))
        && !name.starts_with('.');
    if !fits {
        return Err(Error::Invalid(format!(
            "invalid bridge name {name:?}: 1 to 15 characters without \
             spaces, slashes, colons and quotes"
        )));
    }
    let clash = state.networks.values().find(|it| it.bridge_name() == name);
    match clash {
        Some(other) => Err(Error::Forbidden(format!(
            "bridge name {name} is used by network {}",
            other.name
        ))),
        None => Ok(()),
    }
}

/// Checks what the user wrote and adds the gateway.
fn complete(
    mut config: IpamConfig,
    others: &[IpNet],
) -> Result<IpamConfig, Error> {
    let invalid =
        |what: &str, it: &str| Error::Invalid(format!("invalid {what} {it}"));
    let subnet: IpNet =
        config.subnet.parse().map_err(|_| invalid("subnet", &config.subnet))?;
    if subnet != subnet.trunc() {
        return Err(Error::Invalid(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        )));
    }
    if let Some(other) = others.iter().find(|it| overlap(&subnet, it)) {
        return Err(Error::Overlap {
            subnet: subnet.to_string(),
            other: other.to_string(),
        });
    }
    if !config.ip_range.is_empty() {
        let range = config.ip_range.parse::<IpNet>().ok();
        range
            .filter(|it| subnet.contains(it))
            .ok_or_else(|| invalid("ip-range", &config.ip_range))?;
    }
    if config.gateway.is_empty() {
        config.gateway = with_gateway(subnet).gateway;
    }
    let gateway = config.gateway.parse().ok();
    let inside = |it: &IpAddr| usable(&subnet, *it);
    gateway
        .filter(inside)
        .ok_or_else(|| invalid("gateway address", &config.gateway))?;
    for address in config.auxiliary.values() {
        let fits = address.parse().ok().filter(inside);
        fits.ok_or_else(|| invalid("auxiliary address", address))?;
    }
    Ok(config)
}

/// The gateway is the first address, as in Docker.
fn with_gateway(subnet: IpNet) -> IpamConfig {
    let gateway =
        subnet.hosts().find(|it| usable(&subnet, *it)).map(|it| it.to_string());
    IpamConfig {
        subnet: subnet.to_string(),
        gateway: gateway.unwrap_or_default(),
        ..IpamConfig::default()
    }
}
