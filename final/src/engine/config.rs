//! The daemon's settings: dockerd's flags, and `daemon.json`'s keys.
//!
//! Both are read into the same [`Settings`], and a name that is known to
//! neither is an error that names it: a typo in `registry-mirors` that is
//! silently ignored costs an afternoon.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use serde::Deserialize;

use super::containers::bytes;
use super::error::{Error, Result};
use crate::network::{self, DefaultBridge};
use crate::rootless::{Rootless, private_directory};

/// Where a file of settings is looked for if none is named.
pub const CONFIG_FILE: &str = "/etc/skiff/daemon.json";

/// `skiff daemon`'s flags, by dockerd's names.
#[derive(Debug, Clone, Default, Parser, Deserialize)]
#[command(name = "skiff daemon", about = "Run the engine in the foreground")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Read settings from this file [default: /etc/skiff/daemon.json]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config_file: Option<PathBuf>,
    /// Listen here: unix://PATH or tcp://127.0.0.1:PORT; may repeat
    #[arg(short = 'H', long = "host", value_name = "URL")]
    pub hosts: Vec<String>,
    /// Keep all state here
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Keep what a reboot may take here (network namespaces)
    #[arg(long, value_name = "DIR")]
    pub exec_root: Option<PathBuf>,
    /// Ask this mirror before Docker Hub; may repeat
    #[arg(long = "registry-mirror", value_name = "URL")]
    pub registry_mirrors: Vec<String>,
    /// Talk plain HTTP or unchecked TLS to this registry; may repeat
    #[arg(long = "insecure-registry", value_name = "HOST|CIDR")]
    pub insecure_registries: Vec<String>,
    /// Name server for containers; may repeat
    #[arg(long = "dns", value_name = "IP")]
    pub dns: Vec<String>,
    /// Search domain for containers; may repeat
    #[arg(long = "dns-search", value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option for containers; may repeat
    #[arg(long = "dns-opt", value_name = "OPTION")]
    pub dns_opts: Vec<String>,
    /// Log debug messages of the daemon
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Messages of the daemon: debug, info, warn, error, fatal
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Driver for the containers' logs: json-file, local or none
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Option of the log driver, as max-size=10m; may repeat
    #[arg(long = "log-opt", value_name = "KEY=VALUE", value_parser = pair)]
    #[serde(deserialize_with = "pairs")]
    pub log_opts: Vec<(String, String)>,
    /// Label of this node, as key=value; may repeat
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Limit for every container, as nofile=1024:2048; may repeat
    #[arg(long = "default-ulimit", value_name = "LIMIT", value_parser = ulimit)]
    #[serde(deserialize_with = "ulimits")]
    pub default_ulimits: Vec<Ulimit>,
    /// Size of /dev/shm, as 64m
    #[arg(long, value_name = "BYTES")]
    pub default_shm_size: Option<String>,
    /// Run an init in every container
    #[arg(long)]
    pub init: bool,
    /// Below which cgroup containers are made
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Set no_new_privs in every container
    #[arg(long)]
    pub no_new_privileges: bool,
    /// Make known images from this machine's packages when the registry
    /// cannot be reached: auto or never
    #[arg(long, value_name = "MODE", value_parser = ["auto", "never"])]
    pub offline: Option<String>,
    /// How many layers are pulled at once
    #[arg(long, value_name = "N")]
    pub max_concurrent_downloads: Option<usize>,
    /// Accepted for dockerd's sake: containers always outlive the daemon
    #[arg(long)]
    pub live_restore: bool,
    /// Write the daemon's PID here
    #[arg(short = 'p', long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Use this bridge of the host's for containers that name no network;
    /// none: they have no network
    #[arg(short = 'b', long, value_name = "BRIDGE")]
    pub bridge: Option<String>,
    /// Let the containers of the default bridge talk to each other without
    /// a --link [default: true]
    #[arg(
        long, value_name = "BOOL", action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub icc: Option<bool>,
    /// Publish ports of the default bridge on this address of the host
    /// unless -p names one [default: all]
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// Address and mask of the default bridge, as 172.17.0.1/16
    #[arg(long, value_name = "CIDR")]
    pub bip: Option<String>,
    /// Largest packet on the default bridge, in bytes
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// The namespaces that an ordinary user's daemon has moved into.
    #[arg(skip)]
    #[serde(skip)]
    pub rootless: Option<Arc<Rootless>>,
}

/// A limit as `--default-ulimit` and `HostConfig.Ulimits` have it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "setrlimit(2)'s words")]
pub struct Ulimit {
    pub name: String,
    pub hard: i64,
    pub soft: i64,
}

impl Settings {
    /// Flags and file together.
    ///
    /// # Errors
    /// A sentence that names the file and the key. A key given in both
    /// places is refused, as dockerd does: nobody could tell which counts.
    pub fn load(
        arguments: impl Iterator<Item = OsString>,
    ) -> anyhow::Result<Settings> {
        let flags = Settings::parse_from(arguments);
        let named = flags.config_file.clone();
        let path = named.clone().unwrap_or_else(|| CONFIG_FILE.into());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                if missing && named.is_none() {
                    return Ok(flags);
                }
                anyhow::bail!("cannot read {}: {error}", path.display());
            }
        };
        flags.merge(&path, &text)
    }

    /// Adds what a file of settings says.
    fn merge(self, path: &Path, text: &str) -> anyhow::Result<Settings> {
        let shown = path.display();
        let keys: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text)
                .map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
        let both: Vec<_> = keys
            .keys()
            .filter(|key| self.is_set(key))
            .map(String::as_str)
            .collect();
        if !both.is_empty() {
            anyhow::bail!(
                "{shown}: the following directives are specified both as a \
                 flag and in the configuration file: {}",
                both.join(", ")
            );
        }
        let file: Settings = serde_json::from_str(text).map_err(|error| {
            anyhow::anyhow!(
                "{shown}: the following directives don't match any \
                 configuration option: {error}"
            )
        })?;
        Ok(self.or(file))
    }

    /// Whether a flag was given, by its key in the file.
    fn is_set(&self, key: &str) -> bool {
        match key {
            "hosts" => !self.hosts.is_empty(),
            "data-root" => self.data_root.is_some(),
            "exec-root" => self.exec_root.is_some(),
            "registry-mirrors" => !self.registry_mirrors.is_empty(),
            "insecure-registries" => !self.insecure_registries.is_empty(),
            "dns" => !self.dns.is_empty(),
            "dns-search" => !self.dns_search.is_empty(),
            "dns-opts" => !self.dns_opts.is_empty(),
            "debug" => self.debug,
            "log-level" => self.log_level.is_some(),
            "log-driver" => self.log_driver.is_some(),
            "log-opts" => !self.log_opts.is_empty(),
            "labels" => !self.labels.is_empty(),
            "default-ulimits" => !self.default_ulimits.is_empty(),
            "default-shm-size" => self.default_shm_size.is_some(),
            "init" => self.init,
            "cgroup-parent" => self.cgroup_parent.is_some(),
            "no-new-privileges" => self.no_new_privileges,
            "max-concurrent-downloads" => {
                self.max_concurrent_downloads.is_some()
            }
            "offline" => self.offline.is_some(),
            "live-restore" => self.live_restore,
            "pidfile" => self.pidfile.is_some(),
            "bridge" => self.bridge.is_some(),
            "icc" => self.icc.is_some(),
            "ip" => self.ip.is_some(),
            "bip" => self.bip.is_some(),
            "mtu" => self.mtu.is_some(),
            _ => false,
        }
    }

    /// These settings, and `other`'s where nothing is said here.
    fn or(self, other: Settings) -> Settings {
        fn list<T>(one: Vec<T>, two: Vec<T>) -> Vec<T> {
            if one.is_empty() { two } else { one }
        }
        Settings {
            config_file: self.config_file,
            hosts: list(self.hosts, other.hosts),
            data_root: self.data_root.or(other.data_root),
            exec_root: self.exec_root.or(other.exec_root),
            registry_mirrors: list(
                self.registry_mirrors,
                other.registry_mirrors,
            ),
            insecure_registries: list(
                self.insecure_registries,
                other.insecure_registries,
            ),
            dns: list(self.dns, other.dns),
            dns_search: list(self.dns_search, other.dns_search),
            dns_opts: list(self.dns_opts, other.dns_opts),
            debug: self.debug || other.debug,
            log_level: self.log_level.or(other.log_level),
            log_driver: self.log_driver.or(other.log_driver),
            log_opts: list(self.log_opts, other.log_opts),
            labels: list(self.labels, other.labels),
            default_ulimits: list(self.default_ulimits, other.default_ulimits),
            default_shm_size: self.default_shm_size.or(other.default_shm_size),
            init: self.init || other.init,
            cgroup_parent: self.cgroup_parent.or(other.cgroup_parent),
            no_new_privileges: self.no_new_privileges
                || other.no_new_privileges,
            offline: self.offline.or(other.offline),
            max_concurrent_downloads: self
                .max_concurrent_downloads
                .or(other.max_concurrent_downloads),
            live_restore: self.live_restore || other.live_restore,
            pidfile: self.pidfile.or(other.pidfile),
            bridge: self.bridge.or(other.bridge),
            icc: self.icc.or(other.icc),
            ip: self.ip.or(other.ip),
            bip: self.bip.or(other.bip),
            mtu: self.mtu.or(other.mtu),
            rootless: None,
        }
    }

    /// Writes down the usual places of the user that this process has now,
    /// as absolute paths: in namespaces of its own it will be root, and in
    /// another directory.
    ///
    /// # Errors
    /// A current directory that is gone.
    pub fn settle(&mut self) -> std::io::Result<()> {
        let data_root = std::path::absolute(self.data_root())?;
        let exec_root = std::path::absolute(self.exec_root())?;
        self.hosts = self.hosts();
        self.data_root = Some(data_root);
        self.exec_root = Some(exec_root);
        Ok(())
    }

    /// Where state is kept: `--data-root`, or the usual place for this user.
    pub fn data_root(&self) -> PathBuf {
        if let Some(dir) = &self.data_root {
            return dir.clone();
        }
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/skiff");
        }
        let home = || std::env::home_dir().map(|it| it.join(".local/share"));
        std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(home)
            .unwrap_or_else(|| PathBuf::from("/tmp"))
            .join("skiff")
    }

    /// Where what a reboot may take is kept. It follows a data root that was
    /// moved, so that two daemons do not clean up after each other.
    pub fn exec_root(&self) -> PathBuf {
        match (&self.exec_root, &self.data_root) {
            (Some(dir), _) => dir.clone(),
            (None, Some(data)) => data.join("run"),
            (None, None) if rustix::process::geteuid().is_root() => {
                PathBuf::from("/run/skiff")
            }
            (None, None) => runtime_dir().join("skiff"),
        }
    }

    /// Where to listen: `-H`, or the usual socket for this user.
    pub fn hosts(&self) -> Vec<String> {
        if !self.hosts.is_empty() {
            return self.hosts.clone();
        }
        let dir = if rustix::process::geteuid().is_root() {
            PathBuf::from("/run")
        } else {
            runtime_dir()
        };
        vec![format!("unix://{}/skiff.sock", dir.display())]
    }

    /// Bytes of `/dev/shm` unless a container says otherwise.
    pub fn shm_size(&self) -> i64 {
        const DOCKERS: i64 = 64 << 20;
        self.default_shm_size
            .as_deref()
            .and_then(bytes)
            .and_then(|size| i64::try_from(size).ok())
            .unwrap_or(DOCKERS)
    }

    /// What concerns networks.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is none.
    pub fn network_options(&self, root: &Path) -> Result<network::Options> {
        let bad = |flag: &str, text: &str| {
            Error::Invalid(format!("{flag}: {text:?} is no address"))
        };
        let mut options = network::Options::new(root, self.exec_root());
        for text in &self.dns {
            options.dns.push(text.parse().map_err(|_| bad("--dns", text))?);
        }
        options.dns_search.clone_from(&self.dns_search);
        options.dns_options.clone_from(&self.dns_opts);
        if let Some(text) = &self.bip {
            options.bip = Some(text.parse().map_err(|_| bad("--bip", text))?);
        }
        options.bridge = self.default_bridge()?;
        options.icc = self.icc.unwrap_or(true);
        if let Some(text) = &self.ip {
            let address = text.parse().map_err(|_| bad("--ip", text))?;
            options.host_binding = Some(address);
        }
        options.mtu = self.mtu;
        if let Some(rootless) = &self.rootless {
            options.keeper = Some(Arc::clone(&rootless.keeper));
            options.reserved.clone_from(&rootless.host_routes);
        }
        Ok(options)
    }

    fn default_bridge(&self) -> Result<DefaultBridge> {
        let bridge = match self.bridge.as_deref() {
            None | Some("") => DefaultBridge::Ours,
            Some("none") => DefaultBridge::None,
            Some(name) => DefaultBridge::Theirs(name.to_owned()),
        };
        if bridge != DefaultBridge::Ours && self.bip.is_some() {
            return Err(Error::Invalid(
                "You specified -b & --bip, mutually exclusive options. Please \
                 specify only one"
                    .to_owned(),
            ));
        }
        Ok(bridge)
    }

    /// The options of the log driver, as a map.
    pub fn log_options(&self) -> BTreeMap<String, String> {
        self.log_opts.iter().cloned().collect()
    }
}

fn runtime_dir() -> PathBuf {
    let set = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    set.unwrap_or_else(own_tmp)
}

fn own_tmp() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    format!("/tmp/skiff-{uid}").into()
}

/// Makes sure that `/tmp/skiff-UID`, if it is used for want of an
/// `XDG_RUNTIME_DIR`, is this user's: in `/tmp` anybody may make it first.
///
/// # Errors
/// That it is somebody else's.
pub fn claim_runtime_dir() -> anyhow::Result<()> {
    let root = rustix::process::geteuid().is_root();
    if root || std::env::var_os("XDG_RUNTIME_DIR").is_some() {
        return Ok(());
    }
    private_directory(&own_tmp())
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not of the form key=value"))
}

fn pairs<'de, D>(from: D) -> Result<Vec<(String, String)>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    BTreeMap::<String, String>::deserialize(from)
        .map(|map| map.into_iter().collect())
}

fn ulimit(text: &str) -> Result<Ulimit, String> {
    let bad = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Ok(Ulimit {
        name: name.to_owned(),
        soft: soft.parse().map_err(|_| bad())?,
        hard: hard.parse().map_err(|_| bad())?,
    })
}

fn ulimits<'de, D>(from: D) -> Result<Vec<Ulimit>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    BTreeMap::<String, Ulimit>::deserialize(from)
        .map(|map| map.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flags: &[&str], file: &str) -> anyhow::Result<Settings> {
        let flags = ["skiff daemon"].iter().chain(flags);
        Settings::parse_from(flags).merge(Path::new("daemon.json"), file)
    }

    #[test]
    fn the_file_has_dockerds_keys() {
        let file = r#"{"registry-mirrors": ["http://m:5000"],
            "log-opts": {"max-size": "10m"}, "log-driver": "local",
            "default-ulimits": {"nofile":
                {"Name": "nofile", "Hard": 64, "Soft": 32}}}"#;
        let settings = merged(&["--dns", "1.1.1.1"], file).unwrap();
        assert_eq!(settings.registry_mirrors, ["http://m:5000"]);
        assert_eq!(settings.log_options()["max-size"], "10m");
        assert_eq!(settings.default_ulimits[0].soft, 32);
        assert_eq!(settings.dns, ["1.1.1.1"]);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = merged(&[], r#"{"registry-mirors": []}"#).unwrap_err();
        assert!(error.to_string().contains("registry-mirors"), "{error}");
    }

    #[test]
    fn a_key_that_is_also_a_flag_is_refused_by_name() {
        let error =
            merged(&["--dns", "1.1.1.1"], r#"{"dns": []}"#).unwrap_err();
        assert!(error.to_string().ends_with("file: dns"), "{error}");
    }

    #[test]
    fn the_default_bridge_is_set_by_flags_or_by_the_file() {
        let options = |flags: &[&str], file: &str| {
            let settings = merged(flags, file).unwrap();
            settings.network_options(Path::new("/data"))
        };
        let ours = options(&[], "{}").unwrap();
        assert_eq!((ours.bridge, ours.icc), (DefaultBridge::Ours, true));
        let off = options(&["--icc=false", "-b", "none"], "{}").unwrap();
        assert_eq!((off.bridge, off.icc), (DefaultBridge::None, false));
        let on = options(&["--icc"], r#"{"bridge": "br0"}"#).unwrap();
        let br0 = DefaultBridge::Theirs("br0".to_owned());
        assert_eq!((on.bridge, on.icc), (br0, true));
        let file = r#"{"icc": false, "ip": "127.0.0.1"}"#;
        let off = options(&[], file).unwrap();
        assert_eq!(
            (off.icc, off.host_binding.unwrap().is_loopback()),
            (false, true)
        );
        let both = options(&["-b", "br0", "--bip", "10.1.0.1/24"], "{}");
        let error = both.unwrap_err().to_string();
        assert!(error.contains("mutually exclusive"), "{error}");
    }
}
