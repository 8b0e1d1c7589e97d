//! What runs in the sandbox: the command, and the rights it keeps.
//!
//! The same for a container's first process and for an exec, which is why
//! it is apart from the sandbox: two processes in one world may be different
//! users with different rights.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capabilities::CapSet;
use crate::seccomp::Profile;

/// A command with its environment, its user and its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The command and its arguments; `args[0]` is looked up in `PATH`.
    pub args: Vec<String>,
    /// `NAME=value` pairs. `HOME` is added from `/etc/passwd` if missing.
    pub env: Vec<String>,
    /// Working directory inside; made if missing by a container's first
    /// process, and by no exec, as in Docker.
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// Capabilities that it may ever have (capabilities(7)).
    pub capabilities: CapSet,
    /// Capabilities that survive the execve of an ordinary user; a subset
    /// of `capabilities`, empty in Docker.
    pub ambient: CapSet,
    /// No program may raise rights again (set-user-ID, file capabilities).
    pub no_new_privs: bool,
    /// Which system calls are answered; `None` allows all.
    pub seccomp: Option<Profile>,
    /// Limits per process (setrlimit(2)).
    pub rlimits: Vec<Rlimit>,
    /// How soon the OOM killer picks it: −1000 never … 1000 first.
    pub oom_score_adj: Option<i32>,
    /// `--init`: PID 1 is a reaper of ours and the command is its child.
    pub init: bool,
    /// End it when the thread that made it ends (PR_SET_PDEATHSIG).
    pub die_with_parent: bool,
}

impl Process {
    /// `args` as root in `/` with Docker's default rights.
    pub fn new(args: impl IntoIterator<Item = impl Into<String>>) -> Process {
        Process {
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            capabilities: CapSet::docker_default(),
            ambient: CapSet::EMPTY,
            no_new_privs: false,
            seccomp: Some(Profile::docker_default()),
            rlimits: Vec::new(),
            oom_score_adj: None,
            init: false,
            die_with_parent: false,
        }
    }
}

/// A user, by the words of `docker run --user`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// `user`, `uid`, `user:group`, `uid:gid`, …; empty is root. Names are
    /// looked up in the *container's* `/etc/passwd` and `/etc/group`.
    pub name: String,
    /// `--group-add`: further groups, by name or number.
    pub groups: Vec<String>,
}

impl User {
    /// The user that `--user NAME` means.
    pub fn named(name: impl Into<String>) -> User {
        User { name: name.into(), groups: Vec::new() }
    }
}

/// A limit that the kernel keeps per process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name as in `--ulimit`: `nofile`, `nproc`, `core`, …
    pub name: String,
    /// What holds now; the process may raise it up to `hard`.
    pub soft: u64,
    /// The most it can ever be; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Rows and columns of a terminal.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize,
)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub cols: u16,
}

/// The way into the cgroup that the process shall live in (see step 3). The
/// default is to stay in the caller's.
#[derive(Debug, Clone, Copy, Default)]
pub struct CgroupEntry<'fd> {
    /// cgroup v2: its directory, for `CLONE_INTO_CGROUP`. The process is
    /// born there.
    pub into: Option<BorrowedFd<'fd>>,
    /// cgroup v1, a file per hierarchy: the `cgroup.procs` files, open for
    /// writing. The process waits until its PID has been written to each.
    pub procs: &'fd [OwnedFd],
}
