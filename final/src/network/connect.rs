//! Networks come and go while a container runs.

use std::os::fd::AsFd;

use super::dns::Sockets;
use super::netns::{Fresh, inside};
use super::reserve::reserve;
use super::route::Route;
use super::state::{Change, Endpoint, Sandbox, State};
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
                it.change = Some(Change::Connecting(endpoint.clone()));
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
        // First what is going to be: whoever finds the link knows whose it is.
        self.files.save(&self.sandbox(id)?)?;
        let mut fresh = self.door(id)?;
        self.plug(&mut fresh, endpoint, false)?;
        self.move_way_out(id, before, &mut fresh)?;
        let sandbox = self.sandbox(id)?;
        if self.needs_resolver(&sandbox) && !self.has_resolver(id) {
            let sockets = inside(fresh.file.as_fd(), Sockets::open_again)?;
            self.start_resolver(id, sockets)?;
        }
        self.update_links()?;
        self.refresh_neighbours(&sandbox);
        self.write_files(&sandbox)?;
        self.changed(id)
    }

    /// Into the namespace of a running container.
    fn door(&self, id: &str) -> Result<Fresh, Error> {
        let path = self.nursery.path(id);
        let file =
            std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        let route = inside(file.as_fd(), Route::open)?;
        Ok(Fresh { file: file.into(), route })
    }

    /// Nothing is left to do of a change.
    fn changed(&self, id: &str) -> Result<(), Error> {
        if let Some(it) = self.state().sandboxes.get_mut(id) {
            it.change = None;
        }
        self.files.save(&self.sandbox(id)?)
    }

    /// Finishes what a daemon that was killed had begun: half of a change
    /// would leave a link whose address somebody else is given, or an
    /// endpoint that nothing leads to. A connection that cannot be made is
    /// given up.
    pub(super) fn finish_change(&self, id: &str) -> Result<(), Error> {
        let sandbox = self.sandbox(id)?;
        let (before, plugged) = match &sandbox.change {
            None => return Ok(()),
            Some(Change::Connecting(endpoint)) => {
                let mut before = sandbox.clone();
                before.endpoints.retain(|it| it.veth != endpoint.veth);
                (before, self.plug_anew(id, endpoint))
            }
            Some(Change::Disconnecting(endpoint)) => {
                let mut before = sandbox.clone();
                before.endpoints.push(endpoint.clone());
                (before, lock(&self.route).delete(&endpoint.veth))
            }
        };
        if plugged.is_err()
            && let Some(it) = self.state().sandboxes.get_mut(id)
            && let Some(Change::Connecting(endpoint)) = &it.change
        {
            let gone = endpoint.veth.clone();
            it.endpoints.retain(|it| it.veth != gone);
        }
        let now = self.sandbox(id)?;
        let mut fresh = self.door(id)?;
        if self.move_default_route(&before, &now, &mut fresh)? {
            // A keeper may have gone on to serve where they led before.
            self.stop_forwarding(&before);
        }
        self.write_files(&now)?;
        self.refresh_neighbours(&now);
        self.changed(id)?;
        plugged
    }

    /// The link may be there without its addresses.
    fn plug_anew(&self, id: &str, endpoint: &Endpoint) -> Result<(), Error> {
        lock(&self.route).delete(&endpoint.veth)?;
        self.plug(&mut self.door(id)?, endpoint, false).inspect_err(|_| {
            // Nothing leads there, so nobody misses what could not be made.
            let _ = lock(&self.route).delete(&endpoint.veth);
        })
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
        match self.move_default_route(before, &now, fresh)? {
            true => self.republish(id, before),
            false => Ok(()),
        }
    }

    /// Returns whether another endpoint has it now.
    fn move_default_route(
        &self,
        before: &Sandbox,
        now: &Sandbox,
        fresh: &mut Fresh,
    ) -> Result<bool, Error> {
        let (old, new) = {
            let state = self.state();
            let of = |it: &Sandbox| it.way_out(&state.networks).cloned();
            (of(before), of(now))
        };
        if old.as_ref().map(|it| &it.network)
            == new.as_ref().map(|it| &it.network)
        {
            return Ok(false);
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
        Ok(true)
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
        let (endpoint, before, now) = {
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
            sandbox.change = Some(Change::Disconnecting(endpoint.clone()));
            let now = sandbox.clone();
            state.hold_back(&endpoint);
            (endpoint, before, now)
        };
        let mut errors = Vec::new();
        errors.extend(self.files.save(&now).err());
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
            let mut fresh = self.door(id)?;
            self.move_way_out(id, before, &mut fresh)?;
        }
        let sandbox = self.sandbox(id)?;
        self.update_links()?;
        self.refresh_neighbours(&sandbox);
        self.write_files(&sandbox)?;
        self.changed(id)
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
