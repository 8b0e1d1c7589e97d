//! # Step 3: limits the kernel keeps
//!
//! Namespaces (step 2) decide what a process can *see*. They do not decide
//! how much it may *take*: a container with its own PID 1 can still eat all
//! the memory of the machine. A **cgroup** (control group) closes that gap.
//!
//! A cgroup is a directory. The kernel shows its groups as a file system,
//! mostly at `/sys/fs/cgroup`, and everything is done with files:
//!
//! | to…                        | do…                                       |
//! |----------------------------|-------------------------------------------|
//! | make a group               | `mkdir /sys/fs/cgroup/skiff/web`          |
//! | limit it to 100 MiB        | write `104857600` to its `memory.max`     |
//! | put a process in           | write its PID to its `cgroup.procs`       |
//! | ask what it used           | read its `memory.current`                 |
//! | take the group away        | `rmdir` (only when nobody is in it)       |
//!
//! Children are born into the group of their parent and only root can move
//! them out, so a limit on a container's first process is a limit on all
//! that it ever starts.
//!
//! [`Cgroup`] below is that table as Rust. What a "controller" (memory, cpu,
//! pids…) makes of its limit is one small file each in [`controllers`], with
//! the two dialects that exist side by side: **v2**, one tree for everything
//! (every current distribution), and **v1**, a tree per controller (older
//! hosts). [`Hierarchy`] finds out which of them this machine speaks.
//!
//! Man page: cgroups(7). Kernel: `Documentation/admin-guide/cgroup-v2.rst`
//! and `cgroup-v1/`.
#![deny(missing_docs)]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod args;
pub mod controllers;
mod device_rules;
mod entry;
mod error;
mod file;
mod hierarchy;
mod kill;
mod limits;
mod oom;
mod stats;
mod tree;
mod validate;
mod verbs;

pub use args::{LimitArgs, parse_bytes};
pub use controllers::Kind;
pub use device_rules::{DeviceRule, DeviceType, default_devices};
pub use entry::Entry;
pub use error::Error;
pub use hierarchy::{Hierarchy, Mode, Mount, Version};
pub use limits::{DeviceRate, DeviceWeight, HugetlbLimit, Limits};
pub use oom::OomWatch;
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};
pub use verbs::{LimitVerbs, describe, group_name};

/// The group that holds those of all containers; it goes with the last one,
/// as does any other whose name begins like this.
pub const PARENT: &str = "skiff";

/// One group of processes, with limits and counters of its own.
///
/// On v2 this is one directory. On v1 it is one directory of the same name
/// in every hierarchy, and a process has to be put into each.
///
/// Dropping the value changes nothing in the kernel: a group lives until
/// [`Cgroup::remove`], so that it can outlive the process that made it.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: String,
    groups: Vec<Group>,
}

/// The directory of a group in one mounted hierarchy.
#[derive(Debug, Clone)]
struct Group {
    mount: Mount,
    dir: PathBuf,
}

impl Cgroup {
    // ANCHOR: create
    /// Makes the group `path` (as in `skiff/web`) and sets its limits.
    ///
    /// `path` is taken from where the engine may make groups, see
    /// [`Mount::base`]. A limit that this machine cannot keep is an error
    /// and never dropped in silence; without any limit, a hierarchy that may
    /// not be written (an ordinary user on v1) is left out.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is such a group already, otherwise the
    /// error names the file, the value and the way out. Nothing is left
    /// behind then.
    pub fn create(
        hierarchy: &Hierarchy,
        path: &str,
        limits: &Limits,
    ) -> Result<Self, Error> {
        limits.validate()?;
        let limits = limits.with_swap_default();
        hierarchy.must_have(&limits)?;
        let mut group = Self { path: tree::clean(path)?, groups: Vec::new() };
        let made = tree::make(hierarchy, &mut group, &limits)
            .and_then(|()| group.apply(&limits));
        if let Err(error) = made {
            // The first error tells the story; the way back is best effort.
            // Somebody else's group of that name is not ours to remove.
            if !matches!(error, Error::Exists { .. }) {
                let _ = group.remove();
            }
            return Err(error);
        }
        Ok(group)
    }
    // ANCHOR_END: create

    /// The group `path` that somebody made before, perhaps a daemon that is
    /// no more. Hierarchies where it does not exist are left out; a group
    /// that exists nowhere is a value whose counters are all zero.
    ///
    /// # Errors
    /// [`Error::Path`] if `path` would leave the tree.
    pub fn open(hierarchy: &Hierarchy, path: &str) -> Result<Self, Error> {
        let path = tree::clean(path)?;
        let groups = hierarchy
            .mounts()
            .iter()
            .filter_map(|mount| {
                let dir = mount.base.as_ref()?.join(&path);
                dir.is_dir().then(|| Group { mount: mount.clone(), dir })
            })
            .collect();
        Ok(Self { path, groups })
    }

    /// The name that it was created under, as in `skiff/web`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directories, for people who want to look: one on v2, one per
    /// hierarchy on v1.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().map(|group| group.dir.as_path())
    }

    /// Moves a running process (with all its threads) into the group.
    ///
    /// What it allocated before stays charged to the group it came from, so
    /// a container's process should be in before it does anything: see
    /// [`Cgroup::entry`].
    ///
    /// # Errors
    /// [`Error::Attach`] says which file refused the PID and why.
    pub fn add(&self, pid: u32) -> Result<(), Error> {
        self.groups.iter().try_for_each(|group| file::attach(&group.dir, pid))
    }

    /// Open files by which a child can be in the group before it runs.
    ///
    /// # Errors
    /// [`Error::Read`] if a directory or file cannot be opened.
    pub fn entry(&self) -> Result<Entry, Error> {
        Entry::open(&self.groups)
    }

    /// The directory to give to clone3(2) as `CLONE_INTO_CGROUP` (v2 only):
    /// the child is then *born* in the group. That is cheaper than moving
    /// it, and there is no instant at which it runs without limits.
    ///
    /// # Errors
    /// [`Error::Read`] if the directory cannot be opened.
    pub fn clone_into_fd(&self) -> Result<Option<OwnedFd>, Error> {
        Ok(self.entry()?.clone_into)
    }

    /// The `cgroup.procs` files, open for writing: whoever writes `0` to one
    /// moves itself. They still work after the writer entered a cgroup
    /// namespace or a mount namespace that has no `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// [`Error::Read`] if one of them cannot be opened.
    pub fn procs_files(&self) -> Result<Vec<OwnedFd>, Error> {
        Ok(self.entry()?.procs)
    }

    /// Changes the limits of a group with processes in it. Only what is set
    /// in `limits` is written.
    ///
    /// # Errors
    /// As [`Cgroup::create`]. Limits already written stay.
    pub fn update(&self, limits: &Limits) -> Result<(), Error> {
        limits.validate()?;
        self.apply(limits)
    }

    /// What the group has used until now.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Parse`]; a file that this kernel does not
    /// have is not an error, its number is absent or zero.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        for controller in controllers::ALL {
            if let Some(dir) = self.dir(controller.kind) {
                (controller.stats)(dir, &mut stats)?;
            }
        }
        Ok(stats)
    }

    /// Every PID in the group and in the groups below it, as seen from the
    /// caller's PID namespace.
    ///
    /// # Errors
    /// [`Error::Read`]; a group that is gone has no processes.
    pub fn procs(&self) -> Result<Vec<u32>, Error> {
        match self.groups.first() {
            Some(group) => tree::procs(&group.dir),
            None => Ok(Vec::new()),
        }
    }

    /// Takes the group away, and groups below it that the container made.
    /// Doing it twice is no error.
    ///
    /// # Errors
    /// [`Error::Remove`] if processes are still in it: [`Cgroup::kill`]
    /// first.
    pub fn remove(&self) -> Result<(), Error> {
        // All the hierarchies are tried, so that one failure does not leave
        // the other eight directories behind.
        let deadline = Instant::now() + Duration::from_secs(1);
        let results: Vec<_> =
            self.groups.iter().map(|g| tree::remove(g, deadline)).collect();
        results.into_iter().collect()
    }

    /// Where this group's files of that controller are, if it has any.
    fn dir(&self, kind: Kind) -> Option<controllers::Dir<'_>> {
        let group = self.groups.iter().find(|g| g.mount.has(kind))?;
        Some(controllers::Dir::new(group.mount.version, &group.dir))
    }

    /// Lets each controller write what it finds in `limits`.
    fn apply(&self, limits: &Limits) -> Result<(), Error> {
        for controller in controllers::ALL {
            if let Some(dir) = self.dir(controller.kind) {
                (controller.apply)(dir, limits)?;
            } else if let Some(flag) = (controller.asked)(limits) {
                return Err(Error::no_controller(controller.kind, flag));
            }
        }
        Ok(())
    }
}
