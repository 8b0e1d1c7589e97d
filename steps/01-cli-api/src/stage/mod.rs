//! The frame that the six stage binaries share: a stage says what is *new*
//! about it, everything else is here.
//!
//! A stage binary is an `impl Stage` and a `main`:
//!
//! ```no_run
//! use std::path::Path;
//! use std::process::{Command, ExitCode};
//!
//! use cli_api::stage::{NoFlags, NoVerbs, Run, Stage, Started, Stdio};
//!
//! struct Plain;
//!
//! impl Stage for Plain {
//!     const NAME: &str = env!("CARGO_PKG_NAME");
//!     const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");
//!     type Flags = NoFlags; // what `run` takes, a `clap::Args`
//!     type Verbs = NoVerbs; // further commands, a `clap::Subcommand`
//!
//!     fn open(_state: &Path) -> anyhow::Result<Plain> {
//!         Ok(Plain)
//!     }
//!
//!     fn start(
//!         &self,
//!         run: &Run<NoFlags>,
//!         stdio: Stdio,
//!     ) -> anyhow::Result<Started> {
//!         let mut command = Command::new(&run.args[0]);
//!         command.args(&run.args[1..]).stdin(stdio.input);
//!         command.stdout(stdio.output).stderr(stdio.errors);
//!         Ok(command.spawn()?.into())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     cli_api::main::<Plain>()
//! }
//! ```
//!
//! That gives `run [-d] [--name] [--rm] [-e] [-w]`, `ps`, `logs`, `exec`,
//! `stop`, `kill`, `wait`, `inspect`, `rm`, and a daemon on demand.
//!
//! The processes of a stage end with its daemon; only the finished engine
//! gives each a guardian of its own. Output goes to a log file and is shown
//! from there, input is `/dev/null`, and there are no terminals: those come
//! with the finished engine, too.
//!
//! State is below `/var/lib/skiff-steps/NN`, sockets below
//! `/run/skiff-steps/NN`, where NN is the number in [`Stage::NAME`]; both
//! move to `$SKIFF_STEP_DIR/NN` if that is set.

pub(crate) mod cli;
pub(crate) mod daemon;
pub(crate) mod handlers;
pub(crate) mod output;
mod place;
mod process;
mod record;
mod records;

use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use place::Place;
pub use record::{Record, State, Status};
pub use records::{find_record, records};

/// What one stage adds to the one before it.
///
/// All methods are called in the daemon, on threads where they may block.
/// Errors are shown to the user with all their causes.
pub trait Stage: Sized + Send + Sync + 'static {
    /// The package's name, such as `step-03-cgroups`.
    const NAME: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// What comes after the flags of `run`; stages with images say
    /// `IMAGE` and find the image in `args[0]`.
    const OPERAND: &'static str = "COMMAND";
    /// The flags of `run`. They travel to the daemon as JSON.
    type Flags: Args + Message;
    /// The verbs that this stage adds, such as `pull`.
    type Verbs: Subcommand + Message;

    /// Called once, when the daemon starts. `state` is a directory of the
    /// stage's own; it exists.
    ///
    /// # Errors
    /// Whatever keeps the stage from working; the daemon ends.
    fn open(state: &Path) -> anyhow::Result<Self>;

    /// Starts the process. The thread that calls this lives as long as the
    /// process, and calls [`Started::wait`].
    ///
    /// # Errors
    /// The user's command fails with 127 if the text says *not found* or
    /// *no such file*, with 126 for *permission denied*, else with 125.
    fn start(
        &self,
        run: &Run<Self::Flags>,
        stdio: Stdio,
    ) -> anyhow::Result<Started>;

    /// Starts a further process beside one that runs.
    ///
    /// # Errors
    /// As [`start`](Stage::start).
    fn exec(
        &self,
        inside: &Inside<Self::Flags>,
        args: &[String],
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let _ = (inside, args, stdio);
        anyhow::bail!(
            "{} has no exec: a plain process has no inside to go to; \
             namespaces, the next step, give it one",
            Self::NAME
        )
    }

    /// Removes what [`start`](Stage::start) made beside the process, such as
    /// a cgroup or a copy of an image. Must not mind if it is gone already,
    /// or if `start` failed half way.
    ///
    /// # Errors
    /// What could not be removed; the container stays in `ps -a`.
    fn remove(&self, id: &str) -> anyhow::Result<()> {
        let _ = id;
        Ok(())
    }

    /// What `inspect` shows beyond the record, as a JSON object.
    fn inspect(&self, inside: &Inside<Self::Flags>) -> serde_json::Value {
        let _ = inside;
        serde_json::Value::Null
    }

    /// One of this stage's own verbs, called from the directory `cwd`.
    /// What is written to `out` appears at the user's terminal at once.
    ///
    /// # Errors
    /// Shown to the user, who gets exit code 1.
    fn verb(
        &self,
        verb: Self::Verbs,
        cwd: &Path,
        out: &mut dyn std::io::Write,
    ) -> anyhow::Result<()> {
        let _ = (verb, cwd, out);
        Ok(())
    }
}

/// What can travel as JSON and be shared between threads: a short name for
/// a long list of bounds. Every type that fulfils them is one.
pub trait Message:
    Debug + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
}
impl<T> Message for T where
    T: Debug + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// A request to run something.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Run<F> {
    /// 64 hexadecimal digits; the daemon fills it in.
    #[serde(default)]
    pub id: String,
    /// `--name`, else a random one.
    #[serde(default)]
    pub name: String,
    /// The command and its arguments (or the image, then those).
    pub args: Vec<String>,
    /// `-e NAME=value`.
    pub env: Vec<String>,
    /// `-w`: where it starts; the caller's directory is [`cwd`](Run::cwd).
    pub workdir: Option<PathBuf>,
    /// The directory in which the user typed the command.
    pub cwd: PathBuf,
    /// `--rm`.
    pub auto_remove: bool,
    /// The stage's own flags.
    pub flags: F,
}

impl<F> Run<F> {
    /// The directory on the *host* to start in, for a stage whose processes
    /// see the host's files: `-w`, seen from where the user is.
    pub fn start_dir(&self) -> PathBuf {
        match &self.workdir {
            Some(dir) => self.cwd.join(dir),
            None => self.cwd.clone(),
        }
    }
}

/// A process that runs, for `exec` and `inspect`.
#[derive(Debug)]
pub struct Inside<F> {
    /// How it was started.
    pub run: Run<F>,
    /// Its PID as the host counts; 0 if it does not run.
    pub pid: u32,
}

/// The three streams of a new process. They are closed here as soon as they
/// are dropped; keep no copies, or the end of the output never comes.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input: `/dev/null`.
    pub input: OwnedFd,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub errors: OwnedFd,
}

/// A process that has been started.
pub struct Started {
    /// Its PID as the host counts.
    pub pid: u32,
    /// Blocks until it has ended, and takes it off the process table.
    pub wait: Box<dyn FnOnce() -> anyhow::Result<Ended>>,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("pid", &self.pid).finish()
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Its exit code, or 128 + n after signal n.
    pub code: i32,
    /// Whether the kernel killed it for lack of memory.
    pub oom_killed: bool,
}

impl From<std::process::ExitStatus> for Ended {
    fn from(status: std::process::ExitStatus) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal().map(|it| 128 + it);
        let code = status.code().or(signal).unwrap_or(125);
        Ended { code, oom_killed: false }
    }
}

impl From<std::process::Child> for Started {
    fn from(mut child: std::process::Child) -> Started {
        let pid = child.id();
        let wait = move || Ok(child.wait()?.into());
        Started { pid, wait: Box::new(wait) }
    }
}

/// For a stage whose `run` takes no flags of its own.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct NoFlags {}

/// For a stage without verbs of its own.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum NoVerbs {}
