//! What every container gets unless it says otherwise: Docker's choices.
//!
//! Images are built and tested against these, so they are as much a part of
//! the interface as the flags are: a program that needs 64 MB of shared
//! memory runs, one that needs 65 asks for `--shm-size`.

use std::path::PathBuf;

use crate::sandbox::{Device, Mount, MountOptions, Source};

/// The file systems that make a root directory a running system.
pub fn mounts() -> Vec<Mount> {
    let strict = MountOptions {
        nosuid: true,
        nodev: true,
        noexec: true,
        ..MountOptions::default()
    };
    let read_only = MountOptions { read_only: true, ..strict.clone() };
    // Not nodev: these two are full of devices, that is what they are for.
    let dev = MountOptions { nosuid: true, ..MountOptions::default() };
    let tty = MountOptions { nosuid: true, noexec: true, ..dev.clone() };
    let tmpfs = |options: &[&str]| Source::Tmpfs {
        options: options.iter().map(|&option| option.to_owned()).collect(),
    };
    let mount = |target: &str, source, options| Mount {
        target: PathBuf::from(target),
        source,
        options,
    };
    vec![
        mount("/proc", Source::Proc, strict.clone()),
        mount("/dev", tmpfs(&["mode=755", "size=65536k"]), dev),
        mount("/dev/pts", Source::Devpts, tty),
        mount("/sys", Source::Sysfs, read_only.clone()),
        mount("/sys/fs/cgroup", Source::Cgroup, read_only),
        mount("/dev/mqueue", Source::Mqueue, strict.clone()),
        mount("/dev/shm", tmpfs(&["mode=1777", "size=65536k"]), strict),
    ]
}

/// The device nodes that programs expect and that can do no harm.
pub fn devices() -> Vec<Device> {
    let memory = |name: &str, minor| Device {
        path: PathBuf::from("/dev").join(name),
        host: PathBuf::from("/dev").join(name),
        block: false,
        major: 1,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    let tty = Device { major: 5, ..memory("tty", 0) };
    vec![
        memory("null", 3),
        memory("zero", 5),
        memory("full", 7),
        memory("random", 8),
        memory("urandom", 9),
        tty,
    ]
}

/// Kernel files that show or change the *host*: covered.
pub fn masked_paths() -> Vec<PathBuf> {
    paths(&[
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ])
}

/// Kernel files that may be read but must not be written.
pub fn readonly_paths() -> Vec<PathBuf> {
    paths(&[
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ])
}

fn paths(list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(PathBuf::from).collect()
}
