//! What the daemon asks a shim to make, and what the shim leaves on disk.

use std::path::{Path, PathBuf};

use cli_api::jsonlog::Attributes;
use namespaces::{Process, Sandbox, Timing, WindowSize};
use serde::{Deserialize, Serialize};

use super::Error;

/// File names inside [`Spec::dir`].
pub(crate) const SPEC: &str = "spec.json";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const RECORD: &str = "shim.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const SHIM_LOG: &str = "shim.log";

/// One container or one exec, complete: the shim asks nobody anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The container's ID, or the exec's.
    pub id: String,
    /// Where the shim keeps its files; exists already.
    pub dir: PathBuf,
    /// Make a container, or join one.
    pub world: World,
    /// The command.
    pub process: Process,
    /// A terminal of this size instead of three streams (`-t`).
    pub terminal: Option<WindowSize>,
    /// Keep standard input open for attachers (`-i`); else `/dev/null`.
    pub open_stdin: bool,
    /// The first attacher's end of input is the process's (`StdinOnce`).
    pub stdin_once: bool,
    /// Where the output goes besides the attachers.
    pub log: Log,
}

/// Where the process of a [`Spec`] lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "one per start, not kept")]
pub enum World {
    /// A new container.
    New {
        /// Namespaces, root and mounts.
        sandbox: Box<Sandbox>,
        /// Limits, kept by a cgroup of the container's own; `None` where
        /// no cgroup can be made (an ordinary user without delegation).
        cgroup: Option<Cgroup>,
    },
    /// A process beside those of a running container (`docker exec`).
    Join {
        /// The container's files, for its PID and its cgroup.
        container: PathBuf,
    },
}

/// The container's cgroup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cgroup {
    /// Below which cgroup it is made (`--cgroup-parent`); `None` is the
    /// engine's own place.
    pub parent: Option<String>,
    /// Its directory name, normally the container's ID.
    pub name: String,
    /// What it may use.
    pub limits: cgroups::Limits,
}

/// A log driver, with its options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Log {
    /// `json-file` and `local`: one JSON line per line of output.
    JsonFile {
        /// The newest file; older ones are `PATH.1`, `PATH.2` …
        path: PathBuf,
        /// `max-size` in bytes; `None` never rotates.
        max_size: Option<u64>,
        /// `max-file`: how many files are kept, at least 1.
        max_file: u32,
        /// `compress`: all but the newest are packed.
        compress: bool,
        /// `mode=non-blocking`: how many bytes may wait to be written; what
        /// does not fit is lost, and the container does not wait.
        buffer: Option<u64>,
        /// What stands in every line.
        attrs: Attributes,
    },
    /// `none`: attachers only.
    None,
}

impl Spec {
    /// A container that reads nothing and logs nothing; change the fields.
    pub fn new(
        id: impl Into<String>,
        dir: impl Into<PathBuf>,
        world: World,
        process: Process,
    ) -> Spec {
        Spec {
            id: id.into(),
            dir: dir.into(),
            world,
            process,
            terminal: None,
            open_stdin: false,
            stdin_once: false,
            log: Log::None,
        }
    }
}

/// `shim.json`: who the processes are, for a daemon that starts later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The shim itself, as the host counts.
    pub shim_pid: i32,
    /// The container's first process, as the host counts.
    pub pid: i32,
    /// Its start in clock ticks after boot (proc_pid_stat(5), field 22):
    /// a PID with another start time is another process.
    pub start_ticks: u64,
    /// Whether the command has been executed.
    pub started: bool,
    /// RFC 3339, empty before the start.
    pub started_at: String,
    /// The cgroup's name, for stats and for exec.
    pub cgroup: Option<CgroupPlace>,
    /// What each step of the start cost.
    pub steps: Vec<Timing>,
}

/// How to find a container's cgroup again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlace {
    /// As in [`Cgroup::parent`].
    pub parent: Option<String>,
    /// As in [`Cgroup::name`].
    pub name: String,
}

/// `exit.json`: how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Docker's exit code: 128 + n after signal n.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel's OOM killer struck in the container's cgroup.
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds, UTC.
    pub finished_at: String,
    /// Why it never ran, or what the shim could not do; mostly empty.
    pub error: String,
}

impl Record {
    /// Reads the record of the container or exec whose files are in `dir`.
    ///
    /// # Errors
    /// [`Error::Read`] if there is none or it is damaged.
    pub fn load(dir: &Path) -> Result<Record, Error> {
        read(&dir.join(RECORD))
    }
}

impl Exit {
    /// Reads how the process ended; `None` while it has not.
    ///
    /// # Errors
    /// [`Error::Read`] if the file is damaged.
    pub fn load(dir: &Path) -> Result<Option<Exit>, Error> {
        let path = dir.join(EXIT);
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    }
}

/// Reads a JSON file that was written in one piece.
pub(crate) fn read<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<T, Error> {
    let failed = |cause: String| Error::Read { path: path.to_owned(), cause };
    let text = std::fs::read(path).map_err(|it| failed(it.to_string()))?;
    serde_json::from_slice(&text).map_err(|it| failed(it.to_string()))
}
