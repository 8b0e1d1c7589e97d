//! Everything that has to be known before the clone.
//!
//! The rule "only system calls in the child" is kept by moving all the rest
//! here: looking up users, compiling the filter, cutting paths, building
//! argument lists, opening namespaces. Much of what can be wrong with a
//! request is found here, too, while there is nothing to clean up yet.
//!
//! The plan also stays with the parent, who needs it to put errors of the
//! child into words.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::command::Command;
use crate::idmap::{Maps, may_set_groups};
use crate::inroot::RootPath;
use crate::joins::Joins;
use crate::rights::Rights;
use crate::stdio::Stdio;
use crate::title::Title;
use crate::world::World;
use crate::{CgroupEntry, Error, Namespace, Process, Sandbox};

/// The prepared container or exec. The child works on its own copy, which
/// the clone made, and may change it without the parent noticing.
#[derive(Debug)]
pub(crate) struct Plan {
    /// None for an exec, whose world exists.
    pub(crate) world: Option<World>,
    pub(crate) joins: Joins,
    pub(crate) maps: Option<Maps>,
    pub(crate) rights: Rights,
    pub(crate) command: Command,
    pub(crate) cwd: RootPath,
    pub(crate) cwd_name: String,
    pub(crate) console: RootPath,
    pub(crate) init: bool,
    pub(crate) die_with_parent: bool,
    pub(crate) waits_for_maps: bool,
    pub(crate) waits_for_cgroup: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) title: Option<Title>,
    /// File descriptors that the child needs, sorted.
    pub(crate) keep: Vec<i32>,
}

impl Plan {
    /// For a new container.
    pub(crate) fn create(
        sandbox: &Sandbox,
        process: &Process,
    ) -> Result<Plan, Error> {
        let joins = Joins::prepare(&sandbox.namespaces)?;
        let own_user_ns = sandbox.namespaces.user == Namespace::New;
        let maps = own_user_ns.then(|| Maps::prepare(sandbox)).transpose()?;
        let mut plan = Plan::new(process, &sandbox.rootfs, joins, own_user_ns)?;
        plan.world = Some(World::prepare(sandbox)?);
        plan.rights.may_set_groups = match &maps {
            Some(maps) => maps.may_set_groups,
            None => may_set_groups("self"),
        };
        plan.waits_for_maps = maps.is_some();
        plan.maps = maps;
        plan.init = process.init;
        Ok(plan)
    }

    /// For a process beside `pid`.
    pub(crate) fn join(
        pid: i32,
        pidfd: OwnedFd,
        process: &Process,
    ) -> Result<Plan, Error> {
        let joins = Joins::of_process(pid, pidfd);
        let root = format!("/proc/{pid}/root");
        let enters_user = joins.enters_user;
        let mut plan =
            Plan::new(process, Path::new(&root), joins, enters_user)?;
        plan.rights.may_set_groups = may_set_groups(&pid.to_string());
        Ok(plan)
    }

    fn new(
        process: &Process,
        rootfs: &Path,
        joins: Joins,
        own_user_ns: bool,
    ) -> Result<Plan, Error> {
        let who = process.user.resolve(rootfs)?;
        Ok(Plan {
            world: None,
            maps: None,
            command: Command::prepare(process, &who.home)?,
            rights: Rights::prepare(process, who, own_user_ns)?,
            joins,
            cwd: RootPath::new(&process.cwd)?,
            cwd_name: process.cwd.display().to_string(),
            console: RootPath::new(Path::new("/dev/console"))?,
            init: false,
            die_with_parent: process.die_with_parent,
            waits_for_maps: false,
            waits_for_cgroup: false,
            oom_score_adj: process.oom_score_adj,
            title: Title::find(),
            keep: Vec::new(),
        })
    }

    /// Notes which file descriptors the child may keep. All others it
    /// closes: a list of what to close could never be complete in a program
    /// whose other threads open files at the same time.
    pub(crate) fn keep_open(
        &mut self,
        wire: BorrowedFd<'_>,
        stdio: Stdio<'_>,
        cgroup: CgroupEntry<'_>,
    ) {
        let mut keep = vec![wire.as_raw_fd()];
        if let Stdio::Streams { stdin, stdout, stderr } = stdio {
            keep.extend([stdin, stdout, stderr].map(|fd| fd.as_raw_fd()));
        }
        keep.extend(cgroup.into.map(|fd| fd.as_raw_fd()));
        keep.extend(self.joins.fds());
        keep.sort_unstable();
        self.keep = keep;
    }
}
