//! Whether a mount made later below a shared directory appears on the other
//! side, too.
//!
//! A mount namespace (step 2) begins as a copy of its parent. A *shared*
//! mount keeps telling its copies of what is mounted below it, a *slave* only
//! listens, a *private* one does neither: mount_namespaces(7). Containers get
//! private ones, so that a USB stick plugged in on the host does not turn up
//! inside. `-v /media:/media:rslave` asks for precisely that.
//!
//! What `/proc/self/mountinfo` says of a path: whether it is the root of a
//! mount, and whether later mounts below it would travel.

use std::fs;
use std::path::{Path, PathBuf};

use namespaces::Propagation;

use crate::Error;

/// The mount that a path is on.
#[derive(Debug, PartialEq, Eq)]
struct MountLine {
    point: PathBuf,
    /// Optional fields, as in `shared:4` or `master:7`.
    tags: Vec<String>,
}

/// Whether something is mounted exactly there.
pub(crate) fn is_mount_point(path: &Path) -> Result<bool, Error> {
    let path = path
        .canonicalize()
        .map_err(|error| Error::directory("read", path, &error))?;
    Ok(read()?.iter().any(|mount| mount.point == path))
}

/// Turns Docker's word into what the kernel does, and makes sure that the
/// source can keep the promise: mounts only travel out of a mount that is
/// itself shared, and only come in if it is shared or a slave.
pub(crate) fn check(word: &str, source: &Path) -> Result<Propagation, Error> {
    let wanted = match word {
        "" | "private" | "rprivate" => return Ok(Propagation::Private),
        "slave" | "rslave" => Propagation::Slave,
        _ => Propagation::Shared,
    };
    let full = source
        .canonicalize()
        .map_err(|error| Error::directory("read", source, &error))?;
    let mounts = read()?;
    let Some(on) = containing(&mounts, &full) else { return Ok(wanted) };
    let has = |tag| on.tags.iter().any(|t| t.starts_with(tag));
    let (good, adjective) = match wanted {
        Propagation::Shared => (has("shared:"), "shared"),
        _ => (has("shared:") || has("master:"), "shared or slave"),
    };
    if good {
        return Ok(wanted);
    }
    Err(Error::Invalid(format!(
        "path {} is mounted on {} but it is not a {adjective} mount",
        source.display(),
        on.point.display()
    )))
}

/// The mount with the longest path above `path`; of several at one place the
/// last one, which covers the others.
fn containing<'a>(
    mounts: &'a [MountLine],
    path: &Path,
) -> Option<&'a MountLine> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// All mounts that this process sees.
fn read() -> Result<Vec<MountLine>, Error> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path)
        .map_err(|error| Error::directory("read", path, &error))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// `36 35 98:0 /root /point options tags… - type source options`, proc(5).
fn parse(line: &str) -> Option<MountLine> {
    let (left, _) = line.split_once(" - ")?;
    let mut words = left.split(' ');
    let point = unescape(words.nth(4)?);
    let tags = words.skip(1).map(str::to_owned).collect();
    Some(MountLine { point: PathBuf::from(point), tags })
}

/// A space is `\040` there, and so on.
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")] {
        out = out.replace(code, plain);
    }
    out.replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_decides() {
        let text = "\
24 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 24 0:9 / /srv/my\\040data rw,noatime - tmpfs tmpfs rw
31 24 0:9 / /srv rw master:3 - tmpfs tmpfs rw";
        let mounts: Vec<_> = text.lines().filter_map(parse).collect();
        let on = |path| containing(&mounts, Path::new(path)).unwrap();
        assert_eq!(on("/etc").tags, ["shared:1"]);
        assert_eq!(on("/srv/my data/x").tags, Vec::<String>::new());
        assert_eq!(on("/srvother").point, Path::new("/"));
        assert_eq!(on("/srv/x").tags, ["master:3"]);
    }
}
