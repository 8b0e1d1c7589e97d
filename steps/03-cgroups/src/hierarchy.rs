//! Which cgroups this machine has, and where we may make ours.
//!
//! A *hierarchy* is one tree of groups, mounted somewhere. v2 has a single
//! one for all controllers. v1 has one per controller or pair of them. A
//! *hybrid* machine mounts both; which of them has the controllers decides,
//! controller by controller, for the kernel binds each to one tree only.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::controllers::{self, Kind};
use crate::{Error, Limits, file};

/// The dialect of one hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree per controller, `memory.limit_in_bytes`.
    V1,
    /// One tree, `memory.max`.
    V2,
}

/// What the machine as a whole looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only v1 hierarchies.
    V1,
    /// v1 hierarchies with controllers, and a v2 tree beside them.
    Hybrid,
    /// Only v2.
    V2,
}

impl Mode {
    /// `1` or `2`, as `docker info` says it: what the controllers speak.
    pub fn docker_version(self) -> &'static str {
        match self {
            Self::V1 | Self::Hybrid => "1",
            Self::V2 => "2",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        })
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its dialect.
    pub version: Version,
    /// Where it is mounted, as in `/sys/fs/cgroup/memory`.
    pub point: PathBuf,
    /// The kernel's names of the controllers that live in it.
    pub controllers: Vec<String>,
    /// The group below which we may make ours: the top of the tree for root,
    /// the delegated group for an ordinary user, `None` where nothing may be
    /// written.
    pub base: Option<PathBuf>,
}

impl Mount {
    /// Whether it serves this controller. Some things are no controllers on
    /// v2 but part of every group: the freezer, CPU time, the device filter.
    pub fn has(&self, kind: Kind) -> bool {
        let name = match self.version {
            Version::V1 => kind.v1_name(),
            Version::V2 if kind.is_core_on_v2() => return true,
            Version::V2 => kind.v2_name(),
        };
        self.controllers.iter().any(|have| have == name)
    }
}

/// All the hierarchies of this machine.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    mode: Mode,
    mounts: Vec<Mount>,
}

impl Hierarchy {
    /// Looks at `/proc/self/mountinfo` and `/proc/self/cgroup`. Nothing is
    /// mounted or changed.
    ///
    /// # Errors
    /// [`Error::NotMounted`] if there is no cgroup file system at all.
    pub fn detect() -> Result<Self, Error> {
        let mountinfo = file::read(Path::new("/proc/self/mountinfo"))?;
        let own = file::read(Path::new("/proc/self/cgroup"))?;
        let mut mounts = parse_mountinfo(&mountinfo);
        for mount in &mut mounts {
            if mount.version == Version::V2 {
                mount.controllers = available(&mount.point);
            }
            mount.base = base(mount, &own);
        }
        let mode = mode(&mounts).ok_or(Error::NotMounted)?;
        if mode == Mode::Hybrid {
            mounts.retain(|m| m.version == Version::V1 || serves(m));
        }
        Ok(Self { mode, mounts })
    }

    /// v1, hybrid or v2.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the controllers are those of v2.
    pub fn is_v2(&self) -> bool {
        self.mode == Mode::V2
    }

    /// The mounted hierarchies that are used.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Whether we may make groups anywhere: not an ordinary user on v1, or
    /// on v2 outside of what systemd has handed over.
    pub fn is_usable(&self) -> bool {
        self.mounts.iter().any(|m| m.base.is_some())
    }

    /// Whether the kernel counts swap per group: v1 does not if it was booted
    /// with `swapaccount=0`, as Debian and Ubuntu long were.
    pub fn counts_swap(&self) -> bool {
        self.mounts.iter().filter(|it| it.has(Kind::Memory)).all(|mount| {
            let counter = mount.point.join("memory.memsw.limit_in_bytes");
            mount.version == Version::V2 || counter.exists()
        })
    }

    /// Whether limits of this kind can be kept at all.
    pub fn has(&self, kind: Kind) -> bool {
        let offers = |mount: &Mount, base: &Path| match mount.version {
            Version::V1 => true,
            Version::V2 if kind.is_core_on_v2() => true,
            // Not all that the machine has is handed down to a user.
            Version::V2 => {
                available(base).iter().any(|it| it == kind.v2_name())
            }
        };
        self.mounts.iter().any(|mount| {
            let base = mount.base.as_ref();
            base.is_some_and(|it| mount.has(kind) && offers(mount, it))
        })
    }

    /// Refuses limits whose controller does not exist here, before anything
    /// is made.
    pub(crate) fn must_have(&self, limits: &Limits) -> Result<(), Error> {
        for controller in controllers::ALL {
            let Some(flag) = (controller.asked)(limits) else { continue };
            let kind = controller.kind;
            match self.mounts.iter().find(|m| m.has(kind)) {
                None => return Err(Error::no_controller(kind, flag)),
                Some(m) if m.base.is_none() => {
                    return Err(not_writable(m, kind, flag));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The error for a hierarchy in which we may not make groups.
fn not_writable(mount: &Mount, kind: Kind, flag: &'static str) -> Error {
    let way_out = match mount.version {
        Version::V1 => "cgroup v1 cannot be delegated; run the engine as root",
        Version::V2 => {
            "start the engine in a group that is delegated to you, as in: \
             systemd-run --user --scope -p Delegate=yes …, or run it as root"
        }
    };
    let reason = format!(
        "no group below {} may be written by this user; {way_out}",
        mount.point.display()
    );
    Error::NoController { kind, flag, reason }
}

fn mode(mounts: &[Mount]) -> Option<Mode> {
    let v2 = mounts.iter().any(|m| m.version == Version::V2);
    // A lone `name=systemd` has no controller and does not make a host v1.
    let v1 = mounts.iter().any(|m| {
        m.version == Version::V1
            && m.controllers.iter().any(|c| !c.starts_with("name="))
    });
    match (v1, v2) {
        (true, true) => Some(Mode::Hybrid),
        (true, false) => Some(Mode::V1),
        (false, true) => Some(Mode::V2),
        (false, false) => None,
    }
}

/// Whether the v2 tree of a hybrid machine is of any use to us. Mostly it
/// only serves systemd's own book-keeping, with rare controllers left over
/// that no v1 mount claimed; to be in a group there would limit nothing.
fn serves(mount: &Mount) -> bool {
    [Kind::Cpu, Kind::Memory, Kind::Pids, Kind::Cpuset, Kind::Io]
        .iter()
        .any(|kind| mount.has(*kind))
}

/// The cgroup mounts in `/proc/self/mountinfo`, see proc(5).
fn parse_mountinfo(text: &str) -> Vec<Mount> {
    let mut found: BTreeMap<Vec<String>, Mount> = BTreeMap::new();
    for line in text.lines() {
        let Some(mount) = parse_mount(line) else { continue };
        // The same tree may be mounted twice (bind mounts, containers);
        // the first one is where everybody expects it.
        found.entry(mount.controllers.clone()).or_insert(mount);
    }
    found.into_values().collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    // "… mount point, options, optional fields" – "type source super-options"
    let (left, right) = line.split_once(" - ")?;
    let point = file::unescape(left.split(' ').nth(4)?);
    let mut right = right.split(' ');
    let (version, options) = match right.next()? {
        "cgroup" => (Version::V1, right.nth(1)?),
        "cgroup2" => (Version::V2, ""),
        _ => return None,
    };
    let controllers = options
        .split(',')
        .filter(|o| is_controller(o))
        .map(str::to_owned)
        .collect();
    Some(Mount { version, point, controllers, base: None })
}

/// The super options of a v1 mount are its controllers and a few words more.
fn is_controller(option: &str) -> bool {
    const OTHERS: [&str; 8] = [
        "",
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    !OTHERS.contains(&option) && !option.starts_with("release_agent=")
}

/// What a v2 group can offer to groups below it.
fn available(dir: &Path) -> Vec<String> {
    let text = file::read(&dir.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The highest group on the way down to our own in which this user may make
/// groups and move processes.
///
/// Root finds the top of the tree at once: a container is then not below the
/// service that happened to start the engine, and does not die with it. An
/// ordinary user finds `user@1000.service`, which systemd hands over
/// (`cgroup-v2.rst`, "Delegation").
fn base(mount: &Mount, own: &str) -> Option<PathBuf> {
    let writable = AccessFlags::W_OK | AccessFlags::X_OK;
    let may = |dir: &Path| {
        access(dir, writable).is_ok()
            && access(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
    };
    let mut dir = mount.point.clone();
    if may(&dir) {
        return Some(dir);
    }
    // On v1 nothing can be handed over in a way that is safe for the host.
    if mount.version == Version::V1 {
        return None;
    }
    for part in own_path(own)?.split('/').filter(|part| !part.is_empty()) {
        dir.push(part);
        if may(&dir) {
            return Some(dir);
        }
    }
    None
}

/// Our own v2 group, from the line `0::/…` of `/proc/self/cgroup`.
fn own_path(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";
    const V2: &str = "\
24 19 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate
25 19 0:23 / /proc rw - proc proc rw
";

    #[test]
    fn a_v1_host_has_a_mount_per_set_of_controllers() {
        let mounts = parse_mountinfo(V1);
        assert_eq!(mode(&mounts), Some(Mode::V1));
        let of = |kind| {
            let mount = mounts.iter().find(|m| m.has(kind)).unwrap();
            mount.point.to_str().unwrap()
        };
        assert_eq!(of(Kind::Cpuacct), "/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(of(Kind::Memory), "/sys/fs/cgroup/memory");
        assert!(!mounts.iter().any(|m| m.has(Kind::Pids)));
    }

    #[test]
    fn a_v2_host_and_a_hybrid_one_are_told_apart() {
        assert_eq!(mode(&parse_mountinfo(V2)), Some(Mode::V2));
        let both = format!("{V1}{V2}");
        assert_eq!(mode(&parse_mountinfo(&both)), Some(Mode::Hybrid));
        assert_eq!(mode(&parse_mountinfo("")), None);
    }

    #[test]
    fn the_freezer_is_part_of_every_v2_group() {
        let mounts = parse_mountinfo(V2);
        assert!(mounts[0].has(Kind::Freezer));
        assert!(!mounts[0].has(Kind::Memory));
    }

    #[test]
    fn the_own_group_is_the_line_of_hierarchy_zero() {
        let own = "4:memory:/a\n0::/user.slice/user-1000.slice\n";
        assert_eq!(own_path(own), Some("/user.slice/user-1000.slice"));
    }
}
