//! Published ports of a container: held on the host, led to it by the
//! firewall, and by the forwarder where the firewall cannot.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::error::errno_of;
use super::firewall::Forward;
use super::ports::{Held, Published, bind, hold, hold_again, wanted};
use super::proxy::Forwarder;
use super::state::{Endpoint, Sandbox};
use super::{Error, Networks, conntrack, lock};

impl Networks {
    /// Finds host ports for what the container asked for and opens them.
    /// Returns lines for the user.
    pub(super) fn publish(&self, id: &str) -> Result<Vec<String>, Error> {
        let sandbox = self.sandbox(id)?;
        let request = &sandbox.request;
        let mut all =
            wanted(&request.ports, &request.exposed, request.publish_all)?;
        if all.is_empty() {
            return Ok(vec![]);
        }
        let Some((endpoint, binding)) = self.exit_of(&sandbox) else {
            return Ok(vec![
                "ports are not published: the container has no network \
                 that leads out"
                    .into(),
            ]);
        };
        for it in &mut all {
            it.host = it.host.or(binding);
        }
        let taken = |it: &Published| {
            let state = self.state();
            let mut others = state.sandboxes.values();
            others
                .any(|other| other.published.iter().any(|has| has.clashes(it)))
        };
        let mut held: Vec<Held> = Vec::new();
        for it in &all {
            let bind = |host, port, udp| self.bind(host, port, udp);
            held.extend(hold(it, &request.name, &taken, &bind)?);
        }
        let published =
            held.iter().map(|it| it.published.clone()).collect::<Vec<_>>();
        if let Some(it) = self.state().sandboxes.get_mut(id) {
            it.published.clone_from(&published);
        }
        self.let_reach_itself(&endpoint)?;
        self.forward(id, held, &endpoint)?;
        self.firewall.publish(&forwards(&published, &endpoint))?;
        forget_udp(&published);
        Ok(vec![])
    }

    /// The endpoint ports are published on, and the host address its
    /// network binds them to by default.
    fn exit_of(&self, sandbox: &Sandbox) -> Option<(Endpoint, Option<IpAddr>)> {
        let state = self.state();
        let endpoint = sandbox.way_out(&state.networks)?.clone();
        let network = state.networks.get(&endpoint.network)?;
        Some((endpoint, network.host_binding()))
    }

    fn forward(
        &self,
        id: &str,
        held: Vec<Held>,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        let runtime = self.runtime();
        let mut forwarders = Vec::new();
        for it in held {
            let Some(to) = target(&it.published, endpoint, true) else {
                continue;
            };
            let to = SocketAddr::new(to, it.published.container);
            match &self.options.keeper {
                None => forwarders.push(Forwarder::start(&runtime, it, to)?),
                Some(keeper) => keeper
                    .serve(&it, to)
                    .map_err(Error::io("publish a port of", id))?,
            }
        }
        let mut live = lock(&self.live);
        live.entry(id.into()).or_default().forwarders.extend(forwarders);
        Ok(())
    }

    /// Opens a port on the host, which is where the keeper is if we are in
    /// a network of our own.
    fn bind(
        &self,
        host: IpAddr,
        port: u16,
        udp: bool,
    ) -> Result<(OwnedFd, u16), Errno> {
        match &self.options.keeper {
            None => bind(host, port, udp),
            Some(keeper) => {
                keeper.bind(host, port, udp).map_err(|it| errno_of(&it))
            }
        }
    }

    /// After a daemon's restart. A port that a stranger took meanwhile is
    /// still led to the container by the firewall; say so and go on.
    pub(super) fn hold_again(&self, sandbox: &Sandbox) {
        let Some((endpoint, _)) = self.exit_of(sandbox) else { return };
        let mut held = Vec::new();
        let bind = |host, port, udp| self.bind(host, port, udp);
        for it in &sandbox.published {
            if self.is_served(it) {
                continue;
            }
            match hold_again(it, &bind) {
                Ok(it) => held.push(it),
                Err(errno) => self.warn(format!(
                    "port {}:{} of container {} cannot be held any more: \
                     {errno}",
                    it.host, it.port, sandbox.request.name
                )),
            }
        }
        let id = &sandbox.request.id;
        if let Err(error) = self.forward(id, held, &endpoint) {
            self.warn(error.to_string());
        }
    }

    /// A keeper goes on with its ports while there is no daemon.
    fn is_served(&self, published: &Published) -> bool {
        let keeper = self.options.keeper.as_ref();
        keeper.is_some_and(|it| it.serves(published).unwrap_or(false))
    }

    /// Closes what leads from the host's ports to a container.
    pub(super) fn stop_forwarding(&self, sandbox: &Sandbox) {
        let id = &sandbox.request.id;
        let runtime = self.runtime();
        let old = lock(&self.live)
            .get_mut(id)
            .map(|it| std::mem::take(&mut it.forwarders));
        old.into_iter().flatten().for_each(|it| it.stop(&runtime));
        if let Some(keeper) = &self.options.keeper
            && let Err(error) = keeper.stop(&sandbox.published)
        {
            self.warn(format!("the ports of {id} stay open: {error}"));
        }
    }

    /// Leads the same host ports to the endpoint that has the default
    /// route now.
    pub(super) fn republish(
        &self,
        id: &str,
        before: &Sandbox,
    ) -> Result<(), Error> {
        if before.published.is_empty() {
            return Ok(());
        }
        self.unpublish(before)?;
        self.stop_forwarding(before);
        let sandbox = self.sandbox(id)?;
        let Some((endpoint, _)) = self.exit_of(&sandbox) else {
            return Ok(());
        };
        self.let_reach_itself(&endpoint)?;
        self.hold_again(&sandbox);
        self.firewall.publish(&forwards(&sandbox.published, &endpoint))?;
        forget_udp(&sandbox.published);
        Ok(())
    }

    pub(super) fn unpublish(&self, sandbox: &Sandbox) -> Result<(), Error> {
        if sandbox.published.is_empty() {
            return Ok(());
        }
        let ends = sandbox.endpoints.iter();
        let all: Vec<Forward> =
            ends.flat_map(|it| forwards(&sandbox.published, it)).collect();
        self.firewall.unpublish(&all)?;
        forget_udp(&sandbox.published);
        Ok(())
    }

    /// Tells the firewall which bridges there are.
    pub(super) fn update_firewall(&self) {
        self.firewall.set_bridges(self.bridges());
    }

    /// The whole firewall, from what is known.
    pub(super) fn rebuild_firewall(&self) {
        let sandboxes: Vec<Sandbox> =
            self.state().sandboxes.values().cloned().collect();
        let all = sandboxes
            .iter()
            .filter_map(|it| Some((it, self.exit_of(it)?.0)))
            .flat_map(|(it, end)| forwards(&it.published, &end))
            .collect();
        self.firewall.rebuild(self.bridges(), all, self.open_links());
    }

    fn bridges(&self) -> Vec<super::firewall::Bridge> {
        let state = self.state();
        let bridges = state.networks.values();
        let mut bridges: Vec<_> = bridges
            .filter(|it| it.driver == "bridge")
            .map(|it| it.firewall())
            .collect();
        bridges.sort_by(|one, other| one.name.cmp(&other.name));
        bridges
    }
}

fn forget_udp(published: &[Published]) {
    let udp = published.iter().filter(|it| it.udp);
    conntrack::forget_udp(&udp.map(|it| it.port).collect::<Vec<_>>());
}

/// Where a port leads: to the container's address of the host's family. The
/// forwarder can also cross over to the other.
fn target(
    published: &Published,
    endpoint: &Endpoint,
    cross: bool,
) -> Option<IpAddr> {
    let (v4, v6) = (endpoint.v4, endpoint.v6);
    let (same, other) =
        if published.host.is_ipv4() { (v4, v6) } else { (v6, v4) };
    same.or(if cross { other } else { None }).map(|it| it.addr())
}

fn forwards(published: &[Published], endpoint: &Endpoint) -> Vec<Forward> {
    let all = published.iter().filter_map(|it| {
        let to = target(it, endpoint, false)?;
        Some(Forward {
            host: (!it.host.is_unspecified()).then_some(it.host),
            udp: it.udp,
            port: it.port,
            to: (to, it.container),
        })
    });
    all.collect()
}
