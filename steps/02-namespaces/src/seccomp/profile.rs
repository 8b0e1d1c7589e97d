//! Docker's JSON format for seccomp profiles.

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// For every call that no rule names.
    pub default_action: Action,
    /// The errno of `default_action` if that is `SCMP_ACT_ERRNO`; EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u16>,
    /// The rules; the first that fits wins.
    #[serde(default)]
    pub syscalls: Vec<Rule>,
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
