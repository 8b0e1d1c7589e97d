//! `docker start`: from a record to a running process.
//!
//! ```text
//! root file system ‖ network      side by side, neither needs the other
//! shim: cgroup, namespaces, mounts; the process waits at its gate
//! attachers are connected          so that not a byte of output is missed
//! the gate opens
//! ```

use std::sync::Arc;
use std::time::Instant;

use namespaces::Namespace;

use super::record::Record;
use super::spec::{self, Prepared};
use super::state::{Step, next, now};
use super::{Container, inspect, mounts};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::Attributes;
use crate::network::{self, AttachRequest, Attached};
use crate::shim::{self, Client};

impl Engine {
    /// Starts a container.
    ///
    /// # Errors
    /// [`Error::NotModified`] if it runs already; otherwise why its process
    /// could not be made, in Docker's words where the docker command looks
    /// at them. Nothing is left of the attempt.
    pub fn start(self: &Arc<Self>, name: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let verb = container.begin();
        let result = self.start_begun(&container);
        drop(verb);
        let started = !matches!(result, Err(Error::NotModified));
        if result.is_err() && started && self.removes_itself(&container) {
            // The failed start is the error that matters.
            let _ = self.remove_container(&container, true, true);
        }
        result
    }

    /// The same for who holds the right to do something to it.
    pub(super) fn start_begun(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<()> {
        next(&container.id, container.status(), Step::Start)?;
        // Before anything is made, so that a daemon that is killed in the
        // middle leaves a trace for the next one to clean up by.
        container.change(|record| {
            record.own.in_use = true;
            record.own.stopped_by_hand = false;
            record.state.error.clear();
        })?;
        match self.launch(container) {
            Ok(launched) => self.started(container, launched),
            Err(failure) => Err(self.start_failed(container, failure)),
        }
    }

    fn started(
        self: &Arc<Self>,
        container: &Arc<Container>,
        launched: Launched,
    ) -> Result<()> {
        container.advance(Step::Start, |record| {
            record.state.pid = launched.pid;
            record.state.started_at.clone_from(&launched.started_at);
            record.state.exit_code = 0;
            record.state.oom_killed = false;
            record.state.health = super::health::initial(&record.config);
        })?;
        // Who came between the gate and this moment is still on the list.
        container.connect_attachers(&launched.client);
        self.tell_networks(container, "connect");
        self.tell(container, "start", Attributes::new());
        self.follow(container, launched.client, Instant::now(), 0);
        self.watch_health(container);
        Ok(())
    }

    fn start_failed(
        &self,
        container: &Arc<Container>,
        failure: Failure,
    ) -> Error {
        self.release_resources(container);
        container.tell_attachers_off();
        let told = container.advance(Step::StartFailed, |record| {
            record.own.in_use = false;
            record.state.exit_code = failure.exit_code;
            record.state.error = failure.error.to_string();
        });
        if let Err(error) = told {
            tracing::warn!("{}: {error}", container.id);
        }
        failure.error
    }

    // ANCHOR: launch
    fn launch(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<Launched, Failure> {
        let mut record = container.record();
        record.own.linked = self.links(&record)?;
        let (root, attached) = std::thread::scope(|scope| {
            let network = scope.spawn(|| self.attach_networks(&record));
            let root = self.prepare_root(&record);
            (root, network.join())
        });
        let attached = attached.unwrap_or_else(|_| {
            Err(Error::internal("the network set-up died"))
        })?;
        for warning in &attached.warnings {
            tracing::warn!("{}: {warning}", container.id);
        }
        let (rootfs, claimed) = root?;
        let mounts = mounts::all(self, &record, claimed)?;
        let net = self.net_namespace(&attached)?;
        container.change(|now| {
            now.own.linked.clone_from(&record.own.linked);
            now.own.attached.clone_from(&attached.endpoints);
            for (name, endpoint) in &mut now.own.endpoints {
                // Shown also when it has stopped.
                if let Some(there) = attached.endpoints.get(name) {
                    endpoint.network_id.clone_from(&there.network_id);
                }
            }
            now.own.ports.clone_from(&attached.ports);
            now.own.netns = match &net {
                Namespace::Join(path) => Some(path.clone()),
                _ => None,
            };
        })?;
        let prepared = Prepared { rootfs, mounts, net };
        let spec = spec::build(self, container, &record, prepared)?;
        Ok(open_gate(container, &spec)?)
    }
    // ANCHOR_END: launch

    /// Mounts the layers and puts the volumes in order.
    fn prepare_root(
        &self,
        record: &Record,
    ) -> Result<(std::path::PathBuf, Vec<namespaces::Mount>)> {
        let layers = &record.own.layers;
        let mounted = if record.host_config.auto_remove {
            self.snapshots.mount_volatile(&record.id, layers)
        } else {
            self.snapshots.mount(&record.id, layers)
        };
        let rootfs = mounted.map_err(Error::internal)?;
        let claims = &record.own.claims;
        let mounts = self.volumes.prepare(&record.id, claims, &rootfs)?;
        self.tell_mounted(&record.id, claims);
        Ok((rootfs, mounts))
    }

    fn attach_networks(&self, record: &Record) -> Result<Attached> {
        let (config, host) = (&record.config, &record.host_config);
        let request = AttachRequest {
            id: record.id.clone(),
            name: record.short_name().to_owned(),
            hostname: config.hostname.clone(),
            domainname: config.domainname.clone(),
            mode: self.networks.name_of(&host.network_mode),
            networks: record.own.endpoints.clone(),
            ports: host.port_bindings.clone(),
            exposed: config
                .exposed_ports
                .iter()
                .flat_map(|ports| ports.keys().cloned())
                .collect(),
            publish_all: host.publish_all_ports,
            links: record.own.linked.clone(),
            dns: host
                .dns
                .iter()
                .map(|it| {
                    it.parse().map_err(|_| {
                        Error::Invalid(format!("invalid DNS address: {it}"))
                    })
                })
                .collect::<Result<_>>()?,
            dns_search: host.dns_search.clone(),
            dns_options: host.dns_options.clone(),
            extra_hosts: host.extra_hosts.clone().unwrap_or_default(),
            dir: self.containers.dir().join(&record.id),
        };
        Ok(self.networks.attach(request)?)
    }

    /// `--link NAME:ALIAS` with the names resolved. The default network
    /// knows no names, so there a link needs the other one's address.
    fn links(&self, record: &Record) -> Result<Vec<(String, String)>> {
        let mode = record.host_config.network_mode.as_str();
        let by_address = matches!(mode, "default" | "bridge");
        let resolve = |link: &String| {
            let (other, alias) = self.linked(link)?;
            if by_address && !other.status().has_process() {
                return Err(Error::Conflict(format!(
                    "Cannot link to a non running container: {} AS {}/{alias}",
                    other.with(|it| it.name.clone()),
                    record.name,
                )));
            }
            Ok((other.id.clone(), alias.to_owned()))
        };
        record.host_config.links.iter().flatten().map(resolve).collect()
    }

    /// The container that a link names, and the alias.
    pub(super) fn linked<'a>(
        &self,
        link: &'a str,
    ) -> Result<(Arc<Container>, &'a str)> {
        let (name, alias) = inspect::link(link);
        let other = self.containers.find(name).map_err(|error| {
            Error::Invalid(format!(
                "could not get container for {name}: {error}"
            ))
        })?;
        Ok((other, alias.rsplit('/').next().unwrap_or(alias)))
    }

    fn net_namespace(&self, attached: &Attached) -> Result<Namespace> {
        match &attached.namespace {
            network::Namespace::Path(path) => Ok(Namespace::Join(path.clone())),
            network::Namespace::Host => Ok(Namespace::Host),
            network::Namespace::Container(id) => {
                let other = self.containers.find(id)?;
                match other.with(|record| record.state.pid) {
                    0 => Err(Error::Conflict(format!(
                        "cannot join network of a non running container: {id}"
                    ))),
                    pid => {
                        let path = format!("/proc/{pid}/ns/net");
                        Ok(Namespace::Join(path.into()))
                    }
                }
            }
        }
    }
}

/// A process that runs.
#[derive(Debug)]
struct Launched {
    client: Client,
    pid: i32,
    started_at: String,
}

/// Why there is none.
struct Failure {
    error: Error,
    exit_code: i32,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, exit_code: 128 }
    }
}

impl From<shim::Error> for Failure {
    fn from(error: shim::Error) -> Failure {
        let exit_code = error.exit_code();
        // The docker command finds out by the words of the message whether
        // to exit with 127, 126 or 125.
        let text = runtime_words(
            "failed to create task for container: failed to create shim \
             task: OCI runtime create failed: runc create failed",
            error.to_string(),
        );
        let error = match exit_code {
            126 | 127 => Error::Invalid(text),
            _ => Error::Internal(text),
        };
        Failure { error, exit_code }
    }
}

/// What a shim refused, in the words that programs search for: those of
/// runc, passed on by containerd, which adds the error's class at the end.
pub(super) fn runtime_words(before: &str, text: String) -> String {
    match text.starts_with(shim::NOT_STARTED) {
        true => format!("{before}: {text}: unknown"),
        false => text,
    }
}

/// Has the shim make everything, connects who waits for output, and lets
/// the process go.
fn open_gate(
    container: &Container,
    spec: &shim::Spec,
) -> Result<Launched, shim::Error> {
    // The last run's word must not be taken for this one's.
    let _ = std::fs::remove_file(container.dir.join("exit.json"));
    let client = Client::spawn(spec)?;
    container.connect_attachers(&client);
    client.start()?;
    let record = shim::Record::load(&container.dir)?;
    let started_at = match record.started_at.is_empty() {
        true => now(),
        false => record.started_at,
    };
    Ok(Launched { client, pid: record.pid, started_at })
}
