//! Networks, with what the engine knows beyond [`crate::network`]: events,
//! filters, and the containers' own records.

use std::sync::Arc;

use super::Engine;
use super::containers::state::Status;
use super::containers::{Container, list};
use super::error::{Error, Result};
use super::events::{Attributes, Kind, attributes};
use super::filters::Filters;
use crate::network::{EndpointSettings, Network, NetworkCreate};

/// Filters of `docker network ls`.
pub const LIST_FILTERS: &[&str] =
    &["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];

impl Engine {
    /// Makes a network.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn create_network(&self, wanted: NetworkCreate) -> Result<Network> {
        let network = self.networks.create(wanted)?;
        self.tell_network("create", &network, Attributes::new());
        Ok(network)
    }

    /// The networks that pass the filters, by name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter's value.
    pub fn list_networks(&self, filters: &Filters) -> Result<Vec<Network>> {
        let dangling = filters.flag("dangling")?;
        if let Some(kind) = filters.one("type")
            && !matches!(kind, "custom" | "builtin")
        {
            let text = format!("invalid filter: 'type'='{kind}'");
            return Err(Error::Invalid(text));
        }
        let names = filters.patterns("name");
        let mut list = self.networks.list();
        list.retain(|it| {
            let builtin = it.is_predefined();
            let free = || !builtin && !self.is_used(it);
            names.match_any(&[&it.name])
                && filters.any("id", |part| it.id.starts_with(part))
                && filters.any("driver", |name| name == it.driver)
                && filters.any("scope", |name| name == it.scope)
                && filters.any("type", |kind| (kind == "builtin") == builtin)
                && filters.labels(&it.labels)
                && dangling.is_none_or(|wanted| free() == wanted)
        });
        Ok(list)
    }

    fn is_used(&self, network: &Network) -> bool {
        let found = self.networks.inspect(&network.id);
        found.is_ok_and(|it| !it.containers.is_empty())
    }

    /// Removes a network.
    ///
    /// # Errors
    /// In Docker's words, if it is in use, predefined or not there.
    pub fn remove_network(&self, name: &str) -> Result<()> {
        let network = self.networks.remove(name)?;
        self.tell_network("destroy", &network, Attributes::new());
        Ok(())
    }

    /// Removes what nobody uses. Returns the names.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter's value.
    pub fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>> {
        let until = filters.one("until").map(list::time).transpose()?;
        let removed = self.networks.prune(|it| {
            let made = list::time(&it.created);
            filters.labels(&it.labels)
                && until.is_none_or(|until| made.is_ok_and(|it| it < until))
        })?;
        for network in &removed {
            self.tell_network("destroy", network, Attributes::new());
        }
        self.tell_pruned(Kind::Network, 0);
        Ok(removed.into_iter().map(|it| it.name).collect())
    }

    /// Connects a container to one more network: at once if it runs, else
    /// from its next start on.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn connect_network(
        &self,
        network: &str,
        container: &str,
        wanted: EndpointSettings,
    ) -> Result<()> {
        let container = self.containers.find(container)?;
        let network = self.networks.inspect(network)?;
        let _verb = container.begin();
        self.may_connect(&container, &network)?;
        self.networks.check(&network.id, &wanted)?;
        let running = container.status().has_process();
        let attached = running
            .then(|| {
                let wanted = wanted.clone();
                self.networks.connect(&container.id, &network.id, wanted)
            })
            .transpose()?;
        container.change(|record| {
            let name = &network.name;
            record.own.endpoints.insert(name.clone(), wanted);
            if let Some(attached) = attached {
                record.own.attached.insert(name.clone(), attached);
            }
        })?;
        let about = attributes([("container", &container.id)]);
        self.tell_network("connect", &network, about);
        Ok(())
    }

    fn may_connect(
        &self,
        container: &Container,
        network: &Network,
    ) -> Result<()> {
        let mode = container.with(|it| it.host_config.network_mode.clone());
        let forbidden = |text: &str| Err(Error::Forbidden(text.to_owned()));
        if network.name == "host" || mode == "host" {
            return forbidden(
                "container cannot be disconnected from host network or \
                 connected to host network",
            );
        }
        if mode.starts_with("container:") {
            return forbidden(
                "container sharing network namespace with another container \
                 or host cannot be connected to any other network",
            );
        }
        if network.name == "none" || mode == "none" {
            return forbidden(
                "container cannot be connected to multiple networks with \
                 one of the networks in private (none) mode",
            );
        }
        if matches!(container.status(), Status::Removing | Status::Dead) {
            return Err(Error::Conflict(format!(
                "container {} is marked for removal and cannot be connected \
                 or disconnected to the network",
                container.id
            )));
        }
        let known =
            container.with(|it| it.own.endpoints.contains_key(&network.name));
        if known && !container.status().has_process() {
            let name = container.with(|it| it.short_name().to_owned());
            return forbidden(&format!(
                "endpoint with name {name} already exists in network {}",
                network.name
            ));
        }
        Ok(())
    }

    /// Takes a container off a network, now and for its next starts.
    ///
    /// # Errors
    /// In Docker's words. With `force`, a container that is not there is
    /// none.
    pub fn disconnect_network(
        &self,
        network: &str,
        name: &str,
        force: bool,
    ) -> Result<()> {
        let container = match self.containers.find(name) {
            Ok(container) => container,
            Err(_) if force => {
                return self.cut(&self.networks.inspect(network)?, name);
            }
            Err(error) => return Err(error),
        };
        let network = self.networks.inspect(network)?;
        let _verb = container.begin();
        if network.name == "host" {
            return Err(Error::Forbidden(
                "container cannot be disconnected from host network or \
                 connected to host network"
                    .to_owned(),
            ));
        }
        self.disconnect(&container, &network, name)?;
        let about = attributes([("container", &container.id)]);
        self.tell_network("disconnect", &network, about);
        Ok(())
    }

    fn disconnect(
        &self,
        container: &Arc<Container>,
        network: &Network,
        typed: &str,
    ) -> Result<()> {
        let known = container.change(|record| {
            let name = &network.name;
            record.own.attached.remove(name);
            record.own.endpoints.remove(name).is_some()
        })?;
        if container.status().has_process() {
            self.networks.disconnect(&container.id, &network.id)?;
        } else if !known {
            return Err(Error::Forbidden(format!(
                "container {typed} is not connected to network {}",
                network.name
            )));
        }
        Ok(())
    }

    /// A connection whose container nobody knows any more.
    fn cut(&self, network: &Network, name: &str) -> Result<()> {
        let left = network
            .containers
            .iter()
            .find(|(id, it)| it.name == name || id.starts_with(name));
        match left {
            Some((id, _)) => Ok(self.networks.disconnect(id, &network.id)?),
            None => Err(Error::NotFound(format!("endpoint {name} not found"))),
        }
    }

    fn tell_network(&self, verb: &str, network: &Network, more: Attributes) {
        let about = [("name", &*network.name), ("type", &*network.driver)];
        let mut about = attributes(about);
        about.extend(more);
        self.events.emit(Kind::Network, verb, &network.id, about);
    }
}
