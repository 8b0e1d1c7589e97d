//! Who is found under which name: for the resolver and for `/etc/hosts`.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::dns::{self, Directory};
use super::extra_hosts::{GATEWAY, extra_host};
use super::files::{self, HostResolver};
use super::state::{Endpoint, Sandbox, State};
use super::{AttachRequest, Error, Network, Options, lock};

/// The state, and what the resolver's tasks need beside it.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    dns: Vec<IpAddr>,
    host: Mutex<Arc<HostResolver>>,
    /// Turns with every question, so that each of several containers with
    /// one name comes first in turn.
    turn: AtomicUsize,
}

impl Shared {
    pub(super) fn new(state: State, options: &Options) -> Arc<Shared> {
        Arc::new(Shared {
            state: Mutex::new(state),
            dns: options.dns.clone(),
            host: Mutex::new(Arc::new(HostResolver::read())),
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn host_resolver(&self) -> Arc<HostResolver> {
        Arc::clone(&lock(&self.host))
    }

    /// A laptop has other servers in every room. Docker looks at each start
    /// of a container, too.
    pub(super) fn read_host_resolver(&self) {
        *lock(&self.host) = Arc::new(HostResolver::read());
    }
}

impl Directory for Shared {
    fn addresses(&self, container: &str, name: &str) -> Option<Vec<IpAddr>> {
        let state = self.lock();
        let asker = state.sandboxes.get(container)?;
        let mut found: Vec<IpAddr> = match linked(&state, asker, name) {
            Some(endpoint) => hosts_of(endpoint),
            None => neighbours(&state, asker)
                .filter(|(network, _, it)| answers_to(network, it, name))
                .flat_map(|(_, _, it)| hosts_of(it))
                .collect(),
        };
        if found.is_empty() {
            return None;
        }
        found.sort();
        found.dedup();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let places = turn % found.len();
        found.rotate_left(places);
        Some(found)
    }

    fn name_of(&self, container: &str, address: IpAddr) -> Option<String> {
        let state = self.lock();
        let asker = state.sandboxes.get(container)?;
        neighbours(&state, asker)
            .find(|(_, _, it)| hosts_of(it).contains(&address))
            .map(|(network, sandbox, _)| {
                format!("{}.{}", sandbox.request.name, network.name)
            })
    }

    fn upstreams(&self, container: &str) -> Vec<SocketAddr> {
        let state = self.lock();
        let Some(asker) = state.sandboxes.get(container) else {
            return vec![];
        };
        // A container without a way out shall not reach the outside through
        // questions either: they can carry anything.
        if asker.way_out(&state.networks).is_none() {
            return vec![];
        }
        let host = self.host_resolver();
        let servers = [&asker.request.dns, &self.dns, &host.servers];
        let servers = servers.into_iter().find(|it| !it.is_empty());
        let servers = servers.map(Vec::as_slice).unwrap_or_default();
        servers.iter().map(|it| SocketAddr::new(*it, 53)).collect()
    }
}

/// The endpoints in the user networks of `asker`, its own among them.
fn neighbours<'a>(
    state: &'a State,
    asker: &'a Sandbox,
) -> impl Iterator<Item = (&'a Network, &'a Sandbox, &'a Endpoint)> {
    asker
        .endpoints
        .iter()
        .filter_map(|it| state.networks.get(&it.network))
        .filter(|it| !it.is_default())
        .flat_map(|network| {
            let members = state.members(&network.id);
            members.map(move |(sandbox, it)| (network, sandbox, it))
        })
}

fn answers_to(network: &Network, endpoint: &Endpoint, name: &str) -> bool {
    let names = endpoint.settings.dns_names.iter().flatten();
    let is =
        |wanted: &str| names.clone().any(|it| it.eq_ignore_ascii_case(wanted));
    let within = name
        .strip_suffix(&network.name.to_ascii_lowercase())
        .and_then(|it| it.strip_suffix('.'));
    is(name) || within.is_some_and(is)
}

/// What a `--link other:name` of the asker leads to.
fn linked<'a>(
    state: &'a State,
    asker: &'a Sandbox,
    name: &str,
) -> Option<&'a Endpoint> {
    asker.endpoints.iter().find_map(|own| {
        let links = own.settings.links.iter().flatten();
        let mut links = links.map(|it| link_parts(it));
        let (other, _) =
            links.find(|(_, alias)| alias.eq_ignore_ascii_case(name))?;
        let mut members = state.members(&own.network);
        let is =
            |it: &Sandbox| it.request.name == other || it.request.id == other;
        members.find(|(sandbox, _)| is(sandbox)).map(|(_, it)| it)
    })
}

/// `db:database` is `db` under the name `database`; `/db` is Docker's old
/// way to write a name.
fn link_parts(link: &str) -> (&str, &str) {
    let (other, alias) = link.split_once(':').unwrap_or((link, link));
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    (other.trim_start_matches('/'), alias)
}

fn hosts_of(endpoint: &Endpoint) -> Vec<IpAddr> {
    endpoint.addresses().iter().map(|it| it.addr()).collect()
}

/// The names that find an endpoint: container name, aliases, short ID, host
/// name; each once, in Docker's order.
pub(super) fn dns_names(
    request: &AttachRequest,
    aliases: &[String],
) -> Vec<String> {
    let short: String = request.id.chars().take(12).collect();
    let all = std::iter::once(request.name.clone())
        .chain(aliases.iter().cloned())
        .chain([short, request.hostname.clone()]);
    let mut names: Vec<String> = Vec::new();
    for name in all {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl super::Networks {
    /// Whether the container sees our resolver rather than the host's: on a
    /// user network, which has names, or where the host's own resolver
    /// listens on its loopback, which no container can reach.
    pub(super) fn needs_resolver(&self, sandbox: &Sandbox) -> bool {
        let state = self.state();
        let on_user_network = sandbox.endpoints.iter().any(|it| {
            state.networks.get(&it.network).is_some_and(|it| !it.is_default())
        });
        let none_given =
            sandbox.request.dns.is_empty() && self.options.dns.is_empty();
        on_user_network
            || !sandbox.endpoints.is_empty()
                && none_given
                && self.state.host_resolver().only_local()
    }

    /// Writes the three files, as things are now.
    pub(super) fn write_files(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let request = &sandbox.request;
        let dir = &request.dir;
        files::write(dir, "hostname", &format!("{}\n", request.hostname))?;
        files::write(dir, "hosts", &self.hosts(sandbox))?;
        files::write(dir, "resolv.conf", &self.resolv_conf(sandbox))
    }

    fn resolv_conf(&self, sandbox: &Sandbox) -> String {
        let request = &sandbox.request;
        let pick = |own: &[String], ours: &[String], host: &[String]| {
            let all = [own, ours, host];
            all.into_iter().find(|it| !it.is_empty()).unwrap_or(&[]).to_vec()
        };
        let own = self.needs_resolver(sandbox);
        let host = self.state.host_resolver();
        let servers = match own {
            true => vec![dns::ADDRESS.into()],
            false => {
                let all = [&request.dns, &self.options.dns, &host.servers];
                let found = all.into_iter().find(|it| !it.is_empty());
                found.cloned().unwrap_or_default()
            }
        };
        let search =
            pick(&request.dns_search, &self.options.dns_search, &host.search);
        // Names of containers have no dot: ask for them first as they are.
        let ours = vec!["ndots:0".to_owned()];
        let host_options = if own { &ours } else { &host.options };
        let options =
            pick(&request.dns_options, &self.options.dns_options, host_options);
        files::resolv_conf(&servers, &search, &options)
    }

    fn hosts(&self, sandbox: &Sandbox) -> String {
        let request = &sandbox.request;
        if request.mode == "host" {
            let text = std::fs::read_to_string("/etc/hosts");
            let extra = self.extra_hosts(sandbox);
            let extra: Vec<String> =
                extra.iter().map(|(at, it)| format!("{at}\t{it}\n")).collect();
            return text.unwrap_or_default() + &extra.concat();
        }
        let mut names = request.hostname.clone();
        if !request.domainname.is_empty() {
            names = format!("{names}.{} {names}", request.domainname);
        } else if let Some((short, _)) = request.hostname.split_once('.') {
            names = format!("{names} {short}");
        }
        let mut entries = self.extra_hosts(sandbox);
        entries.extend(self.link_hosts(sandbox));
        for endpoint in &sandbox.endpoints {
            for address in hosts_of(endpoint) {
                entries.push((address.to_string(), names.clone()));
            }
        }
        files::hosts(&entries)
    }

    /// `--add-host`. `host-gateway` is where the host is found: the gateway
    /// of the container's own network, or the loopback with the host's
    /// network.
    fn extra_hosts(&self, sandbox: &Sandbox) -> Vec<(String, String)> {
        let state = self.state();
        let gateway = match sandbox.way_out(&state.networks) {
            Some(endpoint) => endpoint.settings.gateway.clone(),
            None => "127.0.0.1".into(),
        };
        let entries = sandbox.request.extra_hosts.iter();
        entries
            .filter_map(|it| extra_host(it).ok())
            .map(|(name, address)| match address {
                GATEWAY => (gateway.clone(), name.to_owned()),
                _ => (address.to_owned(), name.to_owned()),
            })
            .collect()
    }

    /// Links on the default bridge, which has no resolver.
    fn link_hosts(&self, sandbox: &Sandbox) -> Vec<(String, String)> {
        let state = self.state();
        let mut entries = Vec::new();
        for (id, alias) in &sandbox.request.links {
            let Some(other) = state.sandboxes.get(id) else { continue };
            let shared = other.endpoints.iter().find(|it| {
                sandbox.endpoints.iter().any(|own| own.network == it.network)
            });
            let mut names = vec![alias.clone()];
            for name in [&other.request.hostname, &other.request.name] {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            for address in shared.iter().flat_map(|it| hosts_of(it)) {
                entries.push((address.to_string(), names.join(" ")));
            }
        }
        entries
    }
}
