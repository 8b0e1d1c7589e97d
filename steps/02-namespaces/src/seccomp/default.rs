//! Docker's default profile, told by what it refuses.
//!
//! Docker's file lists some 360 calls that are allowed. Turned round it is
//! short enough to read: of all calls that this machine knows, these are
//! refused, unless the container was given the capability that they need.
//! What is newer than this table is answered as an old kernel would, ENOSYS,
//! so that programs take their fallback.

use std::collections::HashSet;

use super::abi::Abi;
use super::profile::{Comparison, Condition};
use super::{Table, Verdict};
use crate::capabilities::CapSet;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
pub(super) const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Refused to everybody: obsolete, or never needed in a container.
const NEVER: &[&str] = &[
    // Reach into memory placement of the whole machine.
    "move_pages",
    "migrate_pages",
    // The kernel's key ring is not namespaced.
    "add_key",
    "keyctl",
    "request_key",
    // A new way to every call, past this filter (io_uring's operations are
    // not system calls); a source of kernel escapes since 2020.
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    // Page faults handled by the process: a lever for races in the kernel.
    "userfaultfd",
    // Swap, other kernels, file handles: the host's business.
    "swapon",
    "swapoff",
    "kexec_load",
    "kexec_file_load",
    "nfsservctl",
    "pivot_root",
    // Interfaces that only old programs use.
    "_sysctl",
    "afs_syscall",
    "getpmsg",
    "putpmsg",
    "security",
    "sysfs",
    "tuxcall",
    "uselib",
    "ustat",
    "vserver",
    "epoll_ctl_old",
    "epoll_wait_old",
];

/// Refused unless the container holds one of the capabilities.
const UNLESS: &[(&[&str], &[&str])] = &[
    (&["DAC_READ_SEARCH"], &["open_by_handle_at"]),
    (
        &["SYS_ADMIN"],
        &[
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (&["SYS_ADMIN", "BPF"], &["bpf"]),
    (&["SYS_ADMIN", "PERFMON"], &["perf_event_open"]),
    (&["SYS_ADMIN", "SYSLOG"], &["syslog"]),
    (&["SYS_BOOT"], &["reboot"]),
    (&["SYS_CHROOT"], &["chroot"]),
    (&["SYS_MODULE"], &["delete_module", "init_module", "finit_module"]),
    (&["SYS_PACCT"], &["acct"]),
    (&["SYS_PTRACE"], &["kcmp", "pidfd_getfd", "process_madvise"]),
    (&["SYS_RAWIO"], &["iopl", "ioperm"]),
    (
        &["SYS_TIME"],
        &[
            "clock_adjtime",
            "clock_adjtime64",
            "clock_settime",
            "clock_settime64",
            "settimeofday",
            "stime",
        ],
    ),
    (&["SYS_TTY_CONFIG"], &["vhangup"]),
    (
        &["SYS_NICE"],
        &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"],
    ),
];

/// The verdict for every call that this table has. It depends on the
/// capabilities because the two are doors in a row: with `--cap-add
/// SYS_ADMIN` the kernel would let a process mount, so this has to let the
/// call through, too.
pub(super) fn table(abi: &Abi, caps: CapSet) -> Table {
    let refused = refused(caps);
    let admin = holds(caps, "SYS_ADMIN");
    let calls = abi
        .calls()
        .map(|(name, number)| (number, verdict(name, &refused, admin)));
    let (arch, shut_from) = (abi.arch, abi.shut_from);
    Table { arch, calls: calls.collect(), shut_from }
}

/// The names of both lists, without those that a capability opens.
fn refused(caps: CapSet) -> HashSet<&'static str> {
    let shut = UNLESS
        .iter()
        .filter(|(needed, _)| !needed.iter().any(|cap| holds(caps, cap)))
        .flat_map(|(_, calls)| *calls);
    NEVER.iter().chain(shut).copied().collect()
}

fn holds(caps: CapSet, name: &str) -> bool {
    CapSet::parse(name).is_some_and(|one| caps.contains(one))
}

fn verdict(name: &str, refused: &HashSet<&str>, admin: bool) -> Verdict {
    match name {
        _ if refused.contains(name) => Verdict::always(EPERM),
        "clone" if !admin => clone_without_namespaces(),
        // A filter cannot look into the struct that clone3 takes, so it is
        // declared missing, and the C library falls back to clone.
        "clone3" if !admin => Verdict::always(ENOSYS),
        "personality" => old_personalities(),
        // Sockets to the hypervisor pass by every network namespace. A
        // 32-bit program still has `socketcall`, whose arguments lie in
        // memory, where a filter cannot read: shutting it would shut out
        // every program of a C library older than Linux 4.3's own calls.
        "socket" if !admin => no_family(libc::AF_VSOCK),
        _ => Verdict::always(ALLOW),
    }
}

/// clone(2) as long as no `CLONE_NEW*` flag is set: a user namespace would
/// give the process all capabilities over a large part of the kernel.
fn clone_without_namespaces() -> Verdict {
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    let condition = Condition {
        index: if cfg!(target_arch = "s390x") { 1 } else { 0 },
        value: namespaces.cast_unsigned().into(),
        value_two: 0,
        op: Comparison::MaskedEqual,
    };
    Verdict { cases: vec![(vec![condition], ALLOW)], otherwise: EPERM }
}

/// personality(2) may ask, and choose plain Linux and its 32-bit and
/// uname-2.6 variants; other values turn address randomisation off.
fn old_personalities() -> Verdict {
    let allowed = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    let case = |value: u64| {
        let op = Comparison::Equal;
        (vec![Condition { index: 0, value, value_two: 0, op }], ALLOW)
    };
    Verdict { cases: allowed.map(case).to_vec(), otherwise: EPERM }
}

fn no_family(family: i32) -> Verdict {
    let condition = Condition {
        index: 0,
        value: family.cast_unsigned().into(),
        value_two: 0,
        op: Comparison::NotEqual,
    };
    Verdict { cases: vec![(vec![condition], ALLOW)], otherwise: EPERM }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_lists_is_a_call() {
        let abis = [Some(Abi::native()), Abi::compat()];
        let known = |name| {
            abis.iter().flatten().any(|abi| abi.numbers(name).count() > 0)
        };
        let lists = UNLESS.iter().flat_map(|(_, calls)| *calls);
        for name in NEVER.iter().chain(lists) {
            assert!(known(name), "{name} is misspelt");
        }
    }

    #[test]
    fn waiting_for_asynchronous_io_is_known_to_every_kind_of_program() {
        let abis = [Some(Abi::native()), Abi::compat()];
        for abi in abis.iter().flatten() {
            assert_eq!(abi.numbers("io_pgetevents").count(), 1, "{abi:?}");
        }
    }

    #[test]
    fn a_capability_opens_its_calls() {
        let none = CapSet::docker_default();
        let mut admin = none;
        admin.add(CapSet::parse("SYS_ADMIN").unwrap());
        assert!(refused(none).contains("mount"));
        assert!(!refused(admin).contains("mount"));
        assert!(refused(admin).contains("keyctl"));
        assert!(!refused(none).contains("chroot"));
    }
}
