//! What `/proc/PID` says of the process: who, in which namespaces, with
//! which rights.

use std::os::unix::fs::MetadataExt;

use namespaces::{CapSet, Namespaces};
use serde::{Deserialize, Serialize};

use super::{field, read};

/// The container's first process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Process {
    /// As the host counts.
    pub pid: i32,
    /// As it sees itself: 1, unless it shares the host's PID namespace.
    pub pid_inside: i32,
    /// The shim that watches it, its parent.
    pub shim: i32,
    /// The user it is, as the host counts.
    pub uid: u32,
    /// The group it is in, as the host counts.
    pub gid: u32,
    /// Which users inside are which users of the host.
    pub uid_map: Vec<IdRange>,
    /// The same for groups.
    pub gid_map: Vec<IdRange>,
    /// All processes of the container, with this one.
    pub members: Vec<Member>,
}

/// A line of `/proc/PID/uid_map`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IdRange {
    /// The first ID inside.
    pub inside: u32,
    /// The first ID outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A process in the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// As the host counts.
    pub pid: i32,
    /// As the container counts.
    pub pid_inside: i32,
    /// Its program.
    pub command: String,
}

/// A namespace that the process is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Namespace {
    /// Its file name below `/proc/PID/ns`.
    pub kind: String,
    /// Its number: two processes with the same one share it.
    pub inode: u64,
    /// The number that the engine itself has there. (PID 1 would be the
    /// host's own, but an ordinary user may not read that.)
    pub host: u64,
}

/// What the kernel lets the process do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rights {
    /// Capabilities that count now.
    pub effective: CapSet,
    /// Capabilities that any program of it may ever get.
    pub bounding: CapSet,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// How many filters each call passes through.
    pub seccomp_filters: u32,
    /// Whether set-user-ID programs give no rights.
    pub no_new_privs: bool,
}

/// The process `pid`; `None` if it is gone.
pub(super) fn look(pid: i32, shim: i32, members: &[u32]) -> Option<Process> {
    let status = read(format!("/proc/{pid}/status"))?;
    let first = |key| field(&status, key)?.split_whitespace().next();
    Some(Process {
        pid,
        pid_inside: inside(&status)?,
        shim,
        uid: first("Uid")?.parse().ok()?,
        gid: first("Gid")?.parse().ok()?,
        uid_map: ranges(&read(format!("/proc/{pid}/uid_map"))?),
        gid_map: ranges(&read(format!("/proc/{pid}/gid_map"))?),
        members: members.iter().filter_map(|pid| member(*pid)).collect(),
    })
}

/// `NSpid` counts from the reader's namespace inwards.
fn inside(status: &str) -> Option<i32> {
    field(status, "NSpid")?.split_whitespace().next_back()?.parse().ok()
}

fn member(pid: u32) -> Option<Member> {
    let status = read(format!("/proc/{pid}/status"))?;
    Some(Member {
        pid: pid.try_into().ok()?,
        pid_inside: inside(&status)?,
        command: field(&status, "Name")?.to_owned(),
    })
}

fn ranges(map: &str) -> Vec<IdRange> {
    let parse = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    map.lines().filter_map(parse).collect()
}

/// All kinds that this kernel has.
pub(super) fn namespaces(pid: i32) -> Vec<Namespace> {
    let inode = |who: &str, kind: &str| {
        std::fs::metadata(format!("/proc/{who}/ns/{kind}")).map(|it| it.ino())
    };
    let look = |kind: &str| {
        Some(Namespace {
            kind: kind.to_owned(),
            inode: inode(&pid.to_string(), kind).ok()?,
            host: inode("self", kind).ok()?,
        })
    };
    let kinds = Namespaces::default().all().map(|(kind, _)| kind.name());
    kinds.into_iter().filter_map(look).collect()
}

/// The rights of `pid`; `None` if it is gone.
pub(super) fn rights(pid: i32) -> Option<Rights> {
    parse_rights(&read(format!("/proc/{pid}/status"))?)
}

fn parse_rights(status: &str) -> Option<Rights> {
    let caps = |key| {
        let bits = u64::from_str_radix(field(status, key)?, 16).ok()?;
        Some(CapSet::from_bits(bits))
    };
    Some(Rights {
        effective: caps("CapEff")?,
        bounding: caps("CapBnd")?,
        // 0 is none, 1 strict, 2 a filter (proc_pid_status(5)).
        seccomp: field(status, "Seccomp") == Some("2"),
        // Since Linux 5.9.
        seccomp_filters: field(status, "Seccomp_filters")
            .and_then(|it| it.parse().ok())
            .unwrap_or(0),
        no_new_privs: field(status, "NoNewPrivs") == Some("1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_from_the_kernels_hexadecimal() {
        let status = "Name:\tsh\nCapEff:\t0000000000000021\n\
                      CapBnd:\t00000000a80425fb\nNoNewPrivs:\t0\n\
                      Seccomp:\t2\nSeccomp_filters:\t1\n";
        let rights = parse_rights(status).unwrap();
        assert_eq!(rights.effective.names(), ["CAP_CHOWN", "CAP_KILL"]);
        assert_eq!(rights.bounding, CapSet::docker_default());
        assert!(rights.seccomp && !rights.no_new_privs);
    }

    #[test]
    fn the_innermost_pid_is_the_containers() {
        assert_eq!(inside("NSpid:\t3482\t17\t1\n"), Some(1));
        assert_eq!(inside("NSpid:\t3482\n"), Some(3482));
    }

    #[test]
    fn this_process_shares_all_its_namespaces_with_itself() {
        let own = namespaces(std::process::id().cast_signed());
        assert!(own.len() >= 7, "{own:?}");
        assert!(own.iter().all(|it| it.inode == it.host));
    }
}
