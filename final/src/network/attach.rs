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
use std::os::fd::AsFd;

use cli_api::id::hex64;

use super::dns::{Resolver, Sockets};
use super::names::dns_names;
use super::netns::{Fresh, beside};
use super::ports::port_map;
use super::state::Sandbox;
use super::types::Namespace;
use super::{AttachRequest, Attached, EndpointSettings, Error, Networks, lock};

impl Networks {
    /// Gives a container that is about to start its network namespace, its
    /// addresses, its ports and its files.
    ///
    /// # Errors
    /// What could not be had; then nothing of it stays.
    pub fn attach(&self, request: AttachRequest) -> Result<Attached, Error> {
        let mut request = request;
        self.state.read_host_resolver();
        if matches!(request.mode.as_str(), "" | "default") {
            request.mode = "bridge".into();
        }
        if request.mode == "bridge" && !self.has_default() {
            request.mode = "none".into();
        }
        if let Some(other) = request.mode.strip_prefix("container:") {
            let other = other.to_owned();
            self.share_files(request, &other)?;
            let namespace = Namespace::Container(other);
            return Ok(Attached {
                namespace,
                endpoints: BTreeMap::new(),
                ports: BTreeMap::new(),
                warnings: vec![],
            });
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
            return self.write_files(&Sandbox::new(request));
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
        self.write_files(&Sandbox::new(request))?;
        Ok(Attached {
            namespace: Namespace::Host,
            endpoints,
            ports: BTreeMap::new(),
            warnings,
        })
    }

    fn attach_all(&self, request: AttachRequest) -> Result<Attached, Error> {
        let sandbox = self.reserve(request)?;
        let id = sandbox.request.id.clone();
        let (path, mut fresh) = self.nursery.take(&id)?;
        let warnings = self.wire(&sandbox, &mut fresh)?;
        let sandbox = self.sandbox(&id)?;
        self.files.save(&sandbox)?;
        self.write_files(&sandbox)?;
        self.update_links()?;
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

    /// Cables, ports and the resolver. The resolver is opened beside the
    /// rest: both wait for the kernel most of the time.
    fn wire(
        &self,
        sandbox: &Sandbox,
        fresh: &mut Fresh,
    ) -> Result<Vec<String>, Error> {
        let id = &sandbox.request.id;
        let door = fresh.file.try_clone();
        let door = door.map_err(Error::io("duplicate", "a namespace"))?;
        let mut outside = || {
            self.plug_all(sandbox, fresh)?;
            self.publish(id)
        };
        if !self.needs_resolver(sandbox) {
            return outside();
        }
        let (sockets, warnings) =
            beside(door.as_fd(), Sockets::open_first, outside)?;
        self.start_resolver(id, sockets)?;
        Ok(warnings)
    }

    fn plug_all(
        &self,
        sandbox: &Sandbox,
        fresh: &mut Fresh,
    ) -> Result<(), Error> {
        let way_out = {
            let state = self.state();
            sandbox.way_out(&state.networks).map(|it| it.network.clone())
        };
        for endpoint in &sandbox.endpoints {
            let out = way_out.as_ref() == Some(&endpoint.network);
            self.plug(fresh, endpoint, out)?;
        }
        Ok(())
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

    pub(super) fn start_resolver(
        &self,
        id: &str,
        sockets: Sockets,
    ) -> Result<(), Error> {
        let directory = std::sync::Arc::clone(&self.state);
        let runtime = self.runtime();
        let resolver = Resolver::start(&runtime, sockets, id, directory)?;
        let mut live = lock(&self.live);
        live.entry(id.into()).or_default().resolver = Some(resolver);
        Ok(())
    }

    /// Takes up the work for a container that ran on without a daemon.
    pub(super) fn revive(&self, id: &str) -> Result<(), Error> {
        // One network that cannot be had costs the others nothing.
        let unfinished = self.finish_change(id);
        let sandbox = self.sandbox(id)?;
        self.hold_again(&sandbox);
        self.isolate_again(&sandbox)?;
        if self.needs_resolver(&sandbox) {
            let sockets = self.nursery.inside(id, Sockets::open_again)?;
            self.start_resolver(id, sockets)?;
        }
        unfinished
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
        let mut errors = Vec::new();
        if let Some(sandbox) = &gone {
            errors.extend(self.unpublish(sandbox).err());
            errors.extend(self.update_links().err());
            self.stop_forwarding(sandbox);
        }
        let live = lock(&self.live).remove(container);
        if let Some(resolver) = live.and_then(|it| it.resolver) {
            resolver.stop(&self.runtime());
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
    /// came or went, or is found elsewhere or under another name now.
    pub(super) fn refresh_neighbours(&self, changed: &Sandbox) {
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
        self.files.save(&sandbox)?;
        self.refresh_neighbours(&sandbox);
        Ok(())
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
