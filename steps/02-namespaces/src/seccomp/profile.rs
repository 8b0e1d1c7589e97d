//! Docker's JSON format for seccomp profiles.
//!
//! One file for all machines and all containers: it names calls that this
//! machine does not have, and rules that exist only with a capability, an
//! architecture or a kernel. Reading it means to ask for each rule whether
//! it is there at all, and then to turn names into numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::abi::Abi;
use super::{Table, Verdict};
use crate::Error;
use crate::capabilities::CapSet;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// For every call that no rule names.
    pub default_action: Action,
    /// The errno of `default_action` if that is `SCMP_ACT_ERRNO`; EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u16>,
    /// Whose programs the rules are for; if none are named, those of this
    /// machine's own kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// The same, for each machine that the file may be used on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arch_map: Vec<Machine>,
    /// The rules; the first that fits wins.
    #[serde(default)]
    pub syscalls: Vec<Rule>,
}

/// Which other programs a machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// libseccomp's name of the machine.
    pub architecture: String,
    /// And of the programs that are not of its own kind.
    #[serde(default)]
    pub sub_architectures: Option<Vec<String>>,
}

/// What happens to some system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The calls' names as in their man pages.
    #[serde(default)]
    pub names: Vec<String>,
    /// One name, in profiles of before 2016.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happens.
    pub action: Action,
    /// The errno of `action` if that is `SCMP_ACT_ERRNO`; EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u16>,
    /// All of these must hold for the arguments.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub args: Vec<Condition>,
    /// The rule exists only if all of this holds.
    #[serde(default)]
    pub includes: Scope,
    /// The rule does not exist if any of this holds.
    #[serde(default)]
    pub excludes: Scope,
}

/// When a rule exists at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// Capabilities of the process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// Machines, by Go's names (`amd64`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// Oldest kernel, `major.minor`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_kernel: String,
}

/// A test of one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which argument, from 0.
    pub index: u8,
    /// The number it is compared with; the mask of `MASKED_EQ`.
    pub value: u64,
    /// The number that the masked argument must equal.
    #[serde(default)]
    pub value_two: u64,
    /// How they are compared.
    pub op: Comparison,
}

/// libseccomp's comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the serde names say it")]
pub enum Comparison {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// libseccomp's actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The call is made.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// The call fails with an errno.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// The call is made and noted in the kernel's log.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// The process gets SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// The thread ends.
    #[serde(rename = "SCMP_ACT_KILL_THREAD", alias = "SCMP_ACT_KILL")]
    KillThread,
    /// The process ends with SIGSYS.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
}

/// Old profiles say `"args": null`.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<Vec<Condition>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

impl Document {
    /// The rules for each kind of program that the profile speaks of.
    pub(super) fn tables(&self, caps: CapSet) -> Result<Vec<Table>, Error> {
        let native = match self.names("SCMP_ARCH_X32") {
            true => Abi::native_and_x32(),
            false => Abi::native(),
        };
        let compat = Abi::compat().filter(|_| self.names("SCMP_ARCH_X86"));
        let abis = [Some(native), compat];
        abis.iter().flatten().map(|abi| self.table(abi, caps)).collect()
    }

    /// What happens to a call that no rule names.
    pub(super) fn unknown(&self) -> u32 {
        self.default_action.value(self.default_errno_ret)
    }

    /// Whether a kind of program that is not this machine's own is meant.
    fn names(&self, kind: &str) -> bool {
        let here = self.arch_map.iter();
        let here = here.filter(|it| it.architecture == "SCMP_ARCH_X86_64");
        let subs = here.flat_map(|it| it.sub_architectures.iter().flatten());
        self.architectures.iter().chain(subs).any(|it| it == kind)
    }

    /// The verdict for each call that a rule names.
    ///
    /// The first rule that fits decides. A rule without conditions fits
    /// always, so it closes its calls for the rules behind it.
    fn table(&self, abi: &Abi, caps: CapSet) -> Result<Table, Error> {
        let default = self.unknown();
        let mut calls: BTreeMap<u32, Verdict> = BTreeMap::new();
        // Verdicts that no later rule may change.
        let mut closed = Vec::new();
        for rule in &self.syscalls {
            if !rule.includes.all_hold(caps)? || rule.excludes.any(caps)? {
                continue;
            }
            let value = rule.action.value(rule.errno_ret);
            check(&rule.args)?;
            // Profiles name the calls of all machines.
            let names = rule.names.iter().chain(&rule.name);
            for number in names.flat_map(|name| abi.numbers(name)) {
                if closed.contains(&number) {
                    continue;
                }
                let verdict = calls
                    .entry(number)
                    .or_insert_with(|| Verdict::always(default));
                if rule.args.is_empty() {
                    verdict.otherwise = value;
                    closed.push(number);
                } else {
                    verdict.cases.push((rule.args.clone(), value));
                }
            }
        }
        Ok(Table { arch: abi.arch, calls, shut_from: abi.shut_from })
    }
}

/// A call has six arguments.
fn check(conditions: &[Condition]) -> Result<(), Error> {
    match conditions.iter().find(|it| it.index > 5) {
        Some(it) => Err(Error::Invalid(format!(
            "the seccomp profile tests argument {}, and a system call has \
             only 0 to 5",
            it.index
        ))),
        None => Ok(()),
    }
}

impl Scope {
    /// Whether everything that is asked for holds; an empty scope does.
    fn all_hold(&self, caps: CapSet) -> Result<bool, Error> {
        let held = self.held(caps)?;
        Ok(held.iter().all(|it| *it)
            && (self.arches.is_empty() || self.has_arch())
            && (self.min_kernel.is_empty() || self.has_kernel()?))
    }

    /// Whether anything that is asked for holds; an empty scope does not.
    fn any(&self, caps: CapSet) -> Result<bool, Error> {
        let held = self.held(caps)?;
        Ok(held.contains(&true)
            || self.has_arch()
            || (!self.min_kernel.is_empty() && self.has_kernel()?))
    }

    fn held(&self, caps: CapSet) -> Result<Vec<bool>, Error> {
        let one = |name: &String| match CapSet::parse(name) {
            Some(cap) => Ok(caps.contains(cap)),
            None => Err(Error::Invalid(format!(
                "the seccomp profile names an unknown capability {name:?}"
            ))),
        };
        self.caps.iter().map(one).collect()
    }

    fn has_arch(&self) -> bool {
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.arches.iter().any(|arch| arch == here)
    }

    fn has_kernel(&self) -> Result<bool, Error> {
        let wanted = version(&self.min_kernel).ok_or_else(|| {
            Error::Invalid(format!(
                "the seccomp profile's minKernel is {:?} and not like 4.8",
                self.min_kernel
            ))
        })?;
        let name = rustix::system::uname();
        let release = name.release().to_string_lossy();
        Ok(version(&release).is_none_or(|here| here >= wanted))
    }
}

/// Major and minor number of `6.1.0-13-amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-', '+']);
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next()?.parse().ok()?))
}

impl Action {
    /// The kernel's `SECCOMP_RET_*` for it; the low 16 bits are the errno.
    fn value(self, errno: Option<u16>) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Errno => {
                let errno = errno.map_or(libc::EPERM as u32, u32::from);
                libc::SECCOMP_RET_ERRNO | errno
            }
            Action::Log => libc::SECCOMP_RET_LOG,
            Action::Trap => libc::SECCOMP_RET_TRAP,
            Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}
