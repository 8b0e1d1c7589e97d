//! From an errno in the child to a sentence that a person can act on.
//!
//! `EPERM` has a hundred causes, but few in one place: when setrlimit says
//! it, a hard limit was to be raised; when clone3 does, user namespaces are
//! switched off. The child sends where it was; here the plan is at hand to
//! say on what, and a table to say why that usually happens and what helps.

use rustix::io::Errno;

use crate::plan::Plan;
use crate::rights::limit_hint;
use crate::steps::{Id, STEPS};
use crate::wire::{Call, Fault};
use crate::{Error, Kind};

/// The error for a step that failed in the child.
pub(crate) fn fault(plan: &Plan, id: Id, fault: Fault) -> Error {
    if id == Id::Exec {
        return plan.command.error(fault);
    }
    if id == Id::WorkDir {
        let dir = plan.cwd_name.clone();
        match fault.errno {
            errno if plan.world.is_none() => return Error::WorkDir(dir, errno),
            Errno::NOTDIR => return Error::WorkDirIsFile(dir),
            _ => {}
        }
    }
    let object = object(plan, id, fault);
    let call = fault.call.words();
    let what = match object.is_empty() {
        true => call.to_owned(),
        false => format!("{call} ({object})"),
    };
    Error::Step {
        step: STEPS[id as usize].name,
        what,
        errno: fault.errno,
        hint: hint(plan, id, fault),
    }
}

/// What the call was made on: the step knows in which list its number
/// counts.
fn object(plan: &Plan, id: Id, fault: Fault) -> String {
    let item = usize::from(fault.item);
    let world = plan.world.as_ref();
    let named = match id {
        Id::Join => plan.joins.names.get(item).cloned(),
        Id::Sources | Id::Mounts | Id::CgroupView => world
            .and_then(|world| world.mounts.get(item))
            .map(|mount| mount.name.clone()),
        Id::Root => world.map(|world| world.root_name()),
        Id::Devices => world.map(|it| it.devices.name(item).to_owned()),
        Id::Sysctls => world
            .and_then(|world| world.sysctls.get(item))
            .map(|sysctl| sysctl.name.clone()),
        Id::Mask if fault.item == u16::MAX => Some("/".to_owned()),
        Id::Mask => world.map(|world| world.masks.name(item)),
        Id::WorkDir => Some(plan.cwd_name.clone()),
        Id::Rlimits => plan.rights.limit_names.get(item).map(|limit| {
            format!("{}={}:{}", limit.name, limit.soft, limit.hard)
        }),
        Id::User | Id::Identity => {
            let who = &plan.rights.who;
            Some(format!("uid {}, gid {}", who.uid, who.gid))
        }
        Id::Bounding | Id::Capabilities => {
            crate::capabilities::NAMES.get(item).map(|it| (*it).to_owned())
        }
        _ => None,
    };
    named.unwrap_or_default()
}

/// The likely cause and the way out. An empty hint is better than a guess.
fn hint(plan: &Plan, id: Id, fault: Fault) -> String {
    let item = usize::from(fault.item);
    match (id, plan.rights.limit_names.get(item)) {
        (Id::Rlimits, Some(limit)) => limit_hint(limit, fault.errno),
        (Id::Mounts | Id::Root | Id::Devices, _) => {
            let own_user_ns = plan.maps.is_some();
            file_hint(fault.call, fault.errno, own_user_ns).to_owned()
        }
        _ => other_hint(id, fault.call, fault.errno).to_owned(),
    }
}

/// For the steps that put files and mounts in place.
fn file_hint(call: Call, errno: Errno, own_user_ns: bool) -> &'static str {
    match (call, errno) {
        (Call::Attributes | Call::Clone, Errno::NOSYS) => {
            "; the engine needs Linux 5.12 or newer"
        }
        (Call::Open, Errno::LOOP) => {
            "; the image has a symbolic link where the kernel's own file \
             system goes, which could trick the engine: refused"
        }
        (_, Errno::NOTDIR | Errno::ISDIR) => {
            "; are you trying to mount a directory onto a file (or \
             vice-versa)? Check that the host path is what you think it is"
        }
        (Call::Configure, Errno::INVAL) => "; check the options of this mount",
        (Call::Mkdir | Call::Create, Errno::ACCESS) if own_user_ns => {
            "; the root file system must belong to the user that is root \
             inside the user namespace"
        }
        (_, Errno::PERM | Errno::ACCESS) => {
            "; mounting needs CAP_SYS_ADMIN and a host that does not forbid \
             it (AppArmor, an outer container)"
        }
        (Call::Mkdir | Call::Create, Errno::ROFS) => {
            "; the place to mount on has to be made, and the root file \
             system or volume there is read-only"
        }
        _ => "",
    }
}

/// For all other steps.
fn other_hint(id: Id, call: Call, errno: Errno) -> &'static str {
    match (id, call, errno) {
        (Id::Join, Call::SetNs, Errno::INVAL) => {
            "; the path is not a namespace of that kind"
        }
        (Id::User, Call::SetUid | Call::SetGid, Errno::INVAL) => {
            "; this ID has no number outside the user namespace: an \
             ordinary user needs newuidmap and a line in /etc/subuid"
        }
        (Id::User, Call::SetGroups, Errno::PERM) => {
            "; supplementary groups cannot be set in this user namespace"
        }
        (Id::Session, Call::Terminal, Errno::NOENT) => {
            "; a terminal needs a devpts at /dev/pts in the container"
        }
        (_, Call::Gate, _) => "; the engine went away",
        _ => "",
    }
}

/// clone3 itself was refused.
pub(crate) fn clone(plan: &Plan, errno: Errno) -> Error {
    let user = plan.joins.new & Kind::User.flag() != 0;
    let hint = match errno {
        Errno::PERM if user => {
            "; user namespaces are switched off here: see sysctl \
             kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns"
        }
        Errno::PERM => {
            "; new namespaces need CAP_SYS_ADMIN: run the engine as root, \
             or rootless with a user namespace"
        }
        Errno::NOSPC | Errno::USERS => {
            "; the limit on namespaces is reached: see \
             /proc/sys/user/max_*_namespaces"
        }
        Errno::AGAIN => {
            "; the limit on processes is reached: see ulimit -u and \
             the cgroup's pids.max"
        }
        Errno::INVAL => "; this kernel lacks one of the namespaces",
        Errno::OPNOTSUPP | Errno::BUSY => {
            "; the cgroup has controllers enabled for groups below it, so \
             it may not hold processes itself"
        }
        _ => "",
    };
    Error::Step {
        step: STEPS[Id::Clone as usize].name,
        what: "clone3".to_owned(),
        errno,
        hint: hint.to_owned(),
    }
}

/// A PID could not be written to a `cgroup.procs`.
pub(crate) fn cgroup(errno: Errno) -> Error {
    Error::Step {
        step: STEPS[Id::Cgroup as usize].name,
        what: "write the PID to cgroup.procs".to_owned(),
        errno,
        hint: match errno {
            Errno::NOSPC => "; a cpuset cgroup needs cpus and mems first",
            Errno::BUSY => "; on v2 only a cgroup without children may",
            _ => "",
        }
        .to_owned(),
    }
}

/// The socket between parent and child failed.
pub(crate) fn wire(errno: Errno) -> Error {
    Error::Step {
        step: STEPS[Id::Prepare as usize].name,
        what: "socketpair to the new process".to_owned(),
        errno,
        hint: String::new(),
    }
}
