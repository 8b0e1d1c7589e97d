//! The namespaces of an ordinary user's engine: made, entered, looked at.

use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::readlink;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{
    ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces,
    unshare_unsafe,
};

use super::outside::Outside;
use crate::network;

/// A new user namespace, in which this process is nobody until its maps are
/// written.
pub(super) fn own_users() -> anyhow::Result<()> {
    match unshare(UnshareFlags::NEWUSER) {
        Ok(()) => Ok(()),
        Err(errno) => bail!(
            "cannot make a user namespace: {errno}{}; or run the engine as \
             root",
            forbidden(errno)
        ),
    }
}

/// Who forbids it, and the switch. There are half a dozen, and the kernel
/// says EPERM for most of them.
fn forbidden(errno: Errno) -> String {
    let read = |name: &str| {
        let path = Path::new("/proc/sys").join(name);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    };
    if read("user/max_user_namespaces") == "0" {
        return "; this host allows none: as root, sysctl \
                user.max_user_namespaces=15000"
            .to_owned();
    }
    if read("kernel/unprivileged_userns_clone") == "0" {
        return "; this host keeps them from ordinary users: as root, sysctl \
                kernel.unprivileged_userns_clone=1"
            .to_owned();
    }
    if read("kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return "; AppArmor keeps them from programs without a profile: as \
                root, sysctl kernel.apparmor_restrict_unprivileged_userns=0, \
                or a profile for this program with the rule userns"
            .to_owned();
    }
    match errno {
        Errno::PERM => "; an outer container or a security module forbids \
                        it (seccomp, SELinux)"
            .to_owned(),
        Errno::NOSPC | Errno::USERS => {
            "; the limit is in /proc/sys/user/max_user_namespaces".to_owned()
        }
        _ => String::new(),
    }
}

/// Mounts and a network of our own; one thread stays in the host's.
pub(super) fn own_world() -> anyhow::Result<Outside> {
    unshare(UnshareFlags::NEWNS).context("cannot make a mount namespace")?;
    let outside = Outside::start().context("cannot start a thread")?;
    unshare(UnshareFlags::NEWNET).context("cannot make a network namespace")?;
    network::loopback_up()?;
    Ok(outside)
}

/// The namespaces that a keeper before us made, by way of `pid`, a process
/// that still lives in them.
pub(super) fn adopt(pid: i32) -> anyhow::Result<Outside> {
    let shared = ThreadNameSpaceType::USER | ThreadNameSpaceType::MOUNT;
    enter(pid, shared)?;
    let outside = Outside::start().context("cannot start a thread")?;
    enter(pid, ThreadNameSpaceType::NETWORK)?;
    Ok(outside)
}

/// The daemon moves in with its keeper.
pub(super) fn join(keeper: i32) -> anyhow::Result<()> {
    enter(
        keeper,
        ThreadNameSpaceType::USER
            | ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::NETWORK,
    )
}

fn enter(pid: i32, kinds: ThreadNameSpaceType) -> anyhow::Result<()> {
    let enter = || {
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        move_into_thread_name_spaces(std::os::fd::AsFd::as_fd(&process), kinds)
    };
    enter().with_context(|| {
        format!("cannot enter the namespaces of process {pid}")
    })
}

fn unshare(what: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the descriptors stay shared (no CLONE_FILES), and the caller
    // is the main thread before it has handed anything to another one.
    unsafe { unshare_unsafe(what) }
}

/// Whether another process than we and `uplink` lives in our user
/// namespace: a shim, a container, a daemon.
pub(super) fn somebody_lives_here(uplink: Option<i32>) -> bool {
    let own = std::process::id().cast_signed();
    let Ok(home) = readlink("/proc/self/ns/user", Vec::new()) else {
        return true;
    };
    let Ok(all) = std::fs::read_dir("/proc") else { return true };
    all.flatten()
        .filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid != own && Some(pid) != uplink)
        .filter_map(|pid| {
            readlink(format!("/proc/{pid}/ns/user"), Vec::new()).ok()
        })
        .any(|lives| lives == home)
}
