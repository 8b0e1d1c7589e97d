//! The system calls of x32 programs: registers of 64 bits, pointers of 32.
//!
//! They come as calls of x86-64 with a bit set in the number. Most have the
//! number of the 64-bit call; those that hand over structures with pointers
//! in them have one of their own, from 512 on
//! (arch/x86/entry/syscalls/syscall_64.tbl).

use super::syscalls;

/// `__X32_SYSCALL_BIT`
pub(super) const BIT: u32 = 0x4000_0000;

/// Numbers of their own.
const OWN: &[(&str, u32)] = &[
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Calls of 64-bit programs alone: obsolete when x32 was made, or about
/// segments, which it does without.
const NONE: &[&str] = &[
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uselib",
    "vserver",
];

/// Every call by name, and its number with the bit.
pub(super) fn calls() -> impl Iterator<Item = (&'static str, u32)> {
    let shared = syscalls::all().filter(|(name, _)| {
        !NONE.contains(name) && !OWN.iter().any(|(own, _)| own == name)
    });
    let all = shared.chain(OWN.iter().copied());
    all.map(|(name, number)| (name, number | BIT))
}
