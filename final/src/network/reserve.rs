//! A place in a network for a container: which networks, which addresses,
//! which name for the interface. Nothing here touches the kernel.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cli_api::id::hex64;
use ipnet::IpNet;

use super::bridge::IFPREFIX;
use super::names::dns_names;
use super::pool::{free_address, mac_of, parse_mac, show_mac, usable};
use super::state::{Endpoint, Sandbox, State};
use super::{AttachRequest, EndpointSettings, Error, Network, Networks};

const IFNAME: &str = "com.docker.network.endpoint.ifname";

impl Networks {
    /// Whether a container could come to a network with these wishes, as
    /// far as can be told while it does not run.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] in Docker's words.
    pub fn check(
        &self,
        network: &str,
        wanted: &EndpointSettings,
    ) -> Result<(), Error> {
        check_wanted(self.state().find(network)?, wanted)
    }

    /// Finds the networks and reserves an address in each.
    pub(super) fn reserve(
        &self,
        request: AttachRequest,
    ) -> Result<Sandbox, Error> {
        self.patiently(|state| {
            let sandbox = reserve_all(state, request.clone())?;
            state.sandboxes.insert(request.id.clone(), sandbox.clone());
            Ok(sandbox)
        })
    }

    /// The address of a container that has just left is free when its link
    /// is gone, some milliseconds later. Who wants that address, or the last
    /// one of a small subnet, waits so long: `docker rm -f` and `docker run
    /// --ip` follow each other closely in every script.
    pub(super) fn patiently<T>(
        &self,
        work: impl Fn(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let (error, leaving) = {
            let mut state = self.state();
            match work(&mut state) {
                Err(
                    error @ (Error::AddressInUse(_) | Error::NoAddress { .. }),
                ) => (error, state.leaving.clone()),
                done => return done,
            }
        };
        if leaving.is_empty() {
            return Err(error);
        }
        let began = Instant::now();
        while !leaving.is_disjoint(&self.state().leaving)
            && began.elapsed() < PATIENCE
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        work(&mut self.state())
    }
}

fn reserve_all(
    state: &State,
    request: AttachRequest,
) -> Result<Sandbox, Error> {
    let wanted = wanted_networks(&request);
    let mut sandbox = Sandbox::new(request);
    for (name, settings) in wanted {
        let network = state.find(&name)?.clone();
        if sandbox.endpoints.iter().any(|it| it.network == network.id) {
            continue;
        }
        let endpoint = reserve(state, &network, &sandbox, settings)?;
        sandbox.endpoints.push(endpoint);
    }
    Ok(sandbox)
}

impl State {
    /// The endpoint's addresses stay taken until its link is gone.
    pub(super) fn hold_back(&mut self, endpoint: &Endpoint) {
        for address in endpoint.addresses() {
            let entry = (endpoint.network.clone(), address.addr());
            self.leaving.insert(entry);
        }
    }

    pub(super) fn let_go(&mut self, endpoint: &Endpoint) {
        for address in endpoint.addresses() {
            let entry = (endpoint.network.clone(), address.addr());
            self.leaving.remove(&entry);
        }
    }
}

/// The networks a request names: that of its mode first, which so becomes
/// `eth0`; alone if there are no others. A container that was taken off the
/// network of its mode has others and does not come back to it.
fn wanted_networks(request: &AttachRequest) -> Vec<(String, EndpointSettings)> {
    if request.mode == "none" {
        return vec![];
    }
    let is_own = |name: &str| {
        name == request.mode || request.mode == "bridge" && name == "default"
    };
    let networks = request.networks.iter();
    let (own, others): (Vec<_>, Vec<_>) =
        networks.partition(|(name, _)| is_own(name));
    let mut wanted = Vec::new();
    if !own.is_empty() || others.is_empty() {
        let settings = own.first().map(|it| it.1.clone());
        wanted.push((request.mode.clone(), settings.unwrap_or_default()));
    }
    let others = others.into_iter();
    wanted.extend(others.map(|(name, it)| (name.clone(), it.clone())));
    wanted
}

/// One container's place in one network: checked, with addresses that
/// nobody else has, not yet known to anybody.
pub(super) fn reserve(
    state: &State,
    network: &Network,
    sandbox: &Sandbox,
    wanted: EndpointSettings,
) -> Result<Endpoint, Error> {
    let request = &sandbox.request;
    if network.driver != "bridge" {
        return Err(Error::Forbidden(
            "container cannot be connected to host or none network beside \
             others"
                .into(),
        ));
    }
    if sandbox.endpoints.iter().any(|it| it.network == network.id) {
        return Err(Error::AlreadyConnected {
            container: request.name.clone(),
            network: network.name.clone(),
        });
    }
    check_wanted(network, &wanted)?;
    let v4 = address(state, network, false, wanted.wanted_v4())?;
    let v6 = match network.enable_ipv6 {
        true => address(state, network, true, wanted.wanted_v6())?,
        false => None,
    };
    let mac = match wanted.mac_address.as_str() {
        "" => v4.or(v6).map(|it| mac_of(it.addr())).unwrap_or_default(),
        text => parse_mac(text).ok_or_else(|| {
            Error::Invalid(format!("invalid MAC address: {text}"))
        })?,
    };
    let interface = interface(network, sandbox, &wanted)?;
    let id = hex64();
    let veth = format!("veth{}", &id[..7]);
    let network_id = network.id.clone();
    let mut endpoint = Endpoint {
        network: network_id,
        interface,
        veth,
        v4,
        v6,
        mac,
        settings: wanted,
    };
    show(&mut endpoint, id, network, request);
    Ok(endpoint)
}

/// Fills in what the API shows.
fn show(
    endpoint: &mut Endpoint,
    id: String,
    network: &Network,
    request: &AttachRequest,
) {
    let (v4, v6) = (endpoint.v4, endpoint.v6);
    let text = |net: Option<IpNet>| {
        net.map(|it| it.addr().to_string()).unwrap_or_default()
    };
    let bits = |net: Option<IpNet>| net.map_or(0, |it| it.prefix_len());
    let gateway = |v6: bool| {
        let gateway = network.subnet(v6).and_then(|it| it.gateway);
        let gateway = gateway.filter(|_| !network.internal);
        gateway.map(|it| it.to_string()).unwrap_or_default()
    };
    let settings = &mut endpoint.settings;
    settings.mac_address = show_mac(endpoint.mac);
    settings.network_id.clone_from(&network.id);
    settings.endpoint_id = id;
    settings.ip_address = text(v4);
    settings.ip_prefix_len = bits(v4);
    settings.gateway = gateway(false);
    settings.global_ipv6_address = text(v6);
    settings.global_ipv6_prefix_len = bits(v6);
    settings.ipv6_gateway =
        if v6.is_some() { gateway(true) } else { String::new() };
    settings.dns_names = (!network.is_default()).then(|| {
        let aliases = settings.aliases.clone().unwrap_or_default();
        dns_names(request, &aliases)
    });
}

/// What can be said before there is a place to give.
fn check_wanted(
    network: &Network,
    wanted: &EndpointSettings,
) -> Result<(), Error> {
    check_default(network, wanted)?;
    let ipam = wanted.ipam_config.as_ref();
    if let Some(it) = ipam.and_then(|it| it.link_local_ips.first()) {
        return Err(Error::Invalid(format!(
            "link-local address {it}: --link-local-ip is not supported"
        )));
    }
    check_address(network, false, wanted.wanted_v4())?;
    check_address(network, true, wanted.wanted_v6())
}

fn check_address(
    network: &Network,
    v6: bool,
    wanted: Option<Result<IpAddr, String>>,
) -> Result<(), Error> {
    let wanted = wanted.transpose().map_err(|text| {
        Error::Invalid(format!("invalid IP address: {text}"))
    })?;
    let Some(address) = wanted else { return Ok(()) };
    let subnet = network.subnet(v6).filter(|_| !v6 || network.enable_ipv6);
    match subnet.is_some_and(|it| usable(&it.subnet, address)) {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "no configured subnet contains IP address {address}"
        ))),
    }
}

/// The default bridge has neither chosen addresses nor names, in Docker.
fn check_default(
    network: &Network,
    wanted: &EndpointSettings,
) -> Result<(), Error> {
    if !network.is_default() {
        return Ok(());
    }
    if wanted.wanted_v4().is_some() || wanted.wanted_v6().is_some() {
        return Err(Error::Invalid(
            "user specified IP address is supported on user defined \
             networks only"
                .into(),
        ));
    }
    if wanted.aliases.as_ref().is_some_and(|it| !it.is_empty()) {
        return Err(Error::Invalid(
            "network-scoped alias is supported only for containers in user \
             defined networks"
                .into(),
        ));
    }
    Ok(())
}

fn address(
    state: &State,
    network: &Network,
    v6: bool,
    wanted: Option<Result<IpAddr, String>>,
) -> Result<Option<IpNet>, Error> {
    let Some(subnet) = network.subnet(v6) else { return Ok(None) };
    let used = state.used(network);
    let address = match wanted.and_then(Result::ok) {
        Some(it) if used.contains(&it) => {
            return Err(Error::AddressInUse(it.to_string()));
        }
        Some(it) => it,
        None => free_address(&subnet.subnet, &subnet.range, &used).ok_or_else(
            || Error::NoAddress {
                family: if v6 { 6 } else { 4 },
                name: network.name.clone(),
                id: network.id.clone(),
            },
        )?,
    };
    Ok(IpNet::new(address, subnet.subnet.prefix_len()).ok())
}

/// What the kernel takes for an interface's name (dev_valid_name), but for
/// the loopback's.
pub(super) fn is_interface(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 15
        && !["lo", ".", ".."].contains(&name)
        && !name.contains(|it: char| it.is_whitespace() || "/:".contains(it))
}

/// The name wanted for the interface, else the first free `eth0`, `eth1` …,
/// or what the network wants instead of `eth`.
fn interface(
    network: &Network,
    sandbox: &Sandbox,
    wanted: &EndpointSettings,
) -> Result<String, Error> {
    let taken =
        |name: &str| sandbox.endpoints.iter().any(|it| it.interface == name);
    let own = wanted.driver_opts.as_ref().and_then(|it| it.get(IFNAME));
    let Some(name) = own else {
        let prefix = network.options.get(IFPREFIX).map(String::as_str);
        let prefix = prefix.filter(|it| !it.is_empty()).unwrap_or("eth");
        let mut free = (0..).map(|it| format!("{prefix}{it}"));
        return Ok(free.find(|it| !taken(it)).unwrap_or_default());
    };
    if !is_interface(name) || taken(name) {
        return Err(Error::Invalid(format!(
            "invalid interface name {name:?}: 1 to 15 characters without \
             spaces, slashes and colons, each once in a container"
        )));
    }
    Ok(name.clone())
}
