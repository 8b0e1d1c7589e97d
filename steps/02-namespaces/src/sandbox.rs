//! What the process will see: its namespaces, its root, its mounts.
//!
//! Everything here is plain data that can be written to a JSON file, so
//! that one program decides what a container is and another one makes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::defaults;

/// The world of a container, seen from outside before it exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Which namespaces are new, the host's, or somebody else's.
    pub namespaces: Namespaces,
    /// The directory on the host that becomes `/`.
    pub rootfs: PathBuf,
    /// `--read-only`: the root itself cannot be written, mounts may.
    pub readonly_rootfs: bool,
    /// File systems to mount, in this order, before the root is switched.
    pub mounts: Vec<Mount>,
    /// Device nodes that `/dev` gets; the host's nodes stay out of reach.
    pub devices: Vec<Device>,
    /// Name of the machine as `hostname` prints it; none keeps the host's.
    pub hostname: Option<String>,
    /// NIS domain, as `domainname` prints it.
    pub domainname: Option<String>,
    /// Paths that are covered so that nobody inside can read them.
    pub masked_paths: Vec<PathBuf>,
    /// Paths that are remounted read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// Kernel settings below `/proc/sys`, with dots for slashes.
    pub sysctls: BTreeMap<String, String>,
    /// User IDs inside → outside; empty unless `namespaces.user` is new.
    pub uid_map: Vec<IdMap>,
    /// Group IDs inside → outside.
    pub gid_map: Vec<IdMap>,
}

impl Sandbox {
    /// A sandbox over `rootfs` with what Docker gives every container: six
    /// new namespaces, `/proc`, `/sys`, `/dev`, the masked paths.
    pub fn new(rootfs: impl Into<PathBuf>) -> Sandbox {
        Sandbox {
            namespaces: Namespaces::default(),
            rootfs: rootfs.into(),
            readonly_rootfs: false,
            mounts: defaults::mounts(),
            devices: defaults::devices(),
            hostname: None,
            domainname: None,
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            sysctls: BTreeMap::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
        }
    }

    /// Adds a mount. One at the same place is replaced, as `--tmpfs
    /// /dev/shm` replaces Docker's own. It comes before everything that is
    /// to be mounted below it, and would be covered by it: `-v a:/x/y -v
    /// b:/x` must mean the same as the other way round.
    pub fn mount(&mut self, mount: Mount) {
        self.mounts.retain(|old| old.target != mount.target);
        let below =
            self.mounts.iter().position(|it| it.is_below(&mount.target));
        self.mounts.insert(below.unwrap_or(self.mounts.len()), mount);
    }

    /// `--privileged`: nothing masked, nothing read-only, `/sys` writable.
    pub fn unmask(&mut self) {
        self.masked_paths.clear();
        self.readonly_paths.clear();
        for mount in &mut self.mounts {
            if matches!(mount.source, Source::Sysfs | Source::Cgroup) {
                mount.options.read_only = false;
            }
        }
    }
}

/// Where one namespace of the container comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// A fresh one.
    #[default]
    New,
    /// The one the caller is in (`--network host`).
    Host,
    /// An existing one, by a path like `/proc/1234/ns/net`.
    Join(PathBuf),
}

/// The choice for each of the eight kinds that Linux has (namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Process IDs: new means that the process is PID 1.
    pub pid: Namespace,
    /// Mounts. A container always needs its own.
    pub mnt: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// Interfaces, routes, sockets, firewall rules.
    pub net: Namespace,
    /// Which cgroup looks like the root of the tree.
    pub cgroup: Namespace,
    /// User and group IDs, and with them all capabilities.
    pub user: Namespace,
    /// Boot and monotonic clocks (`CLOCK_BOOTTIME`, `CLOCK_MONOTONIC`).
    pub time: Namespace,
}

impl Default for Namespaces {
    /// What Docker makes: all but user and time are new.
    fn default() -> Self {
        Namespaces {
            pid: Namespace::New,
            mnt: Namespace::New,
            uts: Namespace::New,
            ipc: Namespace::New,
            net: Namespace::New,
            cgroup: Namespace::New,
            user: Namespace::Host,
            time: Namespace::Host,
        }
    }
}

impl Namespaces {
    /// Every kind with its choice, in the order in which they are joined:
    /// the user namespace first, since it grants the right to the others.
    pub fn all(&self) -> [(Kind, &Namespace); 8] {
        [
            (Kind::User, &self.user),
            (Kind::Cgroup, &self.cgroup),
            (Kind::Ipc, &self.ipc),
            (Kind::Uts, &self.uts),
            (Kind::Net, &self.net),
            (Kind::Pid, &self.pid),
            (Kind::Time, &self.time),
            (Kind::Mnt, &self.mnt),
        ]
    }
}

/// The kinds of namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "Namespaces documents each by name")]
pub enum Kind {
    User,
    Cgroup,
    Ipc,
    Uts,
    Net,
    Pid,
    Time,
    Mnt,
}

impl Kind {
    /// The file name below `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Cgroup => "cgroup",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Net => "net",
            Kind::Pid => "pid",
            Kind::Time => "time",
            Kind::Mnt => "mnt",
        }
    }

    /// The kernel's flag for clone3(2), unshare(2) and setns(2).
    pub fn flag(self) -> u64 {
        let flag = match self {
            Kind::User => libc::CLONE_NEWUSER,
            Kind::Cgroup => libc::CLONE_NEWCGROUP,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::Uts => libc::CLONE_NEWUTS,
            Kind::Net => libc::CLONE_NEWNET,
            Kind::Pid => libc::CLONE_NEWPID,
            Kind::Time => 0x80, // CLONE_NEWTIME, missing in libc
            Kind::Mnt => libc::CLONE_NEWNS,
        };
        u64::from(flag.cast_unsigned())
    }
}

/// One line of `/proc/PID/uid_map` (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First ID inside the container.
    pub inside: u32,
    /// First ID on the host.
    pub outside: u32,
    /// How many IDs follow each other.
    pub count: u32,
}

/// One file system at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the container; missing parts are made.
    pub target: PathBuf,
    /// What appears there.
    pub source: Source,
    /// How it may be used.
    pub options: MountOptions,
}

impl Mount {
    /// `source` at `target`, writable and without restrictions.
    pub fn new(target: impl Into<PathBuf>, source: Source) -> Mount {
        Mount {
            target: target.into(),
            source,
            options: MountOptions::default(),
        }
    }

    /// A file or directory of the host, with all that is mounted below it.
    pub fn bind(
        source: impl Into<PathBuf>,
        target: impl Into<PathBuf>,
    ) -> Mount {
        let path = source.into();
        Mount::new(target, Source::Bind { path, recursive: true })
    }

    fn is_below(&self, target: &Path) -> bool {
        self.target.starts_with(target)
    }

    /// The same mount, read-only.
    pub fn read_only(mut self) -> Mount {
        self.options.read_only = true;
        self
    }
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A file or directory of the host (`-v /host:/container`).
    Bind {
        /// Where it is on the host.
        path: PathBuf,
        /// Whether mounts below it come along.
        recursive: bool,
    },
    /// Memory (`--tmpfs`), with options as in tmpfs(5): `size=64m`.
    Tmpfs {
        /// `key` or `key=value`.
        options: Vec<String>,
    },
    /// The processes of the new PID namespace.
    Proc,
    /// The kernel's objects, with the interfaces of the new net namespace.
    Sysfs,
    /// A private set of pseudo terminals.
    Devpts,
    /// POSIX message queues of the new IPC namespace.
    Mqueue,
    /// The cgroup tree from the container's own cgroup down.
    Cgroup,
}

/// Restrictions on a mount; see mount(8) for each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "these are mount(8)'s own words")]
pub struct MountOptions {
    pub read_only: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
    pub propagation: Propagation,
}

/// Whether later mounts below this one travel (mount_namespaces(7)).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Neither in nor out: Docker's `rprivate`.
    #[default]
    Private,
    /// What the host mounts appears inside: `rslave`.
    Slave,
    /// Both ways: `rshared`.
    Shared,
}

/// A device node in `/dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path inside the container.
    pub path: PathBuf,
    /// The host's node. In a user namespace nobody may make nodes, so the
    /// host's is bound to `path` there.
    pub host: PathBuf,
    /// A block device, else a character device.
    pub block: bool,
    /// Which driver (`ls -l` shows it before the comma).
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
    /// Permission bits, e.g. 0o666.
    pub mode: u32,
    /// Owner inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tmpfs(target: &str) -> Mount {
        Mount::new(target, Source::Tmpfs { options: Vec::new() })
    }

    /// Paths of a few short names, so that many are below each other.
    fn path() -> impl Strategy<Value = String> {
        let name = prop_oneof![Just("dev"), Just("shm"), Just("a"), Just("b")];
        proptest::collection::vec(name, 1..4)
            .prop_map(|names| format!("/{}", names.join("/")))
    }

    proptest! {
        #[test]
        fn a_parent_is_mounted_before_what_is_below_it(
            paths in proptest::collection::vec(path(), 0..12),
        ) {
            let mut sandbox = Sandbox::new("/");
            for path in &paths {
                sandbox.mount(tmpfs(path));
            }
            let all = &sandbox.mounts;
            for (at, mount) in all.iter().enumerate() {
                for later in &all[at + 1..] {
                    prop_assert!(
                        !mount.target.starts_with(&later.target),
                        "{:?} before {:?}", mount.target, later.target,
                    );
                }
            }
            for path in &paths {
                let wanted = Path::new(path);
                prop_assert!(all.iter().any(|it| it.target == wanted));
            }
        }
    }

    #[test]
    fn a_mount_at_the_same_place_replaces_the_default() {
        let mut sandbox = Sandbox::new("/");
        let count = sandbox.mounts.len();
        sandbox.mount(tmpfs("/dev/shm").read_only());
        assert_eq!(sandbox.mounts.len(), count);
        let shm = Path::new("/dev/shm");
        let mut found = sandbox.mounts.iter().filter(|it| it.target == shm);
        assert!(found.next().unwrap().options.read_only);
    }

    #[test]
    fn a_sandbox_survives_the_way_to_another_program() {
        let mut sandbox = Sandbox::new("/root");
        sandbox.mount(Mount::bind("/data", "/data"));
        let text = serde_json::to_string(&sandbox).unwrap();
        let back: Sandbox = serde_json::from_str(&text).unwrap();
        assert_eq!(back, sandbox);
    }
}
