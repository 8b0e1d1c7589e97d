//! Rights, namespaces and devices.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::{Body, labels};
use crate::cli::failure::cannot_open;

/// Flags about what the container may do.
#[derive(Debug, Clone, Args)]
pub(crate) struct SecurityFlags {
    /// Nearly all that root may do on the host: no container any more
    #[arg(long)]
    privileged: bool,
    /// Add a capability, or ALL; may repeat
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL; may repeat
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=FILE, seccomp=unconfined,
    /// apparmor=PROFILE, label=…, systempaths=unconfined; may repeat
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Give it a device, as /dev/sda:/dev/xvda:rwm; may repeat
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Rule for kinds of devices, as 'c 13:* rwm'; may repeat
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
    /// Graphics cards, as all or device=0
    #[arg(long, value_name = "REQUEST")]
    gpus: Option<String>,
    /// PID namespace: host or container:NAME
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// IPC namespace: private, shareable, host, none or container:NAME
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// UTS namespace: host
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,
    /// User namespace: host
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// cgroup namespace: private or host
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<String>,
    /// Kernel setting of its namespaces, as net.ipv4.ip_forward=1; may
    /// repeat
    #[arg(long, value_name = "NAME=VALUE", value_parser = sysctl)]
    sysctl: Vec<String>,
    /// Another low-level runtime than our own
    #[arg(long, value_name = "NAME")]
    runtime: Option<String>,
    /// Isolation technology: only default
    #[arg(long, value_name = "NAME")]
    isolation: Option<String>,
}

impl SecurityFlags {
    pub(super) fn add(&self, body: &mut Body) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.gpus.is_none(),
            "--gpus is not supported; give the devices with --device"
        );
        body.host("Privileged", self.privileged);
        body.host("CapAdd", capabilities(&self.cap_add));
        body.host("CapDrop", capabilities(&self.cap_drop));
        self.options(body)?;
        let mut devices = Vec::new();
        for text in &self.device {
            devices.push(device(text)?);
        }
        body.host("Devices", devices);
        if !self.device_cgroup_rule.is_empty() {
            let rules = self.device_cgroup_rule.clone();
            body.host("DeviceCgroupRules", rules);
        }
        for (flag, what, mode, joins) in [
            ("pid", "PID", &self.pid, true),
            ("uts", "UTS", &self.uts, false),
            ("userns", "USER", &self.userns, false),
            ("cgroupns", "CGROUP", &self.cgroupns, false),
        ] {
            anyhow::ensure!(
                mode.as_deref().is_none_or(|it| is_mode(it, joins)),
                "--{flag}: invalid {what} mode"
            );
        }
        let modes = [
            ("PidMode", &self.pid),
            ("IpcMode", &self.ipc),
            ("UTSMode", &self.uts),
            ("UsernsMode", &self.userns),
            ("CgroupnsMode", &self.cgroupns),
            ("Runtime", &self.runtime),
            ("Isolation", &self.isolation),
        ];
        for (key, mode) in modes {
            body.host(key, mode.clone().unwrap_or_default());
        }
        body.host("Sysctls", labels(&self.sysctl));
        Ok(())
    }

    /// A seccomp profile travels as its text; systempaths as two lists.
    fn options(&self, body: &mut Body) -> anyhow::Result<()> {
        let mut options = Vec::new();
        for option in &self.security_opt {
            // `name:value` is the old way to write it.
            let (name, value) =
                option.split_once(['=', ':']).unwrap_or((option.as_str(), ""));
            match (name, value) {
                ("systempaths", "unconfined") => {
                    body.host("MaskedPaths", Value::Array(Vec::new()));
                    body.host("ReadonlyPaths", Value::Array(Vec::new()));
                }
                ("seccomp", value)
                    if value != "unconfined" && value != "builtin" =>
                {
                    let profile = profile(Path::new(value))?;
                    options.push(format!("seccomp={profile}"));
                }
                ("no-new-privileges", _) => options.push(option.clone()),
                _ if !option.contains(['=', ':']) => {
                    anyhow::bail!("Invalid --security-opt: {option:?}")
                }
                _ => options.push(option.clone()),
            }
        }
        body.host("SecurityOpt", options);
        Ok(())
    }
}

/// `private` is only for cgroups, which the engine says.
fn is_mode(text: &str, joins: bool) -> bool {
    let other = text.strip_prefix("container:");
    ["", "host", "private"].contains(&text)
        || (joins && other.is_some_and(|it| !it.is_empty()))
}

/// As the docker command has it: those of the container's own namespaces.
fn sysctl(text: &str) -> Result<String, String> {
    const KERNEL: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let allowed = text.split_once('=').is_some_and(|(name, _)| {
        KERNEL.contains(&name)
            || name.starts_with("net.")
            || name.starts_with("fs.mqueue.")
    });
    match allowed {
        true => Ok(text.to_owned()),
        false => Err(format!("sysctl '{text}' is not allowed")),
    }
}

fn profile(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        anyhow::anyhow!(
            "opening seccomp profile ({}) failed: {}",
            path.display(),
            cannot_open(path, &cause)
        )
    })?;
    let compact: Value = serde_json::from_str(&text).map_err(|cause| {
        anyhow::anyhow!(
            "compacting json for seccomp profile ({}) failed: {cause}",
            path.display()
        )
    })?;
    Ok(compact.to_string())
}

/// `net_admin` as `CAP_NET_ADMIN`, which is how the API writes it.
fn capabilities(names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|it| it.to_uppercase())
        .map(|it| match it == "ALL" || it.starts_with("CAP_") {
            true => it,
            false => format!("CAP_{it}"),
        })
        .collect()
}

/// `/dev/a`, `/dev/a:/dev/b`, `/dev/a:rw`, `/dev/a:/dev/b:rwm`.
fn device(text: &str) -> anyhow::Result<Value> {
    let is_mode = |it: &str| {
        !it.is_empty() && it.chars().all(|letter| "rwm".contains(letter))
    };
    let parts: Vec<_> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, mode] if is_mode(mode) => (source, source, mode),
        [source, target] => (source, target, "rwm"),
        [source, target, mode] if is_mode(mode) => (source, target, mode),
        [_, _, mode] => anyhow::bail!("bad mode specified: {mode}"),
        _ => anyhow::bail!("invalid device specification: {text}"),
    };
    // A name of the device interface has its kind in front: vendor/class=x.
    anyhow::ensure!(
        source.starts_with('/') || source.contains('='),
        "{source} is not an absolute path"
    );
    Ok(json!({
        "PathOnHost": source,
        "PathInContainer": target,
        "CgroupPermissions": mode,
    }))
}
