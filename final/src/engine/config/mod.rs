//! The daemon's settings: dockerd's flags, and `daemon.json`'s keys.
//!
//! Both are read into the same [`Settings`], and a name that is known to
//! neither is an error that names it: a typo in `registry-mirors` that is
//! silently ignored costs an afternoon.

mod dockerd;
mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use serde::Deserialize;

use dockerd::Dockerd;

use super::containers::host_config::LogConfig;
use super::containers::{bytes, log_options};
use super::error::{Error, Result};
use super::logging;
use crate::network::{self, DefaultBridge};
use crate::rootless::{Rootless, private_directory};

/// Where a file of settings is looked for if none is named.
pub const CONFIG_FILE: &str = "/etc/skiff/daemon.json";

/// `skiff daemon`'s flags, by dockerd's names.
#[derive(Debug, Clone, Default, Parser, Deserialize)]
#[command(name = "skiff daemon", about = "Run the engine in the foreground")]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// Read settings from this file [default: /etc/skiff/daemon.json]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config_file: Option<PathBuf>,
    /// Say whether the settings are right, and end
    #[arg(long)]
    #[serde(skip)]
    pub validate: bool,
    /// Listen here: unix://PATH, tcp://HOST:PORT, or fd:// for the sockets
    /// that systemd opened; may repeat. A port that other machines reach
    /// needs --tlsverify
    #[arg(short = 'H', long = "host", value_name = "URL")]
    pub hosts: Vec<String>,
    /// Speak TLS on TCP ports; false allows plain HTTP beyond loopback
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub tls: Option<bool>,
    /// Let in only clients whose certificate the CA has signed; false
    /// allows any client beyond loopback
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub tlsverify: Option<bool>,
    /// CA of the clients [default: ca.pem in $DOCKER_CERT_PATH or ~/.docker]
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<PathBuf>,
    /// The daemon's certificate [default: cert.pem, likewise]
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<PathBuf>,
    /// The daemon's key [default: key.pem, likewise]
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<PathBuf>,
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
    /// What else dockerd's users set.
    #[command(flatten)]
    #[serde(flatten)]
    pub dockerd: Dockerd,
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

    /// Refuses what a start would refuse, before anything is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting.
    pub fn check(&self) -> Result<()> {
        self.dockerd.check().map_err(Error::Invalid)?;
        log_options::check(&self.log_config())
            .map_err(|it| it.context("failed to set log opts"))?;
        logging::level(self).map_err(|why| Error::Invalid(why.to_string()))?;
        if let Some(size) = &self.default_shm_size
            && bytes(size).is_none()
        {
            let text = format!("default-shm-size: invalid size: '{size}'");
            return Err(Error::Invalid(text));
        }
        self.network_options(Path::new("/")).map(drop)
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
        let pools = self.dockerd.pools().map_err(Error::Invalid)?;
        if !pools.is_empty() {
            options.pools = pools;
        }
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

    /// The log driver with its options, for containers that name none.
    pub fn log_config(&self) -> LogConfig {
        let driver = self.log_driver.clone();
        LogConfig {
            kind: driver.unwrap_or_else(|| "json-file".to_owned()),
            config: self.log_opts.iter().cloned().collect(),
        }
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
        Settings::parse_from(flags).merge(file)
    }

    #[test]
    fn the_file_has_dockerds_keys() {
        let file = r#"{"registry-mirrors": ["http://m:5000"],
            "log-opts": {"max-size": "10m"}, "log-driver": "local",
            "default-ulimits": {"nofile":
                {"Name": "nofile", "Hard": 64, "Soft": 32}}}"#;
        let settings = merged(&["--dns", "1.1.1.1"], file).unwrap();
        assert_eq!(settings.registry_mirrors, ["http://m:5000"]);
        assert_eq!(settings.log_config().config["max-size"], "10m");
        assert_eq!(settings.default_ulimits[0].soft, 32);
        assert_eq!(settings.dns, ["1.1.1.1"]);
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
