//! `docker create`: everything is checked, nothing runs yet.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli_api::id;
use layers::{Image, Platform, Reference};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::Config;
use super::discard::discard;
use super::host_config::{HostConfig, LogConfig};
use super::record::{Endpoints, Own, Record};
use super::state::{State, now};
use super::{Container, connection, mounts, stop, validate, warnings};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::Attributes;
use crate::engine::go_json::{decode_part, from_go};
use crate::network::EndpointSettings;

/// The body of `POST /containers/create`, apart.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What to run.
    pub config: Config,
    /// How this host runs it.
    pub host: HostConfig,
    /// In which networks.
    pub endpoints: Endpoints,
    /// `?platform=`: the image must be for it; empty for any.
    pub platform: String,
}

/// What a creation gives back.
#[derive(Debug, Clone)]
pub struct Created {
    /// The container.
    pub container: Arc<Container>,
    /// Lines for the user.
    pub warnings: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkingConfig {
    endpoints_config: Endpoints,
}

impl Request {
    /// Takes the body apart: `Config`'s fields are on its top level, beside
    /// the two other parts.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the field.
    pub fn parse(body: Value) -> Result<Request> {
        let Value::Object(mut body) = from_go(body) else {
            return Err(Error::Invalid("invalid JSON: not an object".into()));
        };
        // dockerode sends the query's parameters in the body as well.
        body.remove("Name");
        body.remove("platform");
        // The Python SDK has it beside `HostConfig` and not in it.
        let runtime = body.remove("Runtime");
        let mut take = |key: &str| {
            body.remove(key).unwrap_or_else(|| Value::Object(Map::new()))
        };
        let mut host = take("HostConfig");
        if let (Some(name), Some(fields)) = (runtime, host.as_object_mut()) {
            fields.entry("Runtime").or_insert(name);
        }
        known_mounts(&host)?;
        let networking = take("NetworkingConfig");
        let networking: NetworkingConfig =
            decode_part("NetworkingConfig.", networking)?;
        Ok(Request {
            host: decode_part("HostConfig.", host)?,
            endpoints: networking.endpoints_config,
            platform: String::new(),
            config: decode_part("", Value::Object(body))?,
        })
    }
}

impl Engine {
    /// Creates a container.
    ///
    /// # Errors
    /// In Docker's words; nothing is left behind.
    pub fn create(&self, name: &str, mut wish: Request) -> Result<Created> {
        wish.host.resources.fill_in();
        validate::check(&wish.config, &wish.host)?;
        // By its ID, too, it is the host's network and no other.
        let mode = self.networks.name_of(&wish.host.network_mode);
        if matches!(mode.as_str(), "host" | "none" | "bridge") {
            wish.host.network_mode = mode;
        }
        validate::sharing(&wish.config, &wish.host)?;
        let image = self.image_for(&wish.config.image, &wish.platform)?;
        wish.config.inherit(&image.config.config);
        if wish.config.argv().first().is_none_or(String::is_empty) {
            return Err(Error::Invalid("no command specified".to_owned()));
        }
        self.defaults(&mut wish).map_err(not_missing)?;
        let host = stop::hierarchy()?;
        let mut warnings = discard(&mut wish.host.resources, host)?;
        warnings.extend(warnings::of(&wish.host));
        // Until the container is in the list, where `rmi` looks.
        let _held = self.hold(&image)?;
        let id = id::hex64();
        let name = self.name_for(name, &id)?;
        let made = self.make(&id, &name, wish, &image).map_err(not_missing);
        match made {
            Ok(container) => {
                self.containers.insert(container.clone());
                self.tell(&container, "create", Attributes::new());
                Ok(Created { container, warnings })
            }
            Err(error) => {
                self.containers.free_name(&name);
                let _ =
                    std::fs::remove_dir_all(self.containers.dir().join(&id));
                Err(error)
            }
        }
    }

    /// The image of that name. "No such image" makes the docker command pull
    /// it; so does the one for another platform.
    fn image_for(&self, name: &str, platform: &str) -> Result<Image> {
        if name.is_empty() {
            let text = "config cannot be empty in order to create a \
                        container: no image";
            return Err(Error::Invalid(text.to_owned()));
        }
        let image = self.store.resolve(name).map_err(|error| {
            if !error.is_not_found() {
                return Error::from(error);
            }
            let reference = name.parse::<Reference>();
            let shown = reference.map(|it| it.or_latest().familiar());
            let shown = shown.unwrap_or_else(|_| name.to_owned());
            Error::NotFound(format!("No such image: {shown}"))
        })?;
        if !platform.is_empty() {
            let wanted: Platform = platform
                .parse()
                .map_err(|error| Error::Invalid(format!("{error}")))?;
            self.check_platform(name, &wanted)?;
        }
        Ok(image)
    }

    /// What the daemon's own settings add.
    fn defaults(&self, wish: &mut Request) -> Result<()> {
        let host = &mut wish.host;
        if host.network_mode.is_empty() {
            "default".clone_into(&mut host.network_mode);
        }
        if wish.config.network_disabled {
            "none".clone_into(&mut host.network_mode);
        }
        self.log_defaults(&mut host.log_config);
        if host.runtime.is_empty() {
            self.config().dockerd.runtime().clone_into(&mut host.runtime);
        }
        let fill = |mode: &mut String, word: &str| {
            if mode.is_empty() {
                word.clone_into(mode);
            }
        };
        let dockerd = &self.config().dockerd;
        let word = |it: &Option<String>| {
            it.clone().unwrap_or_else(|| "private".to_owned())
        };
        fill(&mut host.ipc_mode, &word(&dockerd.default_ipc_mode));
        fill(&mut host.cgroupns_mode, &word(&dockerd.default_cgroupns_mode));
        fill(&mut host.restart_policy.name, "no");
        if host.shm_size == 0 {
            host.shm_size = self.config().shm_size();
        }
        if host.resources.cgroup_parent.is_empty() {
            let parent = self.config().cgroup_parent.clone();
            host.resources.cgroup_parent = parent.unwrap_or_default();
        }
        // Other containers are named by what may change; their IDs stay.
        for mode in
            [&mut host.network_mode, &mut host.ipc_mode, &mut host.pid_mode]
        {
            if let Some(name) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.containers.find(name)?.id);
            }
        }
        // Who shares a network shares the name by which it is known there.
        if let Some(id) = wish.host.network_mode.strip_prefix("container:") {
            let other = self.containers.find(id)?;
            wish.config.hostname =
                other.with(|record| record.config.hostname.clone());
        }
        for link in wish.host.links.iter().flatten() {
            self.linked(link)?;
        }
        hide_kernel_files(&mut wish.host);
        self.endpoints(wish)?;
        connection::check(&wish.config, &wish.host, &wish.endpoints)?;
        validate::check(&wish.config, &wish.host)
    }

    fn log_defaults(&self, log: &mut LogConfig) {
        let defaults = self.config().log_config();
        if log.kind.is_empty() {
            log.kind.clone_from(&defaults.kind);
        }
        // The daemon's options are its driver's, and no other's.
        if log.kind == defaults.kind {
            for (key, value) in defaults.config {
                log.config.entry(key).or_insert(value);
            }
        }
    }

    /// The network of `--network` has an entry, whatever the client sent.
    fn endpoints(&self, wish: &mut Request) -> Result<()> {
        let mode = &wish.host.network_mode;
        let alone = matches!(mode.as_str(), "none" | "host")
            || mode.starts_with("container:");
        if alone && wish.endpoints.values().any(EndpointSettings::has_wishes) {
            return Err(Error::Invalid(
                "user specified IP address is supported on user defined \
                 networks only"
                    .to_owned(),
            ));
        }
        if alone {
            wish.endpoints.clear();
            return Ok(());
        }
        let given = wish.endpoints.remove("default");
        // One network, one entry, also where it was named by its ID.
        let by_name = std::mem::take(&mut wish.endpoints).into_iter();
        wish.endpoints = by_name
            .map(|(it, settings)| (self.networks.name_of(&it), settings))
            .collect();
        let name = match mode.as_str() {
            "default" => "bridge".to_owned(),
            mode => self.networks.name_of(mode),
        };
        let entry = wish.endpoints.entry(name);
        let endpoint = entry.or_insert(given.unwrap_or_default());
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address.clone_from(&wish.config.mac_address);
        }
        Ok(())
    }

    /// Takes the name that was asked for, or finds a free one.
    fn name_for(&self, name: &str, id: &str) -> Result<String> {
        let asked = name;
        let name = name.strip_prefix('/').unwrap_or(name);
        if asked.is_empty() {
            for _ in 0..8 {
                let random = id::random_name();
                if self.containers.take_name(&random, id).is_ok() {
                    return Ok(random);
                }
            }
            let random = format!("{}_{}", id::random_name(), &id[..6]);
            self.containers.take_name(&random, id)?;
            return Ok(random);
        }
        if !id::is_name(name) {
            return Err(bad_name(asked));
        }
        self.containers.take_name(name, id)?;
        Ok(name.to_owned())
    }

    fn make(
        &self,
        id: &str,
        name: &str,
        wish: Request,
        image: &Image,
    ) -> Result<Arc<Container>> {
        let dir = self.containers.dir().join(id);
        let mut builder = std::fs::DirBuilder::new();
        builder
            .mode(0o710)
            .create(&dir)
            .map_err(Error::io("make the directory", &dir))?;
        let specs = mounts::wanted(self, &wish.config, &wish.host)?;
        let claims = self.claim_volumes(id, &specs)?;
        let mut record = blank(id, name, &dir, wish);
        record.image = image.id.to_string();
        record.own.layers = image.layers().to_vec();
        record.own.claims = claims;
        let container = Arc::new(Container::new(dir, record));
        let saved = container.change(|_| ());
        if let Err(error) = saved {
            let claims = container.with(|record| record.own.claims.clone());
            let _ = self.volumes.release(id, &claims, true);
            return Err(error);
        }
        Ok(container)
    }
}

/// The default is written down, as in Docker: who reads the record sees what
/// is hidden.
fn hide_kernel_files(host: &mut HostConfig) {
    let text = |paths: Vec<PathBuf>| {
        paths.iter().map(|it| it.display().to_string()).collect()
    };
    if !host.privileged {
        let masked = &mut host.masked_paths;
        masked
            .get_or_insert_with(|| text(namespaces::defaults::masked_paths()));
        let fixed = &mut host.readonly_paths;
        fixed.get_or_insert_with(|| {
            text(namespaces::defaults::readonly_paths())
        });
    }
}

/// Docker's sentence about a kind of mount that there is none.
fn known_mounts(host: &Value) -> Result<()> {
    let mounts = host.get("Mounts").and_then(Value::as_array);
    for mount in mounts.into_iter().flatten() {
        let kind = mount.get("Type").and_then(Value::as_str).unwrap_or("");
        if !matches!(kind, "volume" | "bind" | "tmpfs") {
            return Err(Error::Invalid(format!(
                "invalid mount config for type {kind:?}: mount type unknown"
            )));
        }
    }
    Ok(())
}

/// Answered with 404, the docker command would take the image for missing
/// and pull it; another container that is not there is something else.
fn not_missing(error: Error) -> Error {
    match error {
        Error::NotFound(text) => Error::Invalid(text),
        other => other,
    }
}

/// Docker's sentence about a name.
pub(super) fn bad_name(name: &str) -> Error {
    Error::Invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are \
         allowed"
    ))
}

/// The record of a container that has nothing yet.
pub(super) fn blank(id: &str, name: &str, dir: &Path, wish: Request) -> Record {
    let Request { mut config, host, endpoints, .. } = wish;
    if config.hostname.is_empty() {
        let shared = host.network_mode == "host" || host.uts_mode == "host";
        config.hostname = if shared {
            let host = rustix::system::uname();
            host.nodename().to_string_lossy().into_owned()
        } else {
            id[..12].to_owned()
        };
    }
    let argv = config.argv();
    let log = match host.log_config.kind.as_str() {
        "none" => String::new(),
        _ => dir.join(format!("{id}-json.log")).display().to_string(),
    };
    Record {
        id: id.to_owned(),
        created: now(),
        path: argv.first().cloned().unwrap_or_default(),
        args: argv.into_iter().skip(1).collect(),
        state: State::default(),
        image: String::new(),
        resolv_conf_path: dir.join("resolv.conf"),
        hostname_path: dir.join("hostname"),
        hosts_path: dir.join("hosts"),
        log_path: log,
        name: format!("/{name}"),
        restart_count: 0,
        driver: "overlay2".to_owned(),
        platform: "linux".to_owned(),
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: String::new(),
        host_config: host,
        config,
        own: Own { endpoints, ..Own::default() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_runtime_beside_the_host_config_is_meant_for_it() {
        let parse = |body| Request::parse(body).unwrap().host.runtime;
        assert_eq!(parse(json!({ "Runtime": "runc" })), "runc");
        let host = json!({ "Runtime": "skiff" });
        let both = json!({ "Runtime": "runc", "HostConfig": host });
        assert_eq!(parse(both), "skiff");
    }
}
