//! `daemon.json`: reading it, joining it with the flags, and reading it
//! again while the daemon runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::dockerd::{Dockerd, REFUSED};
use super::{CONFIG_FILE, Settings};
use crate::engine::events::{Attributes, attributes};

impl Settings {
    /// These flags and the file together.
    ///
    /// # Errors
    /// A sentence that names the file and the key. A key given in both
    /// places is refused, as dockerd does: nobody could tell which counts.
    pub fn with_file(self) -> anyhow::Result<Settings> {
        let settings = self.joined_with_file()?;
        settings.check()?;
        Ok(settings)
    }

    fn joined_with_file(self) -> anyhow::Result<Settings> {
        let path = self.file();
        match std::fs::read_to_string(&path) {
            Ok(text) => self.merge(&text).with_context(|| unusable(&path)),
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                if missing && self.config_file.is_none() {
                    return Ok(self);
                }
                Err(error).with_context(|| unusable(&path))
            }
        }
    }

    /// Where `daemon.json` is looked for.
    pub fn file(&self) -> PathBuf {
        let usual = || PathBuf::from(CONFIG_FILE);
        self.config_file.clone().unwrap_or_else(usual)
    }

    /// Adds what a file of settings says.
    pub(super) fn merge(self, text: &str) -> anyhow::Result<Settings> {
        let keys = known_keys(text)?;
        self.not_also_flags(&keys)?;
        Ok(self.or(serde_json::from_str(text)?))
    }

    /// These settings with what the file says *now* of the keys that may
    /// change while the daemon runs. The others wait for its next start; and
    /// a key that is not in the file stays as it was, as in dockerd.
    ///
    /// `flags` are the settings of the command line alone.
    ///
    /// # Errors
    /// As [`Settings::with_file`]; nothing has changed then.
    pub fn reloaded(&self, flags: &Settings) -> anyhow::Result<Settings> {
        let path = flags.file();
        let read = || {
            let text = std::fs::read_to_string(&path)?;
            let keys = known_keys(&text)?;
            flags.not_also_flags(&keys)?;
            anyhow::Ok((keys, serde_json::from_str(&text)?))
        };
        let (keys, new): (Map<_, _>, Settings) =
            read().with_context(|| unusable(&path))?;
        let mut settings = self.clone();
        let says = |key: &str| keys.contains_key(key);
        if says("debug") {
            settings.debug = new.debug;
        }
        if says("log-level") {
            settings.log_level = new.log_level;
        }
        if says("labels") {
            settings.labels = new.labels;
        }
        if says("registry-mirrors") {
            settings.registry_mirrors = new.registry_mirrors;
        }
        if says("insecure-registries") {
            settings.insecure_registries = new.insecure_registries;
        }
        if says("max-concurrent-downloads") {
            settings.max_concurrent_downloads = new.max_concurrent_downloads;
        }
        if says("default-shm-size") {
            settings.default_shm_size = new.default_shm_size;
        }
        if says("live-restore") {
            settings.live_restore = new.live_restore;
        }
        settings.check()?;
        Ok(settings)
    }

    /// What the `reload` event tells: the keys that may have changed.
    pub fn reload_event(&self) -> Attributes {
        let list = |of: &[String]| json!(of).to_string();
        let downloads = self.max_concurrent_downloads;
        let mut all = attributes([
            ("debug", &self.debug.to_string()),
            ("labels", &list(&self.labels)),
            ("registry-mirrors", &list(&self.registry_mirrors)),
            ("insecure-registries", &list(&self.insecure_registries)),
            // As in /info: containers always outlive the daemon.
            ("live-restore", "true"),
            ("default-shm-size", &self.shm_size().to_string()),
        ]);
        if let Some(downloads) = downloads {
            let key = "max-concurrent-downloads".to_owned();
            all.insert(key, downloads.to_string());
        }
        all
    }

    fn not_also_flags(&self, keys: &Map<String, Value>) -> anyhow::Result<()> {
        let both: Vec<_> = keys
            .iter()
            .filter(|(key, _)| self.is_set(key))
            .map(|(key, value)| format!("{key} (from file: {value})"))
            .collect();
        if !both.is_empty() {
            bail!(
                "the following directives are specified both as a flag and \
                 in the configuration file: {}",
                both.join(", ")
            );
        }
        Ok(())
    }
}

/// dockerd's words.
fn unusable(path: &Path) -> String {
    format!("unable to configure the daemon with file {}", path.display())
}

/// The keys of a file, if all of them are settings. A typo in
/// `registry-mirors` that is silently ignored costs an afternoon.
fn known_keys(text: &str) -> anyhow::Result<Map<String, Value>> {
    let keys: Map<String, Value> = serde_json::from_str(text)?;
    let refused = REFUSED.iter().find(|(key, _)| keys.contains_key(*key));
    if let Some((key, why)) = refused {
        bail!("{key} is a setting of dockerd that cannot be had here: {why}");
    }
    let unknown: Vec<_> = keys
        .keys()
        .filter(|key| {
            let key = key.as_str();
            !Settings::KEYS.contains(&key) && !Dockerd::KEYS.contains(&key)
        })
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        bail!(
            "the following directives don't match any configuration option: \
             {}",
            unknown.join(", ")
        );
    }
    Ok(keys)
}

/// A setting that may be left out.
trait Optional {
    fn is_given(&self) -> bool;
    fn or_given(self, other: Self) -> Self;
}

impl<T> Optional for Option<T> {
    fn is_given(&self) -> bool {
        self.is_some()
    }

    fn or_given(self, other: Self) -> Self {
        self.or(other)
    }
}

impl<T> Optional for Vec<T> {
    fn is_given(&self) -> bool {
        !self.is_empty()
    }

    fn or_given(self, other: Self) -> Self {
        if self.is_empty() { other } else { self }
    }
}

impl<V> Optional for BTreeMap<String, V> {
    fn is_given(&self) -> bool {
        !self.is_empty()
    }

    fn or_given(self, other: Self) -> Self {
        if self.is_empty() { other } else { self }
    }
}

impl Optional for bool {
    fn is_given(&self) -> bool {
        *self
    }

    fn or_given(self, other: Self) -> Self {
        self || other
    }
}

/// What is to be said of every key, said once.
macro_rules! keys {
    ($settings:ident: $($key:literal => $field:ident),* $(,)?) => {
        impl $settings {
            /// Every key of the file.
            const KEYS: &[&str] = &[$($key),*];

            /// Whether a flag was given, by its key in the file.
            fn is_given(&self, key: &str) -> bool {
                match key {
                    $($key => self.$field.is_given(),)*
                    _ => false,
                }
            }

            /// These settings, and `other`'s where nothing is said here.
            #[allow(clippy::needless_update, reason = "not in both")]
            fn joined(self, other: $settings) -> $settings {
                $settings {
                    $($field: self.$field.or_given(other.$field),)*
                    ..self
                }
            }
        }
    };
}

impl Settings {
    fn is_set(&self, key: &str) -> bool {
        self.is_given(key) || self.dockerd.is_given(key)
    }

    fn or(mut self, mut other: Settings) -> Settings {
        let theirs = std::mem::take(&mut other.dockerd);
        let dockerd = std::mem::take(&mut self.dockerd).joined(theirs);
        Settings { dockerd, ..self.joined(other) }
    }
}

keys! {
    Dockerd:
    "default-address-pools" => default_address_pools,
    "default-ipc-mode" => default_ipc_mode,
    "default-cgroupns-mode" => default_cgroupns_mode,
    "default-runtime" => default_runtime,
    "group" => group,
    "max-concurrent-uploads" => max_concurrent_uploads,
    "shutdown-timeout" => shutdown_timeout,
    "storage-driver" => storage_driver,
    "exec-opts" => exec_opts,
    "seccomp-profile" => seccomp_profile,
    "userland-proxy" => userland_proxy,
    "iptables" => iptables,
    "ip6tables" => ip6tables,
    "ip-forward" => ip_forward,
    "ip-masq" => ip_masq,
    "ipv6" => ipv6,
    "selinux-enabled" => selinux_enabled,
    "experimental" => experimental,
    "features" => features,
    "runtimes" => runtimes,
}

keys! {
    Settings:
    "hosts" => hosts,
    "tls" => tls,
    "tlsverify" => tlsverify,
    "tlscacert" => tlscacert,
    "tlscert" => tlscert,
    "tlskey" => tlskey,
    "data-root" => data_root,
    "exec-root" => exec_root,
    "registry-mirrors" => registry_mirrors,
    "insecure-registries" => insecure_registries,
    "dns" => dns,
    "dns-search" => dns_search,
    "dns-opts" => dns_opts,
    "debug" => debug,
    "log-level" => log_level,
    "log-driver" => log_driver,
    "log-opts" => log_opts,
    "labels" => labels,
    "default-ulimits" => default_ulimits,
    "default-shm-size" => default_shm_size,
    "init" => init,
    "cgroup-parent" => cgroup_parent,
    "no-new-privileges" => no_new_privileges,
    "offline" => offline,
    "max-concurrent-downloads" => max_concurrent_downloads,
    "live-restore" => live_restore,
    "pidfile" => pidfile,
    "bridge" => bridge,
    "icc" => icc,
    "ip" => ip,
    "bip" => bip,
    "mtu" => mtu,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn settings(flags: &[&str]) -> Settings {
        Settings::parse_from(["skiff daemon"].iter().chain(flags))
    }

    fn refusal(flags: &[&str], file: &str) -> String {
        settings(flags).merge(file).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        insta::assert_snapshot!(
            refusal(&[], r#"{"registry-mirors": [], "debug": true, "x": 1}"#),
            @"the following directives don't match any configuration option: registry-mirors, x"
        );
    }

    #[test]
    fn a_key_that_is_also_a_flag_is_refused_by_name() {
        insta::assert_snapshot!(
            refusal(&["--dns", "1.1.1.1"], r#"{"dns": ["9.9.9.9"]}"#),
            @r#"the following directives are specified both as a flag and in the configuration file: dns (from file: ["9.9.9.9"])"#
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused() {
        let text = refusal(&[], r#"{"mtu": "large"}"#);
        assert!(text.contains("large"), "{text}");
    }

    /// In a file of its own, since the flags name it.
    fn reload(running: &str, file: &str) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        let flags = settings(&["--config-file", path.to_str().unwrap()]);
        let running = flags.clone().merge(running).unwrap();
        std::fs::write(path, file).unwrap();
        running.reloaded(&flags)
    }

    #[test]
    fn reloading_changes_what_may_change_and_nothing_else() {
        let before =
            r#"{"labels": ["a=1"], "debug": true, "bip": "10.1.0.1/16"}"#;
        let after = r#"{"labels": ["a=2"], "bip": "10.2.0.1/16"}"#;
        let settings = reload(before, after).unwrap();
        assert_eq!(settings.labels, ["a=2"]);
        assert_eq!(settings.bip.as_deref(), Some("10.1.0.1/16"));
        assert!(settings.debug, "no longer mentioned, so left alone");
    }

    #[test]
    fn reloading_a_file_that_is_wrong_names_it() {
        let error = reload("{}", r#"{"debug": tru"#).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("daemon.json: EOF"), "{text}");
    }
}
