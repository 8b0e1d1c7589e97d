//! The settings of dockerd that a `daemon.json` brings along: those that
//! change something here, and those that ask for what is so here anyway.

use std::collections::BTreeMap;

use clap::Args;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use crate::engine::containers::validate::RUNTIMES;
use crate::network::AddressPool;

/// dockerd's flags, beside our own.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Dockerd {
    /// Where networks without a subnet get one, as
    /// base=10.10.0.0/16,size=24; may repeat
    #[arg(long = "default-address-pool", value_name = "POOL",
        value_parser = pool)]
    pub default_address_pools: Vec<Pool>,
    /// IPC namespace of containers: private or shareable
    #[arg(long, value_name = "MODE")]
    pub default_ipc_mode: Option<String>,
    /// cgroup namespace of containers: private or host
    #[arg(long, value_name = "MODE")]
    pub default_cgroupns_mode: Option<String>,
    /// Runtime of containers; there is one, under several names
    #[arg(long, value_name = "NAME")]
    pub default_runtime: Option<String>,
    /// Group that may use the Unix sockets
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub group: Option<String>,
    /// How many layers are pushed at once
    #[arg(long, value_name = "N")]
    pub max_concurrent_uploads: Option<usize>,
    /// Accepted for dockerd's sake: containers are not stopped with the
    /// daemon
    #[arg(long, value_name = "SECONDS")]
    pub shutdown_timeout: Option<i64>,
    /// How layers are kept: overlay2
    #[arg(short = 's', long, value_name = "DRIVER")]
    pub storage_driver: Option<String>,
    /// Option of the runtime: native.cgroupdriver=cgroupfs
    #[arg(long = "exec-opt", value_name = "OPTION")]
    pub exec_opts: Vec<String>,
    /// seccomp profile of containers: builtin
    #[arg(long, value_name = "PROFILE")]
    pub seccomp_profile: Option<String>,
    /// Publish ports on addresses that the kernel does not translate: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub userland_proxy: Option<bool>,
    /// Write rules for IPv4 into the firewall: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub iptables: Option<bool>,
    /// Write rules for IPv6 into the firewall: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub ip6tables: Option<bool>,
    /// Have the kernel forward packets: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub ip_forward: Option<bool>,
    /// Translate the addresses of containers to the host's: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub ip_masq: Option<bool>,
    /// Give the default bridge IPv6: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub ipv6: Option<bool>,
    /// Label containers for SELinux: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub selinux_enabled: Option<bool>,
    /// Experimental features, of which there are none: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub experimental: Option<bool>,
    /// What is on or off, by name; in the file only.
    #[arg(skip)]
    pub features: BTreeMap<String, bool>,
    /// Further runtimes; in the file only.
    #[arg(skip)]
    pub runtimes: BTreeMap<String, Value>,
}

/// One of `default-address-pools`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Where the subnets come from.
    pub base: String,
    /// Their prefix length.
    pub size: u8,
}

fn pool(text: &str) -> Result<Pool, String> {
    let pairs = text.split(',').filter_map(|it| it.split_once('='));
    let pairs: BTreeMap<_, _> = pairs.collect();
    let get = |key: &str| {
        pairs.get(key).ok_or_else(|| format!("{text:?} has no {key}="))
    };
    let size = get("size")?.parse().map_err(|_| {
        format!("{text:?}: size is the prefix length of one network")
    })?;
    Ok(Pool { base: (*get("base")?).to_owned(), size })
}

impl Pool {
    fn parse(&self) -> Result<AddressPool, String> {
        let Pool { base, size } = self;
        let bad = || {
            format!(
                "invalid default-address-pools: {base} in networks of /{size}"
            )
        };
        let base: IpNet = base.parse().map_err(|_| bad())?;
        let fits = base.prefix_len() <= *size && *size < base.max_prefix_len();
        fits.then_some(AddressPool { base, size: *size }).ok_or_else(bad)
    }
}

impl Dockerd {
    /// The pools of addresses; empty means the usual ones.
    ///
    /// # Errors
    /// The pool that is none.
    pub fn pools(&self) -> Result<Vec<AddressPool>, String> {
        self.default_address_pools.iter().map(Pool::parse).collect()
    }

    /// The name by which containers know their runtime.
    pub fn runtime(&self) -> &str {
        self.default_runtime.as_deref().unwrap_or("skiff")
    }

    /// Refuses what asks for something else than there is here.
    ///
    /// # Errors
    /// A sentence with the key, the value and the way out.
    pub(super) fn check(&self) -> Result<(), String> {
        self.pools()?;
        words(
            "default-ipc-mode",
            self.default_ipc_mode.as_ref(),
            &["private", "shareable"],
            "those are the modes that a default can be",
        )?;
        words(
            "default-cgroupns-mode",
            self.default_cgroupns_mode.as_ref(),
            &["private", "host"],
            "those are the modes that there are",
        )?;
        words(
            "default-runtime",
            self.default_runtime.as_ref(),
            &RUNTIMES,
            "containers have no other runtime than this engine",
        )?;
        words(
            "storage-driver",
            self.storage_driver.as_ref(),
            &["overlay2"],
            "layers are kept by the kernel's overlay",
        )?;
        words(
            "exec-opts",
            &self.exec_opts,
            &["native.cgroupdriver=cgroupfs"],
            "this engine makes cgroups itself",
        )?;
        words(
            "seccomp-profile",
            self.seccomp_profile.as_ref(),
            &["", "builtin"],
            "give another to a container, with --security-opt seccomp=FILE",
        )?;
        words(
            "runtimes",
            self.runtimes.keys(),
            &RUNTIMES,
            "containers have no other runtime than this engine",
        )?;
        self.switches()
    }

    fn switches(&self) -> Result<(), String> {
        let firewall = "published ports and the separation of networks need \
                        the engine's own rules, which touch no others";
        let fixed = [
            (
                "userland-proxy",
                self.userland_proxy,
                true,
                "a port is reached from this machine by its own address only \
                 through it",
            ),
            ("iptables", self.iptables, true, firewall),
            ("ip6tables", self.ip6tables, true, firewall),
            ("ip-forward", self.ip_forward, true, "bridges need it"),
            (
                "ip-masq",
                self.ip_masq,
                true,
                "a network of its own can be without, with -o \
                 com.docker.network.bridge.enable_ip_masquerade=false",
            ),
            (
                "ipv6",
                self.ipv6,
                false,
                "the default bridge has IPv4 alone; make a network with \
                 --ipv6",
            ),
            (
                "selinux-enabled",
                self.selinux_enabled,
                false,
                "this engine does not label containers",
            ),
            (
                "experimental",
                self.experimental,
                false,
                "there are no experimental features",
            ),
        ];
        for (key, given, is, why) in fixed {
            if given.is_some_and(|given| given != is) {
                return Err(format!("{key} can only be {is} here: {why}"));
            }
        }
        let odd = |(name, on): &(&String, &bool)| **on && *name != "buildkit";
        match self.features.iter().find(odd) {
            Some((name, _)) => {
                Err(format!("features: this engine has no {name:?}"))
            }
            None => Ok(()),
        }
    }
}

/// Refuses a value that is none of `known`.
fn words<'a>(
    key: &str,
    given: impl IntoIterator<Item = &'a String>,
    known: &[&str],
    why: &str,
) -> Result<(), String> {
    let mut given = given.into_iter();
    match given.find(|value| !known.contains(&value.as_str())) {
        Some(value) => Err(format!(
            "{key} can only be {} here, not {value:?}: {why}",
            known
                .iter()
                .filter(|it| !it.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join(" or ")
        )),
        None => Ok(()),
    }
}

/// dockerd's keys that nothing here could honour, each with the reason.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("api-cors-header", "web pages of others are not let in"),
    ("authorization-plugins", "there are no plugins here"),
    ("containerd", NO_CONTAINERD),
    ("containerd-namespace", NO_CONTAINERD),
    ("containerd-plugin-namespace", NO_CONTAINERD),
    ("cri-containerd", NO_CONTAINERD),
    ("cpu-rt-period", "give it to a container, with --cpu-rt-period"),
    ("cpu-rt-runtime", "give it to a container, with --cpu-rt-runtime"),
    ("default-gateway", "the default bridge is the gateway; see bip"),
    ("default-gateway-v6", "the default bridge has IPv4 alone"),
    ("fixed-cidr", "make a network with --ip-range"),
    ("fixed-cidr-v6", "the default bridge has IPv4 alone"),
    ("init-path", "the init is a part of this engine"),
    ("metrics-addr", "there are no metrics of the daemon; see stats"),
    ("network-control-plane-mtu", NO_SWARM),
    ("node-generic-resources", NO_SWARM),
    ("proxies", "set HTTPS_PROXY in the daemon's environment"),
    ("storage-opts", "layers are kept without options"),
    ("swarm-default-advertise-addr", NO_SWARM),
    ("userland-proxy-path", "the proxy is a part of this engine"),
    ("userns-remap", "start the daemon as an ordinary user instead"),
];

const NO_CONTAINERD: &str = "there is no containerd behind this engine";
const NO_SWARM: &str = "there is no swarm here";

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(file: &str) -> String {
        let settings: Dockerd = serde_json::from_str(file).unwrap();
        settings.check().err().unwrap_or_default()
    }

    #[test]
    fn what_is_so_anyway_is_taken() {
        let file = r#"{"storage-driver": "overlay2", "iptables": true,
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "ipv6": false,
            "features": {"buildkit": true, "containerd-snapshotter": false},
            "default-runtime": "runc", "runtimes": {}, "userland-proxy": true,
            "default-address-pools":
                [{"base": "172.30.0.0/16", "size": 24}]}"#;
        assert_eq!(checked(file), "");
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let said = [
            r#"{"storage-driver": "btrfs"}"#,
            r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#,
            r#"{"iptables": false}"#,
            r#"{"ipv6": true}"#,
            r#"{"features": {"containerd-snapshotter": true}}"#,
            r#"{"default-runtime": "kata"}"#,
            r#"{"runtimes": {"kata": {"path": "/usr/bin/kata"}}}"#,
            r#"{"seccomp-profile": "/etc/seccomp.json"}"#,
            r#"{"default-ipc-mode": "host"}"#,
            r#"{"default-address-pools": [{"base": "x", "size": 24}]}"#,
            r#"{"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}"#,
        ]
        .map(checked);
        insta::assert_snapshot!(said.join("\n"));
    }
}
