//! Root's power in pieces (capabilities(7)).
//!
//! Until Linux 2.2 a process was root and could do everything, or it was
//! not and could not. Since then each right is a bit: to bind a low port is
//! one, to load a kernel module another, and a process may hold any of them.
//!
//! A container's root keeps 14 of the 41 pieces. What it loses is what
//! would let it change the host: load modules, mount, set the clock. What it
//! keeps is what package managers and servers cannot do without: change
//! owners, bind port 80, become another user.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of capabilities, one bit each, as the kernel numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct CapSet(u64);

/// Names by number, without `CAP_`; capability.h gives the numbers.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl CapSet {
    /// No capability at all.
    pub const EMPTY: CapSet = CapSet(0);

    /// The 14 that Docker leaves to root in a container.
    pub fn docker_default() -> CapSet {
        const KEPT: [&str; 14] = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ];
        KEPT.iter().fold(CapSet::EMPTY, |mut set, name| {
            set.add(CapSet::parse(name).unwrap_or_default());
            set
        })
    }

    /// All that the calling process could give away: its permitted set. This
    /// is what `--privileged` means.
    ///
    /// Fewer than [`NAMES`] on a machine that is itself confined.
    pub fn held() -> CapSet {
        let sets = rustix::thread::capabilities(None);
        sets.map_or(CapSet::EMPTY, |sets| CapSet(sets.permitted.bits()))
    }

    /// One capability by name, as `--cap-add` and `--cap-drop` take it, with or without `CAP_`, in any case.
    pub fn parse(name: &str) -> Option<CapSet> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let bit = NAMES.iter().position(|known| *known == short)?;
        Some(CapSet(1 << bit))
    }

    /// Puts all of `other` in.
    pub fn add(&mut self, other: CapSet) {
        self.0 |= other.0;
    }

    /// Takes all of `other` out.
    pub fn remove(&mut self, other: CapSet) {
        self.0 &= !other.0;
    }

    /// Whether all of `other` is in.
    pub fn contains(self, other: CapSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in both.
    pub fn intersection(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    /// The set with this bit mask, as `/proc/PID/status` shows one.
    pub fn from_bits(bits: u64) -> CapSet {
        CapSet(bits)
    }

    /// The kernel's bit mask.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The names with `CAP_`, in the kernel's order.
    pub fn names(self) -> Vec<String> {
        let is_in = |bit: &usize| self.0 & (1 << bit) != 0;
        let name = |bit: usize| format!("CAP_{}", NAMES[bit]);
        (0..NAMES.len()).filter(is_in).map(name).collect()
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl From<CapSet> for Vec<String> {
    fn from(set: CapSet) -> Self {
        set.names()
    }
}

impl TryFrom<Vec<String>> for CapSet {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let mut set = CapSet::EMPTY;
        for name in names {
            set.add(
                CapSet::parse(&name)
                    .ok_or_else(|| format!("unknown capability {name:?}"))?,
            );
        }
        Ok(set)
    }
}
