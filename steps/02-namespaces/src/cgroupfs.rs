//! `/sys/fs/cgroup` inside a container: its own cgroup as the root.
//!
//! The JVM, Go and many others read their memory and CPU limits from here to
//! size heaps and thread pools. It is read-only: a limit is for somebody
//! outside to set.
//!
//! On cgroup v2 that is one file system. On v1 there is one per hierarchy,
//! and programs look for them by the names that distributions gave them.
//! Hybrid hosts have both. Which of it a machine has is in
//! `/proc/self/cgroup`, the same file that says where a process is.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, ResolveFlags, mkdirat, symlinkat};
use rustix::io::Errno;

use crate::Error;
use crate::inroot::RootPath;
use crate::mountfd::{Attributes, attach, clone_tree, set_attributes};
use crate::mounts::{Fs, c_string, key_value};
use crate::wire::{Call, During, Fault};

/// One line of `/proc/self/cgroup`, as something to mount.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    fs: Fs,
    /// Directory below `/sys/fs/cgroup`; empty on pure v2.
    dir: Option<(RootPath, CString)>,
    /// `cpu` and `cpuacct` for a directory `cpu,cpuacct`.
    links: Vec<CString>,
}

/// The hierarchies of this machine.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>, Error> {
    let path = "/proc/self/cgroup";
    let text = std::fs::read_to_string(path).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::File { doing: "read", path: path.into(), errno }
    })?;
    parse(&text)
}

/// `12:cpu,cpuacct:/path`, one line each; v2 is `0::/path` (cgroups(7)).
fn parse(text: &str) -> Result<Vec<Hierarchy>, Error> {
    let only_v2 = text.lines().count() == 1;
    let mut all = Vec::new();
    for line in text.lines() {
        let Some(name) = line.split(':').nth(1) else { continue };
        all.push(match name {
            "" if only_v2 => Hierarchy {
                fs: Fs::plain(c"cgroup2"),
                dir: None,
                links: Vec::new(),
            },
            "" => Hierarchy {
                fs: Fs::plain(c"cgroup2"),
                dir: Some(place("unified")?),
                links: Vec::new(),
            },
            name => v1(name)?,
        });
    }
    Ok(all)
}

/// A v1 hierarchy: to mount it, its controllers are given as options, and
/// the kernel finds the existing one that has exactly these.
fn v1(name: &str) -> Result<Hierarchy, Error> {
    let mut options = Vec::new();
    if name.starts_with("name=") {
        // A hierarchy without controllers, as systemd has one.
        options.push(key_value("none")?);
    }
    for option in name.split(',') {
        options.push(key_value(option)?);
    }
    let dir = name.strip_prefix("name=").unwrap_or(name);
    let links = if dir.contains(',') { dir.split(',') } else { "".split(',') };
    let links = links.filter(|link| !link.is_empty());
    Ok(Hierarchy {
        fs: Fs { kind: c"cgroup", options },
        dir: Some(place(dir)?),
        links: links
            .map(|link| c_string(link.as_bytes()))
            .collect::<Result<_, _>>()?,
    })
}

fn place(name: &str) -> Result<(RootPath, CString), Error> {
    Ok((RootPath::new(name.as_ref())?, c_string(name.as_bytes())?))
}

/// Child: mounts them all at `place`. Mounted in the new cgroup namespace,
/// each shows the container's own cgroup as its root and hides what is
/// above: not even the container's ID can be read from a path.
pub(crate) fn mount(
    hierarchies: &[Hierarchy],
    attributes: &Attributes,
    place: BorrowedFd<'_>,
    item: usize,
) -> Result<(), Fault> {
    match hierarchies {
        [Hierarchy { fs, dir: None, .. }] => {
            let tree = match fs.make(attributes, item) {
                // Who may not mount it sees the host's, read-only.
                Err(Fault { errno: Errno::PERM, .. }) => {
                    return bind_hosts(attributes, place, item);
                }
                made => made?,
            };
            attach(tree.as_fd(), place).during(Call::Attach, item)
        }
        many => match mount_v1(many, attributes, place, item) {
            Err(Fault { errno: Errno::PERM, .. }) => {
                bind_hosts(attributes, place, item)
            }
            result => result,
        },
    }
}

/// Child: the host's tree. Its files are still guarded by their owners.
fn bind_hosts(
    attributes: &Attributes,
    place: BorrowedFd<'_>,
    item: usize,
) -> Result<(), Fault> {
    let tree = clone_tree(CWD, c"/sys/fs/cgroup", true);
    let tree = tree.during(Call::Clone, item)?;
    set_attributes(tree.as_fd(), attributes, true)
        .during(Call::Attributes, item)?;
    attach(tree.as_fd(), place).during(Call::Attach, item)
}

/// Child: a small tmpfs with a directory and a mount for each hierarchy.
fn mount_v1(
    hierarchies: &[Hierarchy],
    attributes: &Attributes,
    place: BorrowedFd<'_>,
    item: usize,
) -> Result<(), Fault> {
    let writable = attributes.writable();
    let base = Fs::plain(c"tmpfs").make(&writable, item)?;
    attach(base.as_fd(), place).during(Call::Attach, item)?;
    for hierarchy in hierarchies {
        let Some((path, name)) = &hierarchy.dir else { continue };
        let mode = Mode::from_raw_mode(0o755);
        mkdirat(&base, name.as_c_str(), mode).during(Call::Mkdir, item)?;
        for link in &hierarchy.links {
            symlinkat(name.as_c_str(), &base, link.as_c_str())
                .during(Call::Symlink, item)?;
        }
        let tree = hierarchy.fs.make(attributes, item)?;
        let dir = path
            .open(base.as_fd(), ResolveFlags::NO_SYMLINKS)
            .during(Call::Open, item)?;
        attach(tree.as_fd(), dir.as_fd()).during(Call::Attach, item)?;
    }
    // Last, since the directories had to be made in it.
    set_attributes(base.as_fd(), attributes, false)
        .during(Call::Attributes, item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_v2_machine_has_one_tree_at_the_place_itself() {
        let all = parse("0::/user.slice\n").unwrap();
        assert_eq!(all.len(), 1);
        assert!(all[0].dir.is_none());
    }

    #[test]
    fn v1_controllers_that_share_a_tree_get_a_link_each() {
        let all = parse("3:cpu,cpuacct:/\n2:name=systemd:/\n0::/\n").unwrap();
        let dirs: Vec<_> = all
            .iter()
            .map(|it| it.dir.as_ref().unwrap().1.to_str().unwrap())
            .collect();
        assert_eq!(dirs, ["cpu,cpuacct", "systemd", "unified"]);
        assert_eq!(all[0].links, [c"cpu".to_owned(), c"cpuacct".to_owned()]);
        assert!(all[1].links.is_empty());
    }
}
