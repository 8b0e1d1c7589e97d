//! `docker info`, `version` and `system df`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cgroups::Hierarchy;
use cli_api::server::ApiVersion;
use cli_api::state::{read_json, write_json};
use serde_json::{Value, json};

use super::Engine;
use super::containers::list::Query;
use super::containers::state::{Status, now};
use super::containers::validate;
use super::daemon::{API_VERSION, MIN_API_VERSION};
use super::error::{Error, Result};

/// This engine's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The node's name for itself: made once, then kept.
///
/// # Errors
/// [`Error::Internal`] if it can be neither read nor written.
pub(super) fn node_id(root: &Path) -> Result<String> {
    let file = root.join("node.json");
    if let Ok(id) = read_json::<String>(&file) {
        return Ok(id);
    }
    let id = cli_api::id::hex64();
    write_json(&file, &id).map_err(Error::internal)?;
    Ok(id)
}

/// Go's name for this processor.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `GET /version`.
pub fn version() -> Value {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy().into_owned();
    let api = API_VERSION.to_string();
    let oldest = MIN_API_VERSION.to_string();
    let details = json!({
        "ApiVersion": api,
        "MinAPIVersion": oldest,
        "Arch": architecture(),
        "Os": "linux",
        "KernelVersion": kernel,
        "Experimental": "false",
        "BuildTime": "",
        "GitCommit": "",
        "GoVersion": "none (Rust)",
    });
    json!({
        "Platform": { "Name": "skiff" },
        "Components": [
            { "Name": "Engine", "Version": VERSION, "Details": details },
        ],
        "Version": VERSION,
        "ApiVersion": api,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "none (Rust)",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel,
        "Experimental": false,
        "BuildTime": "",
    })
}

impl Engine {
    /// `GET /info`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the images cannot be listed.
    pub fn info(&self) -> Result<Value> {
        let mut info = self.about_host();
        let counts = self.about_containers()?;
        let settings = self.about_settings();
        if let Value::Object(all) = &mut info {
            for part in [counts, settings, self.about_limits()] {
                if let Value::Object(part) = part {
                    all.extend(part);
                }
            }
        }
        Ok(info)
    }

    fn about_host(&self) -> Value {
        let uname = rustix::system::uname();
        let cpus = std::thread::available_parallelism();
        json!({
            "ID": self.node_id,
            "Name": uname.nodename().to_string_lossy(),
            "KernelVersion": uname.release().to_string_lossy(),
            "OperatingSystem": operating_system(),
            "OSVersion": os_release("VERSION_ID"),
            "OSType": "linux",
            "Architecture": std::env::consts::ARCH,
            "NCPU": cpus.map_or(1, usize::from),
            "MemTotal": memory_total(),
            "SystemTime": now(),
            "DockerRootDir": self.root(),
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
        })
    }

    fn about_containers(&self) -> Result<Value> {
        let (mut running, mut paused, mut stopped) = (0, 0, 0);
        let all = self.containers.all();
        for container in &all {
            match container.status() {
                Status::Paused => paused += 1,
                status if status.is_up() => running += 1,
                _ => stopped += 1,
            }
        }
        let images = self.store.ids().map_err(Error::internal)?;
        Ok(json!({
            "Containers": all.len(),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": stopped,
            "Images": images.len(),
            "NGoroutines": threads(),
            "NFd": open_files(),
            "NEventsListener": self.events.listeners(),
        }))
    }

    fn about_settings(&self) -> Value {
        let config = self.config();
        let log = config.log_driver.as_deref().unwrap_or("json-file");
        let shim = |name| (name, json!({ "path": "skiff shim" }));
        let pools = &self.config().dockerd.default_address_pools;
        let pools: Vec<_> = pools
            .iter()
            .map(|it| json!({ "Base": it.base, "Size": it.size }))
            .collect();
        let pools = Some(pools).filter(|all| !all.is_empty());
        let runtimes = BTreeMap::from(validate::RUNTIMES.map(shim));
        let mut security = vec!["name=seccomp,profile=builtin".to_owned()];
        if config.rootless.is_some() {
            security.push("name=rootless".to_owned());
        }
        json!({
            "Driver": "overlay2",
            "DriverStatus": [
                ["Backing Filesystem", file_system(self.root())],
                ["Supports d_type", "true"],
                ["Native Overlay Diff", "true"],
            ],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": null,
                "Log": ["json-file", "local", "none"],
            },
            "LoggingDriver": log,
            "CgroupDriver": cgroup_driver(),
            "CgroupVersion": cgroup_version(),
            "Debug": config.debug,
            "ExperimentalBuild": false,
            "ServerVersion": VERSION,
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": self.registry_config(),
            "GenericResources": null,
            "Labels": config.labels,
            "Runtimes": runtimes,
            "DefaultRuntime": self.config().dockerd.runtime(),
            "InitBinary": "skiff",
            "ContainerdCommit": { "ID": "" },
            "RuncCommit": { "ID": "" },
            "InitCommit": { "ID": "" },
            "SecurityOptions": security,
            "LiveRestoreEnabled": true,
            "Isolation": "",
            "ProductLicense": "",
            "CDISpecDirs": [],
            "Swarm": swarm(),
            "DefaultAddressPools": pools,
            "Warnings": self.warnings(),
        })
    }

    /// What a user should know of this host and of his rights on it.
    pub fn warnings(&self) -> Vec<String> {
        let config = self.config();
        let mut all = self.networks.warnings();
        all.extend(config.open_doors());
        let Some(rootless) = &config.rootless else { return all };
        all.extend(rootless.warnings());
        if cgroup_driver() == "none" {
            // Docker's sentences.
            let way_out = match cgroup_version() {
                "2" => {
                    "Systemd is required to enable cgroups in \
                        rootless-mode."
                }
                _ => {
                    "To enable cgroups in rootless-mode, you need to boot \
                      the system in cgroup v2 mode."
                }
            };
            all.push(format!(
                "WARNING: Running in rootless-mode without cgroups. {way_out}"
            ));
        }
        all
    }

    fn registry_config(&self) -> Value {
        let config = self.config();
        let hub = json!({
            "Name": "docker.io",
            "Mirrors": config.registry_mirrors,
            "Secure": true,
            "Official": true,
        });
        let mut index = serde_json::Map::new();
        index.insert("docker.io".to_owned(), hub);
        let mut cidrs = vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
        for name in &config.insecure_registries {
            if name.contains('/') {
                cidrs.push(name.clone());
                continue;
            }
            let entry = json!({
                "Name": name,
                "Mirrors": [],
                "Secure": false,
                "Official": false,
            });
            index.insert(name.clone(), entry);
        }
        json!({
            "InsecureRegistryCIDRs": cidrs,
            "IndexConfigs": index,
            "Mirrors": config.registry_mirrors,
        })
    }

    /// Which limits this host can keep; `docker info` warns of the others.
    fn about_limits(&self) -> Value {
        let hierarchy = Hierarchy::detect().ok();
        let has = |kind| hierarchy.as_ref().is_some_and(|it| it.has(kind));
        let v1 = hierarchy.as_ref().is_some_and(|it| !it.is_v2());
        let memory = has(cgroups::Kind::Memory);
        let cpu = has(cgroups::Kind::Cpu);
        json!({
            "MemoryLimit": memory,
            "SwapLimit": memory,
            "OomKillDisable": memory && v1,
            "CpuCfsPeriod": cpu,
            "CpuCfsQuota": cpu,
            "CPUShares": cpu,
            "CPUSet": has(cgroups::Kind::Cpuset),
            "PidsLimit": has(cgroups::Kind::Pids),
            "IPv4Forwarding": true,
            "BridgeNfIptables": true,
            "BridgeNfIp6tables": true,
        })
    }

    /// `GET /system/df`, without the images' part, which `images` adds.
    ///
    /// # Errors
    /// [`Error::Internal`] if the volumes cannot be listed.
    pub fn disk_usage(&self, version: ApiVersion) -> Result<Value> {
        let all = Query { all: true, size: true, ..Query::default() };
        let containers = self.list(&all)?;
        let volumes = self.volumes.list()?;
        let volumes: Vec<_> =
            volumes.iter().map(|volume| self.volume_usage(volume)).collect();
        let (images, layers) = self.image_usage(version)?;
        Ok(json!({
            "LayersSize": layers,
            "Images": images,
            "Containers": containers,
            "Volumes": volumes,
            "BuildCache": self.cache_usage()?,
        }))
    }
}

/// How a node answers that is in no swarm.
fn swarm() -> Value {
    json!({
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": false,
        "Error": "",
        "RemoteManagers": null,
    })
}

/// `none` where this user may make no cgroup at all.
fn cgroup_driver() -> &'static str {
    let usable = Hierarchy::detect().is_ok_and(|it| it.is_usable());
    if usable { "cgroupfs" } else { "none" }
}

fn cgroup_version() -> &'static str {
    Hierarchy::detect().map_or("1", |it| it.mode().docker_version())
}

fn os_release(key: &str) -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .unwrap_or_default()
}

fn operating_system() -> String {
    match os_release("PRETTY_NAME") {
        name if name.is_empty() => "Linux".to_owned(),
        name => name,
    }
}

fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The type of the file system that holds `path`, from its mount.
fn file_system(path: &Path) -> String {
    let mounts =
        std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(place, _)| path.starts_with(place))
        .max_by_key(|(place, _)| place.len())
        .map_or_else(String::new, |(_, kind)| kind.to_owned())
}

/// Bytes in the files below `dir`; what cannot be read counts nothing.
pub(super) fn disk_usage(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| {
            let meta = entry.path().symlink_metadata().ok()?;
            // Blocks, not lengths: a sparse file takes what it has.
            let own = meta.blocks() * 512;
            let below =
                if meta.is_dir() { disk_usage(&entry.path()) } else { 0 };
            Some(own + below)
        })
        .sum()
}
