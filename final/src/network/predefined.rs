//! The networks that are there from the beginning: `bridge`, `host`, `none`.

use super::bridge::{
    BRIDGE_NAME, DEFAULT_BRIDGE, HOST_BINDING, ICC, MASQUERADE, MTU,
};
use super::catalogue::blank;
use super::pool::overlap;
use super::state::State;
use super::types::{IpamConfig, Map};
use super::{DefaultBridge, Error, Network, Networks, lock, routes};

impl Networks {
    /// The default bridge and the two names for "no network of our own".
    pub(super) fn predefine(&self) -> Result<(), Error> {
        let mut state = self.state();
        let mut changed = false;
        for (name, driver) in
            [("bridge", "bridge"), ("host", "host"), ("none", "null")]
        {
            if state.networks.values().any(|it| it.name == name) {
                continue;
            }
            if name == "bridge" && self.options.bridge == DefaultBridge::None {
                continue;
            }
            let mut network = blank(name, driver);
            if name == "bridge" {
                self.complete_default(&mut network, &state)?;
            }
            state.networks.insert(network.id.clone(), network);
            changed = true;
        }
        changed |= self.adapt_default(&mut state)?;
        drop(state);
        if changed { self.save_list() } else { Ok(()) }
    }

    /// Whether there is a default bridge (`--bridge none`).
    pub(super) fn has_default(&self) -> bool {
        self.state().find("bridge").is_ok()
    }

    /// Makes the default bridge that an earlier daemon has left what this
    /// one's settings demand: all of it if nobody is on it, else what can be
    /// changed below a running container.
    fn adapt_default(&self, state: &mut State) -> Result<bool, Error> {
        let Ok(found) = state.find("bridge").cloned() else {
            return Ok(false);
        };
        let used = state.members(&found.id).next().is_some();
        if used {
            let mut options = self.default_options();
            options.insert(BRIDGE_NAME.into(), found.bridge_name());
            return Ok(set_options(state, &found, options));
        }
        if self.options.bridge == DefaultBridge::None {
            self.delete_bridge(&found)?;
            state.networks.remove(&found.id);
            return Ok(true);
        }
        if self.suits(&found)? {
            return Ok(set_options(state, &found, self.default_options()));
        }
        state.networks.remove(&found.id);
        let mut network = blank("bridge", "bridge");
        network.id.clone_from(&found.id);
        self.complete_default(&mut network, state)?;
        state.networks.insert(network.id.clone(), network);
        Ok(true)
    }

    /// Whether the default bridge can keep its subnet. It was free when it
    /// was chosen; the host may have come to know it elsewhere meanwhile
    /// (another engine's network, a VPN), or `--bip` has changed.
    fn suits(&self, found: &Network) -> Result<bool, Error> {
        let own = found.ipam.config.first().map(|it| &it.gateway);
        if let Some(bip) = self.options.bip {
            return Ok(own == Some(&bip.addr().to_string()));
        }
        if let DefaultBridge::Theirs(_) = self.options.bridge {
            // Whoever made the bridge may have given it another address.
            return Ok(false);
        }
        if found.bridge_name() != self.bridge {
            // That of another daemon's `--bridge`.
            return Ok(false);
        }
        let in_kernel = lock(&self.route).index(&found.bridge_name());
        if in_kernel.is_some() {
            return Ok(true);
        }
        let mut routes = routes()?;
        routes.extend(&self.options.reserved);
        Ok(found.subnet(false).is_some_and(|it| {
            !routes.iter().any(|other| overlap(other, &it.subnet))
        }))
    }

    fn complete_default(
        &self,
        network: &mut Network,
        state: &State,
    ) -> Result<(), Error> {
        network.options = self.default_options();
        if let DefaultBridge::Theirs(name) = &self.options.bridge {
            network.ipam.config.extend(self.address_of(name)?);
        }
        if let Some(bip) = self.options.bip {
            network.ipam.config = vec![IpamConfig {
                subnet: bip.trunc().to_string(),
                gateway: bip.addr().to_string(),
                ..IpamConfig::default()
            }];
        }
        // One that is there has its addresses and keeps them.
        if network.ipam.config.is_empty() {
            self.complete_addresses(network, state)?;
        }
        Ok(())
    }

    /// The first IPv4 address of a bridge that the user has made.
    fn address_of(&self, bridge: &str) -> Result<Option<IpamConfig>, Error> {
        let mut route = lock(&self.route);
        let index = route
            .index(bridge)
            .ok_or_else(|| Error::NoBridge(bridge.into()))?;
        let addresses = route.addresses(index)?;
        let mut v4 = addresses.iter().filter(|it| it.addr().is_ipv4());
        Ok(v4.next().map(|it| IpamConfig {
            subnet: it.trunc().to_string(),
            gateway: it.addr().to_string(),
            ..IpamConfig::default()
        }))
    }

    fn default_options(&self) -> Map {
        let binding = self.options.host_binding;
        let binding = binding.map_or("0.0.0.0".into(), |it| it.to_string());
        let options = [
            (BRIDGE_NAME, self.bridge.clone()),
            (DEFAULT_BRIDGE, "true".into()),
            (ICC, self.options.icc.to_string()),
            (MASQUERADE, "true".into()),
            (HOST_BINDING, binding),
            (MTU, self.options.mtu.unwrap_or(1500).to_string()),
        ];
        let options = options.into_iter();
        options.map(|(key, value)| (key.into(), value)).collect()
    }
}

/// Whether that changed anything.
fn set_options(state: &mut State, network: &Network, options: Map) -> bool {
    let changed = network.options != options;
    if let Some(it) = state.networks.get_mut(&network.id) {
        it.options = options;
    }
    changed
}
