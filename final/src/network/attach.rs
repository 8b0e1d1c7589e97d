//! A container comes to its networks, and leaves them.
//!
//! Coming is an ordered list of steps; when one fails, leaving undoes them
//! all, in the opposite order, and whatever is not there is no error:
//!
//! ```text
//! addresses are reserved            in memory
//! a namespace is taken and pinned   <run dir>/netns/ID
//! veth pairs, addresses, routes     rtnetlink
//! host ports are held               sockets
//! … and lead to the container       nf_tables, forwarder
//! the resolver opens                127.0.0.11 in the namespace
//! hosts, resolv.conf, hostname      the container's directory
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;

use cli_api::id::hex64;
use ipnet::IpNet;

use super::dns::{Resolver, Sockets};
use super::names::dns_names;
use super::netns::{Fresh, inside};
use super::pool::{free_address, mac_of, parse_mac, show_mac, usable};
use super::ports::port_map;
use super::route::Route;
use super::state::{Endpoint, Sandbox, State};
use super::types::Namespace;
use super::{
    AttachRequest, Attached, EndpointSettings, Error, Network, Networks, lock,
};

const IFNAME: &str = "com.docker.network.endpoint.ifname";

impl Networks {
    /// Gives a container that is about to start its network namespace, its
    /// addresses, its ports and its files.
    ///
    /// # Errors
    /// What could not be had; then nothing of it stays.
    pub fn attach(&self, request: AttachRequest) -> Result<Attached, Error> {
        let mut request = request;
        if matches!(request.mode.as_str(), "" | "default") {
            request.mode = "bridge".into();
        }
        if let Some(other) = request.mode.strip_prefix("container:") {
            let other = other.to_owned();
            self.share_files(request, &other)?;
            let namespace = Namespace::Container(other);
            return Ok(Attached { namespace, ..Attached::default() });
        }
        if request.mode == "host" {
            return self.attach_to_host(request);
        }
        // Left by a start that this daemon did not see the end of.
        self.leave(&request.id)?;
        let id = request.id.clone();
        match self.attach_all(request) {
            Ok(attached) => Ok(attached),
            Err(error) => {
                let mut all = vec![error];
                all.extend(self.leave(&id).err());
                Error::collect(all)?;
                unreachable!("there is at least one error")
            }
        }
    }

    /// One network, one set of files: links to those of the other
    /// container, which are rewritten in place when things change.
    fn share_files(
        &self,
        mut request: AttachRequest,
        other: &str,
    ) -> Result<(), Error> {
        let other = self.state().sandboxes.get(other).cloned();
        let Some(other) = other else {
            // It is in the host's network itself.
            request.mode = "host".into();
            let (endpoints, published) = (vec![], vec![]);
            let sandbox = Sandbox { request, endpoints, published };
            return self.write_files(&sandbox);
        };
        for name in ["hosts", "hostname", "resolv.conf"] {
            let own = request.dir.join(name);
            let _ = std::fs::remove_file(&own);
            std::fs::hard_link(other.request.dir.join(name), &own)
                .map_err(Error::io("share", own))?;
        }
        Ok(())
    }

    fn attach_to_host(
        &self,
        request: AttachRequest,
    ) -> Result<Attached, Error> {
        let mut warnings = Vec::new();
        if !request.ports.is_empty() || request.publish_all {
            warnings.push(
                "Published ports are discarded when using host network mode"
                    .to_owned(),
            );
        }
        let endpoints = self.placeholder("host")?;
        let (published, ends) = (vec![], vec![]);
        let sandbox = Sandbox { request, endpoints: ends, published };
        self.write_files(&sandbox)?;
        Ok(Attached {
            namespace: Namespace::Host,
            endpoints,
            warnings,
            ..Attached::default()
        })
    }

    fn attach_all(&self, request: AttachRequest) -> Result<Attached, Error> {
        let sandbox = self.reserve(request)?;
        let id = sandbox.request.id.clone();
        if self.rootless() {
            return self.attach_rootless(&sandbox);
        }
        let (path, mut fresh) = self.nursery.take(&id)?;
        let way_out = {
            let state = self.state();
            sandbox.way_out(&state.networks).map(|it| it.network.clone())
        };
        for endpoint in &sandbox.endpoints {
            let out = way_out.as_ref() == Some(&endpoint.network);
            self.plug(&mut fresh, endpoint, out)?;
        }
        let warnings = self.publish(&id)?;
        let sandbox = self.sandbox(&id)?;
        self.open_resolver(&sandbox, &fresh)?;
        self.files.save(&sandbox)?;
        self.write_files(&sandbox)?;
        self.refresh_neighbours(&sandbox);
        let endpoints = match sandbox.request.mode.as_str() {
            "none" => self.placeholder("none")?,
            _ => self.endpoints(&id),
        };
        let exposed = &sandbox.request.exposed;
        let ports = port_map(&sandbox.published, exposed);
        let namespace = Namespace::Path(path);
        Ok(Attached { namespace, endpoints, ports, warnings })
    }

    /// An ordinary user's container has a loopback and nothing else: the
    /// host's network namespace is not ours to plug cables into.
    fn attach_rootless(&self, sandbox: &Sandbox) -> Result<Attached, Error> {
        let mut warnings = Vec::new();
        if sandbox.request.mode != "none" {
            warnings.push(
                "no network but the loopback: bridges need root; run the \
                 engine as root, or the container with --network host"
                    .to_owned(),
            );
        }
        self.write_files(sandbox)?;
        let endpoints = self.endpoints(&sandbox.request.id);
        let namespace = Namespace::New;
        Ok(Attached { namespace, endpoints, warnings, ..Attached::default() })
    }

    /// What inspect shows for a container without a bridge network.
    fn placeholder(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, EndpointSettings>, Error> {
        let settings = EndpointSettings {
            network_id: self.state().find(name)?.id.clone(),
            endpoint_id: hex64(),
            ..EndpointSettings::default()
        };
        Ok(BTreeMap::from([(name.to_owned(), settings)]))
    }

    /// Finds the networks and reserves an address in each.
    fn reserve(&self, request: AttachRequest) -> Result<Sandbox, Error> {
        let wanted = wanted_networks(&request);
        let mut state = self.state();
        let id = request.id.clone();
        let mut sandbox =
            Sandbox { request, endpoints: vec![], published: vec![] };
        for (name, settings) in wanted {
            let network = state.find(&name)?.clone();
            if sandbox.endpoints.iter().any(|it| it.network == network.id) {
                continue;
            }
            let endpoint = reserve(&state, &network, &sandbox, settings)?;
            sandbox.endpoints.push(endpoint);
        }
        state.sandboxes.insert(id, sandbox.clone());
        Ok(sandbox)
    }

    fn open_resolver(
        &self,
        sandbox: &Sandbox,
        fresh: &Fresh,
    ) -> Result<(), Error> {
        if !self.needs_resolver(sandbox) {
            return Ok(());
        }
        let sockets = inside(fresh.file.as_fd(), Sockets::open)?;
        self.start_resolver(&sandbox.request.id, sockets)
    }

    fn start_resolver(&self, id: &str, sockets: Sockets) -> Result<(), Error> {
        let directory = std::sync::Arc::clone(&self.state);
        let runtime = self.runtime();
        let resolver = Resolver::start(&runtime, sockets, id, directory)?;
        let mut live = lock(&self.live);
        live.entry(id.into()).or_default().resolver = Some(resolver);
        Ok(())
    }

    /// Takes up the work for a container that ran on without a daemon.
    pub(super) fn revive(&self, id: &str) -> Result<(), Error> {
        let sandbox = self.sandbox(id)?;
        self.hold_again(&sandbox);
        if self.needs_resolver(&sandbox) {
            let sockets = self.nursery.inside(id, Sockets::open)?;
            self.start_resolver(id, sockets)?;
        }
        Ok(())
    }

    /// Connects a running container to one more network.
    ///
    /// # Errors
    /// [`Error::AlreadyConnected`], no such network, no such address, or
    /// the kernel's refusal; then nothing of it stays.
    pub fn connect(
        &self,
        container: &str,
        network: &str,
        settings: EndpointSettings,
    ) -> Result<EndpointSettings, Error> {
        let (endpoint, before) = {
            let mut state = self.state();
            let network = state.find(network)?.clone();
            let before = sandbox_of(&state, container, &network.name)?.clone();
            let endpoint = reserve(&state, &network, &before, settings)?;
            let sandbox = state.sandboxes.get_mut(container);
            if let Some(it) = sandbox {
                it.endpoints.push(endpoint.clone());
            }
            (endpoint, before)
        };
        let done = self.plug_running(container, &endpoint, &before);
        if let Err(error) = done {
            let mut all = vec![error];
            all.extend(self.disconnect(container, &endpoint.network).err());
            Error::collect(all)?;
        }
        Ok(endpoint.settings)
    }

    fn plug_running(
        &self,
        id: &str,
        endpoint: &Endpoint,
        before: &Sandbox,
    ) -> Result<(), Error> {
        let path = self.nursery.path(id);
        let file =
            std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        let route = inside(file.as_fd(), Route::open)?;
        let mut fresh = Fresh { file: file.into(), route };
        self.plug(&mut fresh, endpoint, false)?;
        self.move_way_out(id, before, &mut fresh)?;
        let sandbox = self.sandbox(id)?;
        if !self.has_resolver(id) {
            self.open_resolver(&sandbox, &fresh)?;
        }
        self.files.save(&sandbox)?;
        self.write_files(&sandbox)
    }

    fn has_resolver(&self, id: &str) -> bool {
        lock(&self.live).get(id).is_some_and(|it| it.resolver.is_some())
    }

    /// After a change of the endpoints: sets the default route and the
    /// published ports to the endpoint that has them now.
    fn move_way_out(
        &self,
        id: &str,
        before: &Sandbox,
        fresh: &mut Fresh,
    ) -> Result<(), Error> {
        let now = self.sandbox(id)?;
        let (old, new) = {
            let state = self.state();
            let of = |it: &Sandbox| it.way_out(&state.networks).cloned();
            (of(before), of(&now))
        };
        if old.as_ref().map(|it| &it.network)
            == new.as_ref().map(|it| &it.network)
        {
            return Ok(());
        }
        if let Some(it) = &old
            // Gone already if its link is.
            && let Some(index) = fresh.route.index(&it.interface)
        {
            for gateway in it.gateways() {
                fresh.route.remove_default(index, gateway)?;
            }
        }
        if let Some(it) = &new {
            let index = fresh.route.index(&it.interface).unwrap_or_default();
            let link = (index, it.interface.as_str());
            fresh.route.configure(link, &[], &it.gateways())?;
        }
        self.republish(id, before)
    }

    /// Takes a running container off a network.
    ///
    /// # Errors
    /// [`Error::NotConnected`]; or what could not be undone.
    pub fn disconnect(
        &self,
        container: &str,
        network: &str,
    ) -> Result<(), Error> {
        let (endpoint, before) = {
            let mut state = self.state();
            let network = state.find(network)?.clone();
            let missing = || Error::NotConnected {
                container: container.into(),
                network: network.name.clone(),
            };
            let sandbox =
                state.sandboxes.get_mut(container).ok_or_else(missing)?;
            let before = sandbox.clone();
            let place = sandbox
                .endpoints
                .iter()
                .position(|it| it.network == network.id)
                .ok_or_else(missing)?;
            let endpoint = sandbox.endpoints.remove(place);
            state.hold_back(&endpoint);
            (endpoint, before)
        };
        let mut errors = Vec::new();
        errors.extend(lock(&self.route).delete(&endpoint.veth).err());
        self.state().let_go(&endpoint);
        errors.extend(self.after_disconnect(container, &before).err());
        Error::collect(errors)
    }

    fn after_disconnect(
        &self,
        id: &str,
        before: &Sandbox,
    ) -> Result<(), Error> {
        if self.nursery.is_alive(id) {
            let path = self.nursery.path(id);
            let file =
                std::fs::File::open(&path).map_err(Error::io("open", &path))?;
            let route = inside(file.as_fd(), Route::open)?;
            let mut fresh = Fresh { file: file.into(), route };
            self.move_way_out(id, before, &mut fresh)?;
        }
        let sandbox = self.sandbox(id)?;
        self.files.save(&sandbox)?;
        self.write_files(&sandbox)
    }

    /// Gives everything back that a container had. One that had nothing is
    /// fine.
    ///
    /// # Errors
    /// Everything that could not be undone; the rest is.
    pub fn leave(&self, container: &str) -> Result<(), Error> {
        let gone = {
            let mut state = self.state();
            let gone = state.sandboxes.remove(container);
            for endpoint in gone.iter().flat_map(|it| &it.endpoints) {
                state.hold_back(endpoint);
            }
            gone
        };
        let live = lock(&self.live).remove(container);
        let mut errors = Vec::new();
        if let Some(sandbox) = &gone {
            errors.extend(self.unpublish(sandbox).err());
        }
        if let Some(live) = live {
            let runtime = self.runtime();
            let forwarders = live.forwarders.into_iter();
            forwarders.for_each(|it| it.stop(&runtime));
            live.resolver.into_iter().for_each(|it| it.stop(&runtime));
        }
        errors.extend(self.nursery.release(container).err());
        if let Some(sandbox) = &gone {
            self.reaper.take(sandbox.endpoints.clone());
        }
        errors.extend(self.files.forget(container).err());
        if let Some(sandbox) = &gone {
            self.refresh_neighbours(sandbox);
        }
        Error::collect(errors)
    }

    /// Rewrites `/etc/hosts` of those that are linked to a container that
    /// came or went.
    fn refresh_neighbours(&self, changed: &Sandbox) {
        let id = &changed.request.id;
        let linked: Vec<Sandbox> = {
            let state = self.state();
            let all = state.sandboxes.values();
            let linked = all.filter(|it| {
                it.request.links.iter().any(|(other, _)| other == id)
            });
            linked.cloned().collect()
        };
        for sandbox in linked {
            if let Err(error) = self.write_files(&sandbox) {
                self.warn(error.to_string());
            }
        }
    }

    /// A connected container has a new name, by which others find it.
    ///
    /// # Errors
    /// If the state cannot be saved.
    pub fn rename(&self, container: &str, name: &str) -> Result<(), Error> {
        let sandbox = {
            let mut state = self.state();
            let Some(sandbox) = state.sandboxes.get_mut(container) else {
                return Ok(());
            };
            sandbox.request.name = name.into();
            let request = sandbox.request.clone();
            for endpoint in &mut sandbox.endpoints {
                let settings = &mut endpoint.settings;
                if settings.dns_names.is_some() {
                    let aliases = settings.aliases.clone();
                    let aliases = aliases.unwrap_or_default();
                    settings.dns_names = Some(dns_names(&request, &aliases));
                }
            }
            sandbox.clone()
        };
        self.files.save(&sandbox)
    }

    /// `NetworkSettings.Networks` of a connected container, by network
    /// name.
    pub fn endpoints(
        &self,
        container: &str,
    ) -> BTreeMap<String, EndpointSettings> {
        let state = self.state();
        let ends = state.sandboxes.get(container);
        ends.iter()
            .flat_map(|it| &it.endpoints)
            .filter_map(|it| {
                let network = state.networks.get(&it.network)?;
                Some((network.name.clone(), it.settings.clone()))
            })
            .collect()
    }

    pub(super) fn sandbox(&self, id: &str) -> Result<Sandbox, Error> {
        self.state().sandboxes.get(id).cloned().ok_or_else(|| {
            Error::State(format!("container {id} left while it was connected"))
        })
    }
}

impl State {
    /// The endpoint's addresses stay taken until its link is gone.
    fn hold_back(&mut self, endpoint: &Endpoint) {
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

fn sandbox_of<'a>(
    state: &'a State,
    container: &str,
    network: &str,
) -> Result<&'a Sandbox, Error> {
    let found = state.sandboxes.get(container);
    let sandbox = found.ok_or_else(|| Error::NotConnected {
        container: container.into(),
        network: network.into(),
    })?;
    match sandbox.request.mode.as_str() {
        "none" => Err(Error::Forbidden(
            "container cannot be connected to multiple networks with one of \
             the networks in private (none) mode"
                .into(),
        )),
        _ => Ok(sandbox),
    }
}

/// One container's place in one network: checked, with addresses that
/// nobody else has, not yet known to anybody.
fn reserve(
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
    check_default(network, &wanted)?;
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
    let interface = interface(sandbox, &wanted)?;
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
    let address = match wanted {
        Some(Err(text)) => {
            return Err(Error::Invalid(format!("invalid IP address: {text}")));
        }
        Some(Ok(it)) if used.contains(&it) => {
            return Err(Error::AddressInUse(it.to_string()));
        }
        Some(Ok(it)) if !usable(&subnet.subnet, it) => {
            return Err(Error::Invalid(format!(
                "no configured subnet contains IP address {it}"
            )));
        }
        Some(Ok(it)) => it,
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

/// The name wanted for the interface, else the first free `eth0`, `eth1` …
fn interface(
    sandbox: &Sandbox,
    wanted: &EndpointSettings,
) -> Result<String, Error> {
    let taken =
        |name: &str| sandbox.endpoints.iter().any(|it| it.interface == name);
    let own = wanted.driver_opts.as_ref().and_then(|it| it.get(IFNAME));
    let Some(name) = own else {
        let mut free = (0..).map(|it| format!("eth{it}"));
        return Ok(free.find(|it| !taken(it)).unwrap_or_default());
    };
    let fits = !name.is_empty()
        && name.len() <= 15
        && name != "lo"
        && !name.contains(|it: char| it.is_whitespace() || "/:".contains(it));
    if !fits || taken(name) {
        return Err(Error::Invalid(format!(
            "invalid interface name {name:?}: 1 to 15 characters without \
             spaces, slashes and colons, each once in a container"
        )));
    }
    Ok(name.clone())
}
