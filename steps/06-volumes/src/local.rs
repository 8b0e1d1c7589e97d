//! Volumes that are more than a directory: `docker volume create --opt
//! type=tmpfs --opt device=tmpfs --opt o=size=64m`. The three options are
//! those of mount(8), and what they say is mounted on `_data`.
//!
//! The mount is there as long as a container refers to the volume, and goes
//! with the last one. A container sees no difference: what it gets is a bind
//! of `_data` in either case.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{Error, Volume, propagation};

/// Refuses options in Docker's words.
pub(crate) fn check_options(
    options: &BTreeMap<String, String>,
) -> Result<(), Error> {
    for key in options.keys() {
        match key.as_str() {
            "type" | "device" | "o" => {}
            "size" => {
                return Err(Error::Invalid(
                    "quota size requested but no quota support".into(),
                ));
            }
            other => {
                return Err(Error::Invalid(format!(
                    "invalid option: {other:?}"
                )));
            }
        }
    }
    // Each of them is nothing without the others.
    let needs: [(&str, &[&str]); 3] = [
        ("device", &["type"]),
        ("type", &["device"]),
        ("o", &["device", "type"]),
    ];
    for (key, others) in needs {
        for other in others {
            if options.contains_key(key) && !options.contains_key(*other) {
                return Err(Error::Invalid(format!(
                    "missing required option: {other:?}"
                )));
            }
        }
    }
    Ok(())
}

/// Mounts the volume on its `_data`, unless it is a plain directory or
/// mounted already.
pub(crate) fn ensure_mounted(volume: &Volume) -> Result<(), Error> {
    let get = |key| volume.options.get(key).map_or("", String::as_str);
    let (kind, device) = (get("type"), get("device"));
    let target = &volume.mountpoint;
    if device.is_empty() || propagation::is_mount_point(target)? {
        return Ok(());
    }
    let (flags, mut data) = parse_options(get("o"));
    // mount(8) has a helper program for each of these; we are the helper.
    if matches!(kind, "nfs" | "nfs4" | "cifs") {
        data = resolve_address(&data)?;
    }
    mount(
        Some(device),
        target,
        Some(kind),
        flags,
        // None, not "": some file systems take an empty text for an option.
        Some(data.as_str()).filter(|data| !data.is_empty()),
    )
    .map_err(|source| Error::Mount {
        device: device.to_owned(),
        target: target.clone(),
        options: get("o").to_owned(),
        source,
        hint: hint(source),
    })
}

/// What mount(2) means by it. The kernel's own words go to its log only.
fn hint(error: Errno) -> &'static str {
    match error {
        Errno::ENODEV => {
            "; this kernel does not have that file system (see \
             /proc/filesystems)"
        }
        Errno::ENOENT => "; the device or path does not exist",
        Errno::ENOTBLK => "; the device is not a block device",
        Errno::EPERM => "; mounting takes CAP_SYS_ADMIN",
        Errno::EINVAL => "; the file system refuses one of the options in o=",
        Errno::ECONNREFUSED | Errno::ETIMEDOUT | Errno::EHOSTUNREACH => {
            "; the server does not answer"
        }
        _ => "",
    }
}

/// Takes away what [`ensure_mounted`] mounted.
pub(crate) fn unmount(volume: &Volume) -> Result<(), Error> {
    let path = &volume.mountpoint;
    if volume.options.is_empty() || !propagation::is_mount_point(path)? {
        return Ok(());
    }
    // Not lazily: data that cannot be written back must be an error here.
    umount2(path, MntFlags::UMOUNT_NOFOLLOW)
        .map_err(|source| Error::Unmount { path: path.clone(), source })
}

/// Splits `o=` as mount(8) does, for mount(2) does not: words that the kernel has as flags, and the
/// rest, which the file system itself takes.
fn parse_options(text: &str) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let (on, flag) = match word {
            "defaults" | "rw" => (false, MsFlags::MS_RDONLY),
            "ro" => (true, MsFlags::MS_RDONLY),
            "nosuid" => (true, MsFlags::MS_NOSUID),
            "suid" => (false, MsFlags::MS_NOSUID),
            "nodev" => (true, MsFlags::MS_NODEV),
            "dev" => (false, MsFlags::MS_NODEV),
            "noexec" => (true, MsFlags::MS_NOEXEC),
            "exec" => (false, MsFlags::MS_NOEXEC),
            "sync" => (true, MsFlags::MS_SYNCHRONOUS),
            "async" => (false, MsFlags::MS_SYNCHRONOUS),
            "dirsync" => (true, MsFlags::MS_DIRSYNC),
            "noatime" => (true, MsFlags::MS_NOATIME),
            "atime" => (false, MsFlags::MS_NOATIME),
            "nodiratime" => (true, MsFlags::MS_NODIRATIME),
            "relatime" => (true, MsFlags::MS_RELATIME),
            "strictatime" => (true, MsFlags::MS_STRICTATIME),
            "bind" => (true, MsFlags::MS_BIND),
            "rbind" => (true, MsFlags::MS_BIND | MsFlags::MS_REC),
            other => {
                data.push(other);
                continue;
            }
        };
        flags.set(flag, on);
    }
    (flags, data.join(","))
}

/// The kernel's NFS and SMB clients take addresses, not names; mount.nfs(8)
/// would look the name up, and so do we.
fn resolve_address(data: &str) -> Result<String, Error> {
    let mut words: Vec<String> = data.split(',').map(str::to_owned).collect();
    for word in &mut words {
        let Some(host) = word.strip_prefix("addr=") else { continue };
        let found = (host, 0).to_socket_addrs().ok().and_then(|mut a| a.next());
        let address = found.ok_or_else(|| {
            Error::Invalid(format!(
                "error resolving passed in network volume address: lookup \
                 {host}: no such host"
            ))
        })?;
        *word = format!("addr={}", address.ip());
    }
    Ok(words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_kernel_and_of_the_file_system_are_told_apart() {
        let (flags, data) = parse_options("size=1m,ro,uid=7,noexec,nodev,dev");
        assert_eq!(flags, MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC);
        assert_eq!(data, "size=1m,uid=7");
    }

    #[test]
    fn incomplete_and_unknown_options_are_refused() {
        let options = |pairs: &[(&str, &str)]| {
            let map = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            check_options(&map).map_err(|error| error.to_string())
        };
        assert_eq!(options(&[]), Ok(()));
        assert_eq!(
            options(&[("type", "tmpfs")]),
            Err("missing required option: \"device\"".into())
        );
        assert_eq!(
            options(&[("colour", "red")]),
            Err("invalid option: \"colour\"".into())
        );
    }

    #[test]
    fn a_network_volume_gets_an_address_in_place_of_a_name() {
        let data = resolve_address("addr=localhost,rw").unwrap();
        assert!(data == "addr=127.0.0.1,rw" || data == "addr=::1,rw", "{data}");
    }
}
