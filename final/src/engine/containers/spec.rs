//! From a record to what the shim is asked to make.

use std::path::{Path, PathBuf};

use namespaces::{
    CapSet, Mount, Namespace, Process, Rlimit, Sandbox, User, WindowSize,
};

use super::host_config::HostConfig;
use super::record::Record;
use super::{Container, devices, limits, log_options, security};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::shim::{Cgroup, Spec, World};

/// Where programs are looked for unless the image says otherwise.
const PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a start has prepared by the time the shim is asked.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The mounted root file system.
    pub(super) rootfs: PathBuf,
    /// Everything beyond step 2's own mounts.
    pub(super) mounts: Vec<Mount>,
    /// The network namespace.
    pub(super) net: Namespace,
}

/// The shim's orders for this container.
///
/// # Errors
/// [`Error::Conflict`] if a container to share with does not run,
/// [`Error::Invalid`] for a device that is not there.
pub(super) fn build(
    engine: &Engine,
    container: &Container,
    record: &Record,
    prepared: Prepared,
) -> Result<Spec> {
    let host = &record.host_config;
    let parent = Some(host.resources.cgroup_parent.clone());
    let cgroup = Cgroup {
        parent: parent.filter(|it| !it.is_empty()),
        name: record.id.clone(),
        limits: limits::of(host, true)?,
    };
    let world = World::New {
        sandbox: Box::new(sandbox(engine, record, prepared)?),
        cgroup: engine.cgroup_of(cgroup)?,
    };
    let process = process(engine, record)?;
    let mut spec = Spec::new(&record.id, &container.dir, world, process);
    let config = &record.config;
    spec.terminal = config.tty.then(|| window(host.console_size));
    spec.open_stdin = config.open_stdin;
    spec.stdin_once = config.stdin_once;
    spec.log = log_options::log(record)?;
    Ok(spec)
}

/// A terminal's size as the API writes it: rows, columns.
pub(super) fn window([rows, cols]: [u16; 2]) -> WindowSize {
    WindowSize { rows, cols }
}

fn sandbox(
    engine: &Engine,
    record: &Record,
    prepared: Prepared,
) -> Result<Sandbox> {
    let (config, host) = (&record.config, &record.host_config);
    let mut sandbox = Sandbox::new(prepared.rootfs);
    sandbox.readonly_rootfs = host.readonly_rootfs;
    let spaces = &mut sandbox.namespaces;
    spaces.net = prepared.net;
    spaces.ipc = namespace(engine, "ipc", &host.ipc_mode)?;
    spaces.pid = namespace(engine, "pid", &host.pid_mode)?;
    spaces.uts = namespace(engine, "uts", &host.uts_mode)?;
    spaces.cgroup = namespace(engine, "cgroup", &host.cgroupns_mode)?;
    if host.uts_mode != "host" {
        sandbox.hostname = Some(config.hostname.clone());
        let domain = Some(config.domainname.clone());
        sandbox.domainname = domain.filter(|it| !it.is_empty());
    }
    confine(host, &mut sandbox)?;
    for mapping in &host.resources.devices {
        for device in devices::nodes(mapping)? {
            sandbox.devices.retain(|old| old.path != device.path);
            sandbox.devices.push(device);
        }
    }
    sandbox.sysctls.clone_from(&host.sysctls);
    for mount in prepared.mounts {
        sandbox.mount(mount);
    }
    if host.ipc_mode == "none" {
        sandbox.mounts.retain(|it| it.target != Path::new("/dev/shm"));
    }
    Ok(sandbox)
}

/// What must not be seen or written, and which devices there are.
fn confine(host: &HostConfig, sandbox: &mut Sandbox) -> Result<()> {
    let paths = |list: &Vec<String>| list.iter().map(PathBuf::from).collect();
    if let Some(list) = &host.masked_paths {
        sandbox.masked_paths = paths(list);
    }
    if let Some(list) = &host.readonly_paths {
        sandbox.readonly_paths = paths(list);
    }
    let options = host.security_opt.as_deref().unwrap_or_default();
    if host.privileged {
        sandbox.unmask();
        sandbox.devices = devices::all();
    } else if security::parse(options)?.unmasked {
        sandbox.masked_paths.clear();
        sandbox.readonly_paths.clear();
    }
    Ok(())
}

/// A namespace by its mode: `host`, `container:ID`, or one of its own.
fn namespace(engine: &Engine, kind: &str, mode: &str) -> Result<Namespace> {
    if mode == "host" {
        return Ok(Namespace::Host);
    }
    let Some(id) = mode.strip_prefix("container:") else {
        return Ok(Namespace::New);
    };
    let other = engine.containers.find(id)?;
    match other.with(|record| record.state.pid) {
        0 => Err(Error::Conflict(format!(
            "cannot join {kind} namespace of a non running container: \
             container {id} is not running"
        ))),
        pid => Ok(Namespace::Join(format!("/proc/{pid}/ns/{kind}").into())),
    }
}

fn process(engine: &Engine, record: &Record) -> Result<Process> {
    let (config, host) = (&record.config, &record.host_config);
    let mut process = Process::new(config.argv());
    process.env = environment(record, &engine.link_variables(record));
    process.cwd = cwd(&config.working_dir);
    process.user = User {
        name: config.user.clone(),
        groups: host.group_add.clone().unwrap_or_default(),
    };
    restrict(engine, host, &mut process)?;
    process.init = host.init.unwrap_or(engine.config().init)
        && !host.pid_mode.starts_with("container:");
    Ok(process)
}

/// What holds for every process of the container, its first as well as those
/// of execs and probes: capabilities, seccomp, `no_new_privs`, ulimits and
/// the OOM killer's interest in it.
///
/// # Errors
/// [`Error::Invalid`] for an unknown security option.
pub(super) fn restrict(
    engine: &Engine,
    host: &HostConfig,
    process: &mut Process,
) -> Result<()> {
    let options = host.security_opt.as_deref().unwrap_or_default();
    let options = security::parse(options)?;
    process.capabilities = security::capabilities(host);
    process.ambient = CapSet::EMPTY;
    process.no_new_privs =
        options.no_new_privileges || engine.config().no_new_privileges;
    process.seccomp = options.seccomp.filter(|_| !host.privileged);
    process.rlimits = rlimits(engine, host);
    process.oom_score_adj =
        Some(host.oom_score_adj).filter(|adjust| *adjust != 0);
    Ok(())
}

pub(super) fn cwd(dir: &str) -> PathBuf {
    PathBuf::from(if dir.is_empty() { "/" } else { dir })
}

/// Docker's own variables, then those of the links, then the container's; a
/// later one wins.
pub(super) fn environment(record: &Record, links: &[String]) -> Vec<String> {
    let config = &record.config;
    let mut env = vec![PATH.to_owned()];
    env.push(format!("HOSTNAME={}", config.hostname));
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    override_env(&mut env, links);
    override_env(&mut env, config.env.as_deref().unwrap_or_default());
    env
}

/// Adds variables; those of the same name are replaced.
pub(super) fn override_env(env: &mut Vec<String>, more: &[String]) {
    let name = |entry: &str| entry.split('=').next().map(str::to_owned);
    for entry in more {
        env.retain(|old| name(old) != name(entry));
        if entry.contains('=') {
            env.push(entry.clone());
        }
    }
}

fn rlimits(engine: &Engine, host: &HostConfig) -> Vec<Rlimit> {
    let own = host.resources.ulimits.as_deref().unwrap_or_default();
    let defaults = &engine.config().default_ulimits;
    let inherited = defaults
        .iter()
        .filter(|it| !own.iter().any(|mine| mine.name == it.name));
    let amount = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    own.iter()
        .chain(inherited)
        .map(|it| Rlimit {
            name: it.name.clone(),
            soft: amount(it.soft),
            hard: amount(it.hard),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::override_env;

    #[test]
    fn a_later_variable_replaces_and_a_bare_name_removes() {
        let mut env = vec!["A=1".to_owned(), "B=2".to_owned()];
        override_env(&mut env, &["A=3".to_owned(), "B".to_owned()]);
        assert_eq!(env, ["A=3"]);
    }
}
