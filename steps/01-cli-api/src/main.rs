//! Stage 1: a process of the host, started and watched through the API.
//!
//! Nothing here is about containers yet. The process sees all files, all
//! other processes and the whole network; each later stage takes one of
//! these away, and its `main.rs` is this one with one thing more.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::anyhow;
use cli_api::stage::{NoFlags, NoVerbs, Run, Stage, Started, Stdio};

// ANCHOR: plain
/// This stage keeps nothing of its own.
struct Plain;

impl Stage for Plain {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");
    type Flags = NoFlags;
    type Verbs = NoVerbs;

    fn open(_state: &Path) -> anyhow::Result<Plain> {
        Ok(Plain)
    }

    /// fork(2) and execve(2), which the standard library does for us. The
    /// process sees all that its user sees: this is the *before* picture.
    fn start(
        &self,
        run: &Run<NoFlags>,
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let program = &run.args[0];
        let env = run.env.iter().filter_map(|it| it.split_once('='));
        let child = Command::new(program)
            .args(&run.args[1..])
            .envs(env)
            .current_dir(run.start_dir())
            .stdin(stdio.input)
            .stdout(stdio.output)
            .stderr(stdio.errors)
            // A group of its own: a signal to the daemon's group is not
            // meant for it.
            .process_group(0)
            .spawn()
            .map_err(|cause| explain(program, &cause))?;
        Ok(child.into())
    }
}
// ANCHOR_END: plain

/// execve(2) knows only numbers; Docker's words say what was looked for.
fn explain(program: &str, cause: &std::io::Error) -> anyhow::Error {
    match cause.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow!("exec: {program:?}: executable file not found in $PATH")
        }
        _ => anyhow!("exec: {program:?}: {cause}"),
    }
}

fn main() -> ExitCode {
    cli_api::main::<Plain>()
}
