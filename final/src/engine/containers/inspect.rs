//! `docker inspect`: the record, with what is found out at the moment.

use serde_json::{Map, Value, json};

use super::Container;
use super::record::{Endpoints, Record};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::network::PortMap;

impl Engine {
    /// `GET /containers/NAME/json`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn inspect(&self, name: &str, size: bool) -> Result<Value> {
        let container = self.containers.find(name)?;
        let record = container.record();
        let mut json = match serde_json::to_value(&record) {
            Ok(Value::Object(map)) => map,
            other => return Err(Error::internal(format!("{other:?}"))),
        };
        json.remove("Skiff");
        json.insert("ExecIDs".into(), json!(container.exec_ids()));
        json.insert("GraphDriver".into(), self.graph_driver(&record));
        show_as_docker(&mut json, &record);
        if let Some(links) = self.shown_links(&record) {
            json["HostConfig"]["Links"] = links;
        }
        if size {
            let (written, all) = self.sizes(&container);
            json.insert("SizeRw".into(), json!(written));
            json.insert("SizeRootFs".into(), json!(all));
        }
        json.insert("Mounts".into(), json!(mount_points(&record)));
        json.insert("NetworkSettings".into(), network_settings(&record));
        Ok(Value::Object(json))
    }

    /// Links as Docker shows them: whom, and by which name of whose. In a
    /// network with a name they stay as they were given.
    fn shown_links(&self, record: &Record) -> Option<Value> {
        let host = &record.host_config;
        if !matches!(host.network_mode.as_str(), "default" | "bridge") {
            return None;
        }
        let show = |given: &String| {
            let (name, alias) = link(given);
            let found = self.containers.find(name).ok();
            let now = found.map(|it| it.with(|it| it.name.clone()));
            let now = now.unwrap_or_else(|| format!("/{name}"));
            format!("{now}:{}/{alias}", record.name)
        };
        let links = host.links.as_ref()?;
        Some(links.iter().map(show).collect())
    }

    fn graph_driver(&self, record: &Record) -> Value {
        let dir = self.root().join("overlay2");
        let own = dir.join(&record.id);
        let lowers: Vec<_> = record
            .own
            .layers
            .iter()
            .rev()
            .map(|layer| dir.join(layer.hex()).join("diff"))
            .map(|path| path.display().to_string())
            .collect();
        json!({
            "Name": "overlay2",
            "Data": {
                "ID": record.id,
                "LowerDir": lowers.join(":"),
                "MergedDir": own.join("merged"),
                "UpperDir": own.join("diff"),
                "WorkDir": own.join("work"),
            },
        })
    }

    /// Bytes written by the container, and those with its image.
    pub fn sizes(&self, container: &Container) -> (u64, u64) {
        let written = self.size_rw(container);
        let image = container.with(|record| record.image.clone());
        let image = self.store.resolve(&image).map_or(0, |it| it.record.size);
        (written, written + image)
    }

    /// Bytes in the container's own layer.
    pub fn size_rw(&self, container: &Container) -> u64 {
        self.snapshots.usage(&container.id).map_or(0, |usage| usage.bytes)
    }
}

/// What Docker writes otherwise than we keep it.
fn show_as_docker(json: &mut Map<String, Value>, record: &Record) {
    // The files are made by the first start.
    if record.state.started_at == super::state::NEVER {
        for path in ["ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"] {
            json[path] = json!("");
        }
    }
    let host = &mut json["HostConfig"];
    host["NetworkMode"] = json!(network_mode(record));
    // The command line sends these for "unset".
    for (limit, unset) in [("MemorySwappiness", -1), ("PidsLimit", 0)] {
        if host[limit] == json!(unset) {
            host[limit] = Value::Null;
        }
    }
}

/// The default network has the name of the one that it is.
pub(super) fn network_mode(record: &Record) -> &str {
    match record.host_config.network_mode.as_str() {
        "default" => "bridge",
        mode => mode,
    }
}

/// `CONTAINER:ALIAS`; without an alias the name is one.
pub(super) fn link(given: &str) -> (&str, &str) {
    given.split_once(':').unwrap_or((given, given))
}

/// `Mounts`: what is mounted where.
pub(super) fn mount_points(record: &Record) -> Vec<&volumes::MountPoint> {
    record.own.claims.iter().map(|claim| &claim.point).collect()
}

/// The networks as the API shows them: where it is, or where it will be.
pub fn networks(record: &Record) -> Endpoints {
    let mut all = record.own.endpoints.clone();
    let attached = &record.own.attached;
    all.extend(attached.iter().map(|(k, v)| (k.clone(), v.clone())));
    if all.is_empty() {
        let mode = record.host_config.network_mode.as_str();
        if matches!(mode, "host" | "none") {
            all.insert(mode.to_owned(), Default::default());
        }
    }
    all
}

/// `Ports` while it runs: each exposed port, published or not.
pub(super) fn ports(record: &Record) -> PortMap {
    let mut ports = PortMap::new();
    if !record.state.status.has_process() {
        return ports;
    }
    for port in record.config.exposed_ports.iter().flatten() {
        ports.insert(port.0.clone(), None);
    }
    ports.extend(record.own.ports.clone());
    ports
}

/// `NetworkSettings`: the default bridge's values are repeated on top, for
/// clients from before there were other networks.
fn network_settings(record: &Record) -> Value {
    let networks = networks(record);
    let up = record.state.status.has_process();
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let netns = record.own.netns.as_ref();
    let key = netns.map(|path| path.display().to_string());
    let sandbox = if up { record.id.as_str() } else { "" };
    let mut json = Map::new();
    let mut put = |key: &str, value: Value| {
        json.insert(key.to_owned(), value);
    };
    put("Bridge", json!(""));
    put("SandboxID", json!(sandbox));
    put("SandboxKey", json!(key.unwrap_or_default()));
    put("Ports", json!(ports(record)));
    put("HairpinMode", json!(false));
    put("LinkLocalIPv6Address", json!(""));
    put("LinkLocalIPv6PrefixLen", json!(0));
    put("SecondaryIPAddresses", Value::Null);
    put("SecondaryIPv6Addresses", Value::Null);
    put("EndpointID", json!(bridge.endpoint_id));
    put("Gateway", json!(bridge.gateway));
    put("GlobalIPv6Address", json!(bridge.global_ipv6_address));
    put("GlobalIPv6PrefixLen", json!(bridge.global_ipv6_prefix_len));
    put("IPAddress", json!(bridge.ip_address));
    put("IPPrefixLen", json!(bridge.ip_prefix_len));
    put("IPv6Gateway", json!(bridge.ipv6_gateway));
    put("MacAddress", json!(bridge.mac_address));
    put("Networks", json!(networks));
    Value::Object(json)
}
