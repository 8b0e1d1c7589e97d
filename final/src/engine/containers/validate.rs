//! What a container may be, checked before anything is made.
//!
//! The rule: every field is honoured or refused by its name. A field that
//! is silently dropped is worse than an error, since a person believes in a
//! limit or a protection that is not there.

use cgroups::DeviceRule;
use namespaces::CapSet;

use super::config::Config;
use super::host_config::{HostConfig, Resources, RestartPolicy, first_unknown};
use super::{limits, log_options, security, signal};
use crate::engine::config::Ulimit;
use crate::engine::error::{Error, Result};
use crate::network::extra_host;

/// Refuses what cannot be, in Docker's words where it has some.
///
/// # Errors
/// [`Error::Invalid`] that names the field or the flag.
pub(super) fn check(config: &Config, host: &HostConfig) -> Result<()> {
    known(config, host)?;
    check_config(config)?;
    for text in host.extra_hosts.iter().flatten() {
        extra_host(text).map_err(Error::Invalid)?;
    }
    modes(host)?;
    elsewhere(host)?;
    restart_policy(&host.restart_policy, host.auto_remove)?;
    log_options::check(&host.log_config)?;
    rights(host)?;
    limits::of(host, false)?;
    resources(&host.resources)?;
    if host.resources.memory == 0 && host.resources.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap \
             limit, see usage",
        );
    }
    host.resources.ulimits.iter().flatten().try_for_each(ulimit)
}

/// The limits, each for itself and against each other; `update` uses this
/// too.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words.
pub(super) fn resources(wanted: &Resources) -> Result<()> {
    limits::of_resources(wanted)?.validate().map_err(invalid)?;
    available("CPUs", &wanted.cpuset_cpus, "cpu")?;
    available("memory nodes", &wanted.cpuset_mems, "node")
}

fn invalid(cause: impl std::fmt::Display) -> Error {
    Error::Invalid(cause.to_string())
}

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

fn known(config: &Config, host: &HostConfig) -> Result<()> {
    let mine = first_unknown(&config.unknown).map(|key| ("Config", key));
    let hosts =
        first_unknown(&host.resources.unknown).map(|key| ("HostConfig", key));
    match mine.or(hosts) {
        Some((place, key)) => refuse(format!(
            "{place}.{key} is not supported by this engine: take it out of \
             the request"
        )),
        None => Ok(()),
    }
}

fn check_config(config: &Config) -> Result<()> {
    let dir = &config.working_dir;
    if !dir.is_empty() && !dir.starts_with('/') {
        return refuse(format!(
            "the working directory '{dir}' is invalid, it needs to be an \
             absolute path"
        ));
    }
    let mut places = config.volumes.iter().flatten().map(|(path, _)| path);
    if let Some(path) = places.find(|path| !path.starts_with('/')) {
        return refuse(format!(
            "invalid mount config for type \"volume\": invalid mount path: \
             '{path}' mount path must be absolute"
        ));
    }
    if !config.stop_signal.is_empty() {
        signal::parse(&config.stop_signal)?;
    }
    for entry in config.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') {
            return refuse(format!("invalid environment variable: {entry}"));
        }
    }
    let Some(health) = &config.healthcheck else { return Ok(()) };
    let test = health.test.as_deref().unwrap_or_default();
    match test.first().map(String::as_str) {
        None | Some("NONE" | "CMD" | "CMD-SHELL") => {}
        Some(other) => {
            return refuse(format!(
                "Unknown healthcheck type '{other}' (expected 'CMD')"
            ));
        }
    }
    let times = [health.interval, health.timeout, health.start_period];
    if times.iter().any(|&time| time != 0 && time < 1_000_000) {
        return refuse(
            "Interval, Timeout and StartPeriod in Healthcheck cannot be less \
             than 1ms",
        );
    }
    Ok(())
}

/// The namespaces' modes: a closed list of words each.
fn modes(host: &HostConfig) -> Result<()> {
    let check = |flag: &str, mode: &str, words: &[&str], join: bool| {
        let joins =
            mode.strip_prefix("container:").is_some_and(|it| !it.is_empty());
        if words.contains(&mode) || (join && joins) {
            return Ok(());
        }
        refuse(format!("invalid {flag} mode: {mode}"))
    };
    let ipc = ["", "none", "private", "shareable", "host"];
    check("IPC", &host.ipc_mode, &ipc, true)?;
    check("PID", &host.pid_mode, &["", "host"], true)?;
    check("UTS", &host.uts_mode, &["", "host"], false)?;
    check("userns", &host.userns_mode, &["", "host"], false)?;
    let cgroup = ["", "private", "host"];
    check("cgroup namespace", &host.cgroupns_mode, &cgroup, false)
}

/// What the user of another's network cannot have of his own. To be asked
/// before the image and the daemon add theirs.
pub(super) fn sharing(config: &Config, host: &HostConfig) -> Result<()> {
    let shared = host.network_mode.starts_with("container:");
    let on_host = host.network_mode == "host";
    let links = host.links.iter().flatten().next().is_some();
    let some = |it: &Option<Vec<String>>| it.iter().flatten().next().is_some();
    let ports = !host.port_bindings.is_empty() || host.publish_all_ports;
    let exposed = config.exposed_ports.iter().flatten().next().is_some();
    let conflicts = [
        (
            shared && !config.hostname.is_empty(),
            "hostname and the network mode",
        ),
        (
            shared && links,
            "container type network can't be used with links. This would \
             result in undefined behavior",
        ),
        (
            on_host && links,
            "host type networking can't be used with links. This would \
             result in undefined behavior",
        ),
        (shared && !host.dns.is_empty(), "dns and the network mode"),
        (
            shared && some(&host.extra_hosts),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            (shared || on_host) && !config.mac_address.is_empty(),
            "mac-address and the network mode",
        ),
        (
            shared && ports,
            "port publishing and the container type network mode",
        ),
        (
            shared && exposed,
            "port exposing and the container type network mode",
        ),
        (
            host.uts_mode == "host" && !config.hostname.is_empty(),
            "hostname and the UTS mode",
        ),
    ];
    match conflicts.iter().find(|(conflict, _)| *conflict) {
        Some((_, what)) => refuse(format!("conflicting options: {what}")),
        None => Ok(()),
    }
}

/// What `--runtime` may say: our own name, and those that Docker's default
/// has, which scripts and Compose files spell out. All are the shim.
pub(in crate::engine) const RUNTIMES: [&str; 3] =
    ["skiff", "runc", "io.containerd.runc.v2"];

/// What other engines, systems or machines have.
fn elsewhere(host: &HostConfig) -> Result<()> {
    let only = |field: &str, value: &str, words: &[&str]| {
        if value.is_empty() || words.contains(&value) {
            return Ok(());
        }
        refuse(format!("HostConfig.{field}: {value:?} is not supported here"))
    };
    let runtime = host.runtime.as_str();
    if !runtime.is_empty() && !RUNTIMES.contains(&runtime) {
        return refuse(format!("unknown or invalid runtime name: {runtime}",));
    }
    only("Isolation", &host.isolation, &["default"])?;
    only("Cgroup", &host.cgroup, &[])?;
    let resources = &host.resources;
    let windows = [
        ("CpuCount", resources.cpu_count != 0),
        ("CpuPercent", resources.cpu_percent != 0),
        ("IOMaximumIOps", resources.io_maximum_iops != 0),
        ("IOMaximumBandwidth", resources.io_maximum_bandwidth != 0),
    ];
    if let Some((field, _)) = windows.iter().find(|(_, set)| *set) {
        return refuse(format!("HostConfig.{field} is for Windows only"));
    }
    if !host.storage_opt.is_empty() {
        return refuse(
            "--storage-opt is supported only for overlay over xfs with \
             'pquota' mount option",
        );
    }
    match resources.device_requests.iter().flatten().next() {
        Some(request) => refuse(format!(
            "could not select device driver {} with capabilities: {}",
            request.get("Driver").unwrap_or(&"".into()),
            // As Go prints lists.
            request
                .get("Capabilities")
                .map_or("[]".to_owned(), ToString::to_string)
                .replace('"', "")
                .replace(',', " "),
        )),
        None => Ok(()),
    }
}

/// Checks a restart policy; `update` uses this too.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words.
pub(super) fn restart_policy(
    policy: &RestartPolicy,
    auto_remove: bool,
) -> Result<()> {
    let name = policy.name.as_str();
    match name {
        "" | "no" => {}
        "always" | "unless-stopped" | "on-failure" => {
            if auto_remove {
                return refuse(
                    "can't create 'AutoRemove' container with restart policy",
                );
            }
        }
        _ => {
            return refuse(format!(
                "invalid restart policy: unknown policy '{name}'; use one of \
                 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    if policy.maximum_retry_count > 0 && name != "on-failure" {
        return refuse(
            "invalid restart policy: maximum retry count can only be used \
             with 'on-failure'",
        );
    }
    Ok(())
}

fn rights(host: &HostConfig) -> Result<()> {
    let lists = [("CapAdd", &host.cap_add), ("CapDrop", &host.cap_drop)];
    for (field, list) in lists {
        for name in list.iter().flatten() {
            let all = name.to_ascii_lowercase();
            let all = matches!(all.as_str(), "all" | "cap_all");
            if !all && CapSet::parse(name).is_none() {
                return refuse(format!(
                    "invalid {field}: unknown capability: {name:?}"
                ));
            }
        }
    }
    security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        DeviceRule::parse(rule).map_err(invalid)?;
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    Ok(())
}

/// `--cpuset-…` may name only what this machine has.
fn available(what: &str, asked: &str, kind: &str) -> Result<()> {
    let online = format!("/sys/devices/system/{kind}/online");
    // A machine without NUMA has no list of nodes, but has node 0.
    let online = std::fs::read_to_string(online).unwrap_or("0".to_owned());
    let online = online.trim();
    let there = numbers(online).unwrap_or_default();
    match numbers(asked) {
        _ if asked.is_empty() => Ok(()),
        None => refuse(format!(
            "Invalid value {asked} for cpuset {kind}s: invalid format: {asked}"
        )),
        Some(wanted) if wanted.iter().all(|it| there.contains(it)) => Ok(()),
        Some(_) => refuse(format!(
            "Requested {what} are not available - requested {asked}, \
             available: {online}"
        )),
    }
}

/// `0-2,7` as numbers; cpuset(7), "List format". No machine has so many
/// CPUs that a wrong range could fill the memory.
fn numbers(list: &str) -> Option<Vec<u32>> {
    const MOST: u32 = 8192;
    let mut all = Vec::new();
    for range in list.split(',').filter(|it| !it.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) =
            (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

fn ulimit(limit: &Ulimit) -> Result<()> {
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    let Ulimit { name, soft, hard } = limit;
    if !NAMES.contains(&name.as_str()) {
        return refuse(format!("invalid ulimit type: {name}"));
    }
    if *hard != -1 && (*soft == -1 || soft > hard) {
        return refuse(format!(
            "ulimit soft limit must be less than or equal to hard limit: \
             {soft} > {hard}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str) -> String {
        let host: HostConfig = serde_json::from_str(host).unwrap();
        check(&Config::default(), &host).unwrap_err().to_string()
    }

    #[test]
    fn who_shares_a_network_has_no_wishes_of_his_own_for_it() {
        let conflict = |config: &str, host: &str| {
            let config: Config = serde_json::from_str(config).unwrap();
            let host: HostConfig = serde_json::from_str(host).unwrap();
            sharing(&config, &host).unwrap_err().to_string()
        };
        for (config, more, want) in [
            (r#"{"Hostname": "h"}"#, "", "hostname and the network mode"),
            (
                r#"{"ExposedPorts": {"80/tcp": {}}}"#,
                "",
                "port exposing and the container type network mode",
            ),
            (
                "{}",
                r#", "PortBindings": {"80/tcp": []}"#,
                "port publishing and the container type network mode",
            ),
            ("{}", r#", "Dns": ["1.1.1.1"]"#, "dns and the network mode"),
            (
                "{}",
                r#", "ExtraHosts": ["a:1.1.1.1"]"#,
                "custom host-to-IP mapping and the network mode",
            ),
            (
                "{}",
                r#", "Links": ["other"]"#,
                "container type network can't be used with links. This would \
                 result in undefined behavior",
            ),
        ] {
            let host = format!(r#"{{"NetworkMode": "container:web"{more}}}"#);
            let said = conflict(config, &host);
            assert_eq!(said, format!("conflicting options: {want}"));
        }
        let host = r#"{"NetworkMode": "host", "Links": ["other"]}"#;
        assert!(conflict("{}", host).contains("host type networking"));
        let plain = HostConfig::default();
        assert!(sharing(&Config::default(), &plain).is_ok());
    }

    #[test]
    fn nothing_is_dropped_in_silence() {
        let all = [
            r#"{"KernelMemory": 1}"#,
            r#"{"Runtime": "kata"}"#,
            r#"{"Isolation": "hyperv"}"#,
            r#"{"CpuCount": 2}"#,
            r#"{"StorageOpt": {"size": "1g"}}"#,
            r#"{"DeviceRequests": [{"Driver": "", "Capabilities": [["gpu"]]}]}"#,
            r#"{"IpcMode": "odd"}"#,
            r#"{"PidMode": "container:"}"#,
            r#"{"UsernsMode": "auto"}"#,
            r#"{"RestartPolicy": {"Name": "sometimes"}}"#,
            r#"{"RestartPolicy": {"Name": "always"}, "AutoRemove": true}"#,
            r#"{"RestartPolicy": {"Name": "no", "MaximumRetryCount": 3}}"#,
            r#"{"LogConfig": {"Type": "syslog"}}"#,
            r#"{"LogConfig": {"Type": "json-file", "Config": {"size": "x"}}}"#,
            r#"{"LogConfig": {"Type": "local", "Config": {"max-size": "x"}}}"#,
            r#"{"CapAdd": ["CAP_FLY"]}"#,
            r#"{"SecurityOpt": ["magic=on"]}"#,
            r#"{"DeviceCgroupRules": ["c 1"]}"#,
            r#"{"ShmSize": -1}"#,
            r#"{"OomScoreAdj": 2000}"#,
            r#"{"Memory": 1024}"#,
            r#"{"Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 3}]}"#,
            r#"{"Ulimits": [{"Name": "odd", "Soft": 1, "Hard": 3}]}"#,
        ];
        let said: Vec<_> = all.iter().map(|host| refused(host)).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn dockers_default_runtime_may_be_named() {
        for name in ["", "runc", "io.containerd.runc.v2", "skiff"] {
            let runtime = name.to_owned();
            let host = HostConfig { runtime, ..HostConfig::default() };
            assert!(check(&Config::default(), &host).is_ok(), "{name}");
        }
    }

    #[test]
    fn cpus_that_are_not_there_are_refused_with_those_that_are() {
        let text = refused(r#"{"CpusetCpus": "0,4000"}"#);
        let begin = "Requested CPUs are not available - requested 0,4000, \
                     available: 0";
        assert!(text.starts_with(begin), "{text}");
        let text = refused(r#"{"CpusetCpus": "2-1"}"#);
        assert_eq!(
            text,
            "Invalid value 2-1 for cpuset cpus: invalid format: 2-1"
        );
        assert_eq!(numbers("0-2,7\n"), Some(vec![0, 1, 2, 7]));
    }

    #[test]
    fn a_health_check_has_a_known_form() {
        let text = r#"{"Healthcheck": {"Test": ["curl", "localhost"]}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        let error = check(&config, &HostConfig::default()).unwrap_err();
        insta::assert_snapshot!(error, @"Unknown healthcheck type 'curl' (expected 'CMD')");
    }
}
