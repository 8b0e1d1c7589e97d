//! Getting a child into its group before it runs.
//!
//! Three ways, best first: it is *born* there (`CLONE_INTO_CGROUP`, v2 and
//! Linux 5.7); it moves itself before it does anything else; its parent
//! moves it while it waits. All must be over before the child makes its own
//! cgroup namespace: that namespace takes the group it is in at that moment
//! as its root, see cgroup_namespaces(7).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use namespaces::CgroupEntry;

use crate::hierarchy::Version;
use crate::{Error, Group};

/// Open files for the way in. They can be passed to another process.
#[derive(Debug, Default)]
pub struct Entry {
    /// The v2 directory for clone3(2), if the machine has one.
    pub clone_into: Option<OwnedFd>,
    /// `cgroup.procs` of the group in each hierarchy, open for writing. On
    /// pure v2 this is the fallback for a kernel without
    /// `CLONE_INTO_CGROUP`.
    pub procs: Vec<OwnedFd>,
}

/// What step 2 takes: on v2 the process is born in the group, on v1 it is
/// put in while it waits.
impl<'fd> From<&'fd Entry> for CgroupEntry<'fd> {
    fn from(entry: &'fd Entry) -> CgroupEntry<'fd> {
        CgroupEntry {
            into: entry.clone_into.as_ref().map(AsFd::as_fd),
            procs: &entry.procs,
        }
    }
}

impl Entry {
    pub(crate) fn open(groups: &[Group]) -> Result<Self, Error> {
        let mut entry = Self::default();
        for group in groups {
            if group.mount.version == Version::V2 {
                let dir = File::open(&group.dir)
                    .map_err(|error| Error::read(&group.dir, &error))?;
                entry.clone_into = Some(dir.into());
            }
            let path = group.dir.join("cgroup.procs");
            let procs = File::options()
                .write(true)
                .open(&path)
                .map_err(|error| Error::read(&path, &error))?;
            entry.procs.push(procs.into());
        }
        Ok(entry)
    }
}
