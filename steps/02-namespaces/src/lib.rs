//! # Step 2: a process in its own world
//!
//! A container is not a thing that the kernel knows. It knows processes,
//! and for each of them a handful of **namespaces**: which other processes
//! it can see, which mounts, which network, which host name. A container is
//! a process for which all of these are new.
//!
//! ```text
//!  parent                             child (PID 1 in its namespace)
//!  prepare: users, paths, filter
//!  clone3 ──────────────────────────▶ wait for the ID maps
//!  write ID maps, cgroup, OOM score   build the mounts, pivot_root
//!         ◀──────────── ready ─────── limits, seccomp, user, capabilities
//!  start  ───────────── go ─────────▶ execve: now it is the command
//! ```
//!
//! [`create`] below is that picture as code. The child's half is the two
//! tables `BUILD_WORLD` and `TAKE_RIGHTS`, whose functions live in
//! `world.rs` and `rights.rs`. [`join`] is `docker exec`: the same process,
//! but into namespaces that exist.
//!
//! Needs Linux 5.12 (mount_setattr). Man pages: namespaces(7), clone(2),
//! pivot_root(2), setns(2), mount_namespaces(7), pid_namespaces(7).
#![deny(missing_docs)]

pub mod capabilities;
mod cgroupfs;
mod child;
mod clone;
mod command;
mod created;
pub mod defaults;
mod devices;
mod error;
mod explain;
mod idmap;
mod init;
mod inroot;
mod joins;
mod mask;
mod mountfd;
mod mounts;
mod plan;
mod process;
mod rights;
mod sandbox;
pub mod seccomp;
mod stdio;
mod steps;
mod sysctl;
mod title;
mod user;
mod wire;
mod world;

use std::os::fd::OwnedFd;

use child::{Child, StepFn};
use clone::{Side, SignalsBlocked, clone3};
use plan::Plan;
use steps::Id;
use wire::{Clock, Wire};

pub use capabilities::CapSet;
pub use created::{Created, Exit};
pub use error::Error;
pub use idmap::{UserMaps, in_first_user_namespace, may_own_for_others};
pub use mountfd::read_only_view;
pub use process::{CgroupEntry, Process, Rlimit, User, WindowSize};
pub use sandbox::{
    Device, IdMap, Kind, Mount, MountOptions, Namespace, Namespaces,
    Propagation, Sandbox, Source,
};
pub use stdio::Stdio;
pub use steps::{STEPS, Step, Timing};
pub use user::Credentials;

// ANCHOR: world
/// What the child does to the world that only it can see.
const BUILD_WORLD: &[(Id, StepFn)] = &[
    (Id::Join, child::join),
    (Id::Identity, child::identity),
    (Id::Sources, child::sources),
    (Id::Root, child::place_root),
    (Id::Mounts, child::mounts),
    (Id::Devices, child::devices),
    (Id::CgroupView, child::cgroup_view),
    (Id::Pivot, child::pivot),
    (Id::Names, child::names),
    (Id::Sysctls, child::sysctls),
    (Id::Mask, child::mask),
];
// ANCHOR_END: world

/// What is left to do when the world exists.
const JOIN_WORLD: &[(Id, StepFn)] =
    &[(Id::Identity, child::identity), (Id::CgroupView, child::cgroup_view)];

/// What the child does to itself, in any world.
const TAKE_RIGHTS: &[(Id, StepFn)] = &[
    (Id::Session, child::session),
    (Id::WorkDir, child::work_dir),
    (Id::Rlimits, child::rlimits),
    (Id::Bounding, child::bounding),
    (Id::FilterEarly, child::filter_early),
    (Id::User, child::user),
    (Id::Capabilities, child::capabilities),
    (Id::FilterLate, child::filter_late),
];

/// Makes a container whose first process stands ready at a gate, one step
/// before the command. [`Created::start`] opens the gate.
///
/// # Errors
/// [`Error::Step`] names the step of [`STEPS`] that failed and on what;
/// nothing is left of the container then.
pub fn create(
    sandbox: &Sandbox,
    process: &Process,
    stdio: Stdio<'_>,
    cgroup: CgroupEntry<'_>,
) -> Result<Created, Error> {
    let clock = Clock::start();
    let plan = Plan::create(sandbox, process)?;
    launch(plan, clock, stdio, cgroup)
}

/// Makes a process beside `pid`, in all its namespaces; as [`create`] it
/// stands at the gate. The sandbox is the one that `pid` has.
///
/// # Errors
/// As [`create`]; ESRCH if there is no such process any more.
pub fn join(
    pid: i32,
    process: &Process,
    stdio: Stdio<'_>,
    cgroup: CgroupEntry<'_>,
) -> Result<Created, Error> {
    let clock = Clock::start();
    let pidfd = created::open_pidfd(pid)?;
    let plan = Plan::join(pid, pidfd, process)?;
    launch(plan, clock, stdio, cgroup)
}

/// The parent's half: the child is made, and while it builds its world it
/// is given what only somebody outside can give, its IDs and its limits.
fn launch(
    mut plan: Plan,
    mut clock: Clock,
    stdio: Stdio<'_>,
    cgroup: CgroupEntry<'_>,
) -> Result<Created, Error> {
    let (ours, theirs) = Wire::pair().map_err(explain::wire)?;
    let attach = cgroup.files_to_write();
    plan.waits_for_cgroup = !attach.is_empty();
    plan.keep_open(theirs.fd(), stdio, cgroup);
    clock.mark(Id::Prepare);

    let (pid, pidfd) = split(&mut plan, &clock, theirs, stdio, cgroup)?;
    clock.mark(Id::Clone);

    let mut created = Created::new(pid, pidfd, ours, plan, clock);
    created.step_off_stone()?;
    created.give_identity()?;
    created.give_limits(&attach)?;
    created.wait_until_ready()?;
    Ok(created)
}

// ANCHOR: clone
/// Where one process becomes two. `plan.joins.new` is a flag for each
/// namespace that shall be new: `CLONE_NEWPID | CLONE_NEWNS | …`. Like
/// fork(2), clone3(2) returns in both processes; the child goes into
/// [`live`] and never comes back.
fn split(
    plan: &mut Plan,
    clock: &Clock,
    theirs: Wire,
    stdio: Stdio<'_>,
    cgroup: CgroupEntry<'_>,
) -> Result<(i32, OwnedFd), Error> {
    let _quiet = SignalsBlocked::new();
    // To be born in the PID namespace of another container, a process needs
    // a parent that has entered it. That is a second child, which makes the
    // real one as its sibling and is gone: the stepping stone.
    let flags = if plan.joins.by_stone { 0 } else { plan.joins.new };
    // SAFETY: on the child's side `live` only makes system calls.
    match unsafe { clone3(flags, cgroup.into, false) } {
        Ok(Side::Child) => live(Child::new(plan, theirs, clock, stdio)),
        Ok(Side::Parent(pid, pidfd)) => Ok((pid, pidfd)),
        Err(errno) => Err(explain::clone(plan, errno)),
    }
}

/// The child's half: from here to the end of the process.
fn live(mut child: Child<'_>) -> ! {
    if child.plan.joins.by_stone {
        child = child.stepping_stone();
    }
    if child.plan.world.is_some() {
        child.take(BUILD_WORLD);
    } else {
        child.take(JOIN_WORLD);
    }
    child.take(TAKE_RIGHTS);
    child.become_command()
}
// ANCHOR_END: clone
