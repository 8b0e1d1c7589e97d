//! Networks come and go while a container runs.

use std::os::fd::AsFd;

use super::dns::Sockets;
use super::netns::{Fresh, inside};
use super::reserve::reserve;
use super::route::Route;
use super::state::{Endpoint, Sandbox, State};
use super::{EndpointSettings, Error, Networks, lock};

impl Networks {
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
        let (endpoint, before) = self.patiently(|state| {
            let network = state.find(network)?.clone();
            let before = sandbox_of(state, container, &network.name)?.clone();
            let wanted = settings.clone();
            let endpoint = reserve(state, &network, &before, wanted)?;
            let sandbox = state.sandboxes.get_mut(container);
            if let Some(it) = sandbox {
                it.endpoints.push(endpoint.clone());
            }
            Ok((endpoint, before))
        })?;
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
        if self.needs_resolver(&sandbox) && !self.has_resolver(id) {
            let sockets = inside(fresh.file.as_fd(), Sockets::open_again)?;
            self.start_resolver(id, sockets)?;
        }
        self.files.save(&sandbox)?;
        self.update_links()?;
        self.refresh_neighbours(&sandbox);
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
        self.update_links()?;
        self.refresh_neighbours(&sandbox);
        self.write_files(&sandbox)
    }
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
