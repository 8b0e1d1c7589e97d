//! Networks: bridges, addresses, names and published ports.
//!
//! A container on a bridge network has a network namespace of its own and
//! in it one end of a virtual cable (veth(4)); the other end is plugged
//! into a virtual switch, the bridge, that belongs to its network:
//!
//! ```text
//!  container web            host                         outside
//!  ┌──────────────┐
//!  │ eth0         │ veth   ┌─────────────┐  nf_tables
//!  │ 172.17.0.2 ●─┼────────┤ skiff0      ├─ masquerade ──▶ eth0
//!  │ 127.0.0.11 ◀─┼─ DNS   │ 172.17.0.1  │◀─ port 8080
//!  └──────────────┘        └─────────────┘
//! ```
//! [`Networks`] does this without any program's help: it talks rtnetlink
//! (links, addresses, routes) and nf_tables (rewriting, isolation) to the
//! kernel itself. Everything here blocks and may be called from many
//! threads at once; a container's start waits for two or three milliseconds.
//!
//! What the kernel holds can always be made again from the files below
//! `<data root>/network`, see [`Networks::restore`].

mod attach;
mod bridge;
mod cables;
mod catalogue;
mod connect;
mod conntrack;
mod dns;
mod error;
mod extra_hosts;
mod files;
mod firewall;
mod icc;
mod links;
mod names;
mod netlink;
mod netns;
mod nft;
mod options;
mod pool;
pub mod port_spec;
mod ports;
mod predefined;
mod proxy;
mod publish;
mod reaper;
mod reserve;
mod route;
mod state;
mod types;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;
use tokio::runtime::{Handle, Runtime};

pub use cables::Cable;
pub use error::Error;
pub use extra_hosts::extra_host;
pub use options::{DefaultBridge, Options};
pub use pool::{AddressPool, default_pools};
pub(crate) use ports::{Held, Published, bind};
pub(crate) use proxy::Forwarder;
pub use types::*;

use dns::Resolver;
use firewall::Firewall;
use netns::Nursery;
use reaper::Reaper;
use route::Route;
use state::{Files, State};

/// All networks of an engine.
#[derive(Debug)]
pub struct Networks {
    options: Options,
    /// The default bridge's name in the kernel.
    bridge: String,
    state: Arc<names::Shared>,
    files: Files,
    nursery: Nursery,
    firewall: Firewall,
    route: Mutex<Route>,
    reaper: Reaper,
    /// Sockets and tasks of the connected containers.
    live: Mutex<HashMap<String, Live>>,
    /// Held while the list of networks changes.
    changing: Mutex<()>,
    /// Serves names and forwards connections. `None` only while dropping.
    runtime: Option<Runtime>,
    warnings: Mutex<Vec<String>>,
}

/// What works for one container inside this process.
#[derive(Debug, Default)]
struct Live {
    resolver: Option<Resolver>,
    forwarders: Vec<Forwarder>,
}

impl Networks {
    /// Reads the state and makes the host ready to route. No container is
    /// served before [`Networks::restore`].
    ///
    /// # Errors
    /// Unreadable state, or a kernel that refuses rtnetlink.
    pub fn open(options: Options) -> Result<Networks, Error> {
        let files = Files::open(&options.data_root)?;
        let (state, damaged) = files.load()?;
        let options::OwnNames { bridge, table, pins } = options.own_names();
        let outside = links::become_router(&options.run_dir)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("skiff-network")
            .enable_all()
            .build()
            .map_err(Error::io("start the threads for", "networks"))?;
        let state = names::Shared::new(state, &options);
        let networks = Networks {
            reaper: Reaper::start(Arc::clone(&state))?,
            state,
            nursery: Nursery::open(&pins)?,
            firewall: Firewall::new(table, outside),
            route: Mutex::new(Route::open()?),
            live: Mutex::default(),
            changing: Mutex::default(),
            runtime: Some(runtime),
            warnings: Mutex::default(),
            options,
            bridge,
            files,
        };
        networks.predefine()?;
        damaged.iter().for_each(|it| networks.warn(it.to_string()));
        Ok(networks)
    }

    /// Takes up again what `running` containers had when the last daemon
    /// ended, gives back what belonged to all others, and installs the
    /// firewall. Returns what failed: it concerns single containers.
    pub fn restore(&self, running: &[String]) -> Vec<Error> {
        let known: Vec<String> =
            self.state().sandboxes.keys().cloned().collect();
        let mut errors = at_once(&known, |id| {
            let alive = running.contains(id) && self.nursery.is_alive(id);
            if alive { self.revive(id) } else { self.leave(id) }
        });
        // Pinned by a daemon that was killed before it wrote that down.
        for id in self.nursery.pinned() {
            if !self.state().sandboxes.contains_key(&id) {
                errors.extend(self.nursery.release(&id).err());
            }
        }
        self.rebuild_firewall();
        // At once, so that other engines see whose the subnet is.
        if let Ok(default) = self.inspect("bridge") {
            errors.extend(self.claim_bridge(&default).err());
        }
        self.nursery.fill();
        errors
    }

    /// What a user should know: kernel features that are missing, other
    /// firewalls in the way. For the daemon's log and `skiff info`.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = lock(&self.warnings).clone();
        if let Some(cause) = self.firewall.lost() {
            all.push(format!(
                "published ports go through a forwarder in the daemon: they \
                 end while no daemon runs, containers see the host as their \
                 client, there is no way out of a bridge network and no \
                 isolation between networks, because: {cause}"
            ));
        }
        for chain in self.firewall.foreign_drops() {
            all.push(format!(
                "the firewall chain {chain:?} drops forwarded packets and \
                 is not ours to change: containers may not reach other \
                 hosts, nor others published ports; let packets of the \
                 interfaces skiff* and br-* pass in it"
            ));
        }
        all
    }

    /// The firewall as nft(8) would list it.
    pub fn rules(&self) -> String {
        self.firewall.text()
    }

    /// Takes everything out of the kernel that only makes sense while there
    /// are containers: bridges and the firewall. Does nothing while one is
    /// connected.
    ///
    /// # Errors
    /// What could not be removed; the rest is.
    pub fn close(&self) -> Result<(), Error> {
        if !self.state().sandboxes.is_empty() {
            return Ok(());
        }
        self.settle();
        let mut errors: Vec<Error> =
            self.firewall.remove().err().into_iter().collect();
        for network in self.list() {
            if network.driver == "bridge" {
                errors.extend(self.delete_bridge(&network).err());
            }
        }
        Error::collect(errors)
    }

    /// Returns when the links of all containers that have left are gone.
    pub fn settle(&self) {
        self.reaper.settle();
    }

    fn warn(&self, line: String) {
        lock(&self.warnings).push(line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn changing_networks(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    fn runtime(&self) -> Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle().clone(),
            None => unreachable!("the runtime is there until the drop"),
        }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        lock(&self.live).clear();
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed where the last owner may be a task.
            runtime.shutdown_background();
        }
    }
}

/// Does the same for many, of whom each waits for the kernel most of the
/// time. Returns what failed.
fn at_once(
    all: &[String],
    work: impl Fn(&String) -> Result<(), Error> + Sync,
) -> Vec<Error> {
    const THREADS: usize = 16;
    let next = AtomicUsize::new(0);
    let errors = Mutex::new(Vec::new());
    let worker = || {
        let take = || all.get(next.fetch_add(1, Ordering::Relaxed));
        while let Some(one) = take() {
            let failed = work(one).err();
            lock(&errors).extend(failed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..THREADS.min(all.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    errors.into_inner().unwrap_or_else(|it| it.into_inner())
}

/// The subnets that the calling thread's network namespace has routes to.
///
/// # Errors
/// A kernel that refuses rtnetlink.
pub(crate) fn routes() -> Result<Vec<IpNet>, Error> {
    Route::open()?.destinations()
}

/// Switches on the loopback of the calling thread's network namespace.
///
/// # Errors
/// A kernel that refuses rtnetlink.
pub(crate) fn loopback_up() -> Result<(), Error> {
    Route::open()?.up(1, "lo")
}

/// A lock that outlives panics: what it guards is never left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|it| it.into_inner())
}

#[cfg(test)]
mod tests;
