//! All the ways to ask for a mount, as one list for step 6.

use std::path::{Path, PathBuf};

use namespaces::{Mount, Source};
use rustix::mount::{MountFlags, UnmountFlags};
use volumes::{
    MountKind, MountSpec, add_anonymous, parse_volume_flag, tmpfs_mount,
};

use super::config::Config;
use super::host_config::HostConfig;
use super::record::Record;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};

/// `-v`, `--mount`, `--volumes-from` and the image's `VOLUME`s, in the order
/// of Docker: an explicit wish wins over an inherited one.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words.
pub(super) fn wanted(
    engine: &Engine,
    config: &Config,
    host: &HostConfig,
) -> Result<Vec<MountSpec>> {
    let mut specs = Vec::new();
    for bind in host.binds.iter().flatten() {
        specs.push(parse_volume_flag(bind).map_err(Error::Invalid)?);
    }
    made_by(&host.volume_driver, &mut specs);
    specs.extend(host.mounts.iter().cloned());
    for from in host.volumes_from.iter().flatten() {
        for spec in inherited(engine, from)? {
            if !specs.iter().any(|mine| mine.target == spec.target) {
                specs.push(spec);
            }
        }
    }
    let places = config.volumes.iter().flatten().map(|(path, _)| path);
    // A tmpfs at the place of the image's volume replaces it.
    let places = places.filter(|path| !host.tmpfs.contains_key(*path));
    let named = specs.len();
    add_anonymous(&mut specs, places.map(String::as_str));
    made_by(&host.volume_driver, &mut specs[named..]);
    for (target, options) in &host.tmpfs {
        tmpfs_mount(target, options).map_err(Error::Invalid)?;
        if specs.iter().any(|spec| spec.target == *target) {
            return Err(Error::Invalid(format!(
                "Duplicate mount point: {target}"
            )));
        }
    }
    Ok(specs)
}

/// `--volume-driver`: who makes the volumes that `-v` and the image want. It
/// need not exist as long as there is none to make.
fn made_by(driver: &str, specs: &mut [MountSpec]) {
    if driver.is_empty() {
        return;
    }
    for spec in specs.iter_mut().filter(|it| it.kind == MountKind::Volume) {
        let options = spec.volume_options.get_or_insert_default();
        let config = options.driver_config.get_or_insert_default();
        driver.clone_into(&mut config.name);
    }
}

/// `--volumes-from NAME[:ro|rw]`: the other container's mounts.
fn inherited(engine: &Engine, from: &str) -> Result<Vec<MountSpec>> {
    let (name, mode) = from.split_once(':').unwrap_or((from, ""));
    if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
        return Err(Error::Invalid(format!(
            "invalid mode for volumes-from: {mode}"
        )));
    }
    let other = engine.containers.find(name)?;
    let claims = other.with(|record| record.own.claims.clone());
    let specs = claims.into_iter().map(|claim| {
        let mut spec = claim.spec;
        if !claim.point.name.is_empty() {
            spec.source = claim.point.name;
        }
        spec.target = claim.point.destination;
        spec.read_only |= mode == "ro";
        spec
    });
    Ok(specs.collect())
}

/// The mounts beyond step 2's own: the network's three files, the claims
/// (from `volumes`), `--tmpfs`, and `/dev/shm` by its mode.
///
/// # Errors
/// What a start can fail with; Docker's words where it has some.
pub(super) fn all(
    engine: &Engine,
    record: &Record,
    claimed: Vec<Mount>,
) -> Result<Vec<Mount>> {
    let host = &record.host_config;
    let mut mounts = vec![
        Mount::bind(&record.resolv_conf_path, "/etc/resolv.conf"),
        Mount::bind(&record.hostname_path, "/etc/hostname"),
        Mount::bind(&record.hosts_path, "/etc/hosts"),
    ];
    for mount in &mut mounts {
        mount.options.read_only = host.readonly_rootfs;
    }
    for (target, options) in &host.tmpfs {
        mounts.push(tmpfs_mount(target, options).map_err(Error::Invalid)?);
    }
    let dir = engine.containers.dir().join(&record.id);
    mounts.extend(shared_memory(engine, host, &dir)?);
    mounts.extend(claimed);
    Ok(mounts)
}

/// `/dev/shm` goes with the IPC namespace: POSIX shared memory is files.
fn shared_memory(
    engine: &Engine,
    host: &HostConfig,
    dir: &Path,
) -> Result<Option<Mount>> {
    if let Some(name) = host.ipc_mode.strip_prefix("container:") {
        let path = shareable(engine, name)?;
        return Ok(Some(Mount::bind(path, "/dev/shm")));
    }
    if host.ipc_mode == "host" {
        return Ok(Some(Mount::bind("/dev/shm", "/dev/shm")));
    }
    let options = shm_options(engine, host);
    if host.ipc_mode == "shareable" {
        let dir = dir.join(SHM);
        mount_shm(&dir, &options.join(","))?;
        return Ok(Some(Mount::bind(dir, "/dev/shm")));
    }
    let mut mount = Mount::new("/dev/shm", Source::Tmpfs { options });
    mount.options.nosuid = true;
    mount.options.nodev = true;
    mount.options.noexec = true;
    Ok(Some(mount))
}

fn shm_options(engine: &Engine, host: &HostConfig) -> Vec<String> {
    let size = match host.shm_size {
        0 => engine.config().shm_size(),
        size => size,
    };
    vec!["mode=1777".to_owned(), format!("size={size}")]
}

/// Shared memory that others may join is mounted on the host, in the
/// container's directory: a mount inside one mount namespace cannot be
/// bound into another (open_tree(2): EINVAL).
const SHM: &str = "shm";

fn mount_shm(dir: &Path, options: &str) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    std::fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
    let options = std::ffi::CString::new(options).unwrap_or_default();
    rustix::mount::mount("shm", dir, "tmpfs", flags, options.as_c_str())
        .map_err(|errno| Error::io("mount", dir)(errno.into()))
}

/// Takes away what [`mount_shm`] mounted; those who joined keep it.
pub(super) fn unmount_shm(dir: &Path) {
    let dir = dir.join(SHM);
    if dir.exists() {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        // Not mounted any more is as good.
        let _ = rustix::mount::unmount(&dir, flags);
        let _ = std::fs::remove_dir(&dir);
    }
}

/// The shared memory of a running container.
fn shareable(engine: &Engine, name: &str) -> Result<PathBuf> {
    let other = engine.containers.find(name)?;
    let (pid, mode) = other
        .with(|record| (record.state.pid, record.host_config.ipc_mode.clone()));
    if mode != "shareable" {
        return Err(Error::Invalid(format!(
            "cannot join IPC of container {}: non-shareable IPC (hint: use \
             IpcMode:shareable for the donor container)",
            other.id
        )));
    }
    if pid == 0 {
        return Err(Error::Conflict(format!(
            "cannot join IPC namespace of a non running container: \
             container {} is not running",
            other.id
        )));
    }
    Ok(other.dir.join(SHM))
}
