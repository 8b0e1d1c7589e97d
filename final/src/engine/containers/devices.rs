//! `--device` and `--privileged`: which device nodes a container sees.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cgroups::DeviceRule;
use namespaces::Device;

use super::host_config::DeviceMapping;
use super::limits;
use crate::engine::error::{Error, Result};

/// The nodes for one `--device`: one, or all below a directory such as
/// `/dev/snd`.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words if there is no device.
pub(super) fn nodes(mapping: &DeviceMapping) -> Result<Vec<Device>> {
    let host = Path::new(&mapping.path_on_host);
    let inside = match mapping.path_in_container.as_str() {
        "" => host,
        path => Path::new(path),
    };
    let bad = |cause: String| {
        Error::Invalid(format!(
            "error gathering device information while adding custom device \
             {:?}: {cause}",
            mapping.path_on_host
        ))
    };
    let meta = std::fs::metadata(host)
        .map_err(|_| bad("no such file or directory".to_owned()))?;
    if let Some(device) = node(host, inside, &meta) {
        return Ok(vec![device]);
    }
    let mut found = Vec::new();
    if meta.is_dir() {
        walk(host, &mut |path, meta| {
            let rest = path.strip_prefix(host).unwrap_or(path);
            found.extend(node(path, &inside.join(rest), meta));
        });
    }
    if found.is_empty() {
        return Err(bad("not a device node".to_owned()));
    }
    Ok(found)
}

/// What the device controller must allow for one `--device`.
///
/// # Errors
/// As [`nodes`], and for letters other than `rwm`.
pub(super) fn rules(mapping: &DeviceMapping) -> Result<Vec<DeviceRule>> {
    nodes(mapping)?
        .iter()
        .map(|it| {
            let number = (it.block, it.major, it.minor);
            limits::rule(&it.path, number, &mapping.cgroup_permissions)
        })
        .collect()
}

/// All of the host's nodes, for `--privileged`; not its terminals, and not
/// the mounts below `/dev`, of which every container has its own.
pub(super) fn all() -> Vec<Device> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), &mut |path, meta| {
        let taken = ["/dev/console", "/dev/ptmx", "/dev/tty"];
        if !taken.iter().any(|own| path == Path::new(own)) {
            found.extend(node(path, path, meta));
        }
    });
    found
}

fn node(
    host: &Path,
    inside: &Path,
    meta: &std::fs::Metadata,
) -> Option<Device> {
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(Device {
        path: inside.to_owned(),
        host: host.to_owned(),
        block: kind.is_block_device(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
        mode: meta.permissions().mode() & 0o777,
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

fn walk(dir: &Path, found: &mut dyn FnMut(&Path, &std::fs::Metadata)) {
    const OWN: [&str; 5] = ["pts", "shm", "mqueue", "fd", "hugepages"];
    // A node that disappears while we look was not wanted.
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let own = path.file_name().is_some_and(|name| {
            OWN.iter().any(|own| name == std::ffi::OsStr::new(own))
        });
        if meta.is_dir() && !own {
            walk(&path, found);
        } else {
            found(&path, &meta);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(path: &str) -> DeviceMapping {
        DeviceMapping {
            path_on_host: path.to_owned(),
            path_in_container: "/dev/inside".to_owned(),
            cgroup_permissions: "r".to_owned(),
        }
    }

    #[test]
    fn a_node_keeps_its_numbers_under_another_name() {
        let nodes = nodes(&mapping("/dev/null")).unwrap();
        let [node] = &nodes[..] else { panic!("{nodes:?}") };
        assert_eq!((node.major, node.minor, node.block), (1, 3, false));
        assert_eq!(node.path, Path::new("/dev/inside"));
        let rules = rules(&mapping("/dev/null")).unwrap();
        assert_eq!(rules[0].to_string(), "c 1:3 r");
    }

    #[test]
    fn what_is_no_device_is_refused_in_dockers_words() {
        let said = nodes(&mapping("/etc/hostname")).unwrap_err().to_string()
            + "\n"
            + &nodes(&mapping("/dev/nope")).unwrap_err().to_string();
        insta::assert_snapshot!(said, @r#"
        error gathering device information while adding custom device "/etc/hostname": not a device node
        error gathering device information while adding custom device "/dev/nope": no such file or directory
        "#);
    }
}
