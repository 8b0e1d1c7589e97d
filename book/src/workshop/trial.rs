//! Running a check in a place where a learner's mistake breaks nothing.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ::exercises::{Observation, Verdict, decode, observed};
use ::transcript::sandbox;
use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchy, Limits};

use super::exercise::Exercise;
use super::needs;
use super::program::Compiler;

/// A check takes less than a second. This is for code that never ends.
const SECONDS: u64 = 20;

/// What the learner's code cannot get out of, and what ends with it. The
/// shell is PID 1 there and the check is not: PID 1 gets no signals.
const NAMESPACES: [&str; 12] = [
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--uts",
    "--ipc",
    "--net",
    "sh",
    "-c",
    "\"$0\"; exit $?",
];

/// What came of a learner's file.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The sentences say what the kernel showed.
    Passed(Vec<String>),
    Failed(Observation),
    /// rustc's errors.
    NotCompiled(String),
    /// This machine lacks something; the text says what.
    NotHere(String),
}

/// An outcome, and what the learner's code printed on the way.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) outcome: Outcome,
    pub(crate) printed: String,
}

/// Compiles and checks one file.
pub(crate) fn of(
    compiler: &Compiler,
    root: &Path,
    exercise: &Exercise,
    file: &Path,
) -> Result<Trial> {
    let quiet = |outcome| Trial { outcome, printed: String::new() };
    if let Some(reason) = needs::first_missing(&exercise.about.needs) {
        return Ok(quiet(Outcome::NotHere(reason)));
    }
    match compiler.compile(exercise, file)? {
        Err(said) => Ok(quiet(Outcome::NotCompiled(said))),
        Ok(program) => run(root, exercise, &program),
    }
}

fn run(root: &Path, exercise: &Exercise, program: &Path) -> Result<Trial> {
    let wants_group = exercise.about.needs.iter().any(|it| it.is_cgroup());
    let group = wants_group.then(OwnGroup::make).transpose()?;
    let dir = tempfile::tempdir()?;
    let printed = dir.path().join("printed");
    let out = File::create(&printed)?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", &SECONDS.to_string()]);
    // Without root there are no namespaces, but nothing to protect from
    // either: only checks that need no rights get here.
    if sandbox::missing().is_none() {
        command.args(NAMESPACES).env("EXERCISE_DIR", "/run/exercise");
    } else {
        command.env("EXERCISE_DIR", dir.path());
    }
    command.arg(program);
    if let Some(group) = &group {
        command.env("EXERCISE_GROUPS", group.dirs());
    }
    let start = Instant::now();
    let status = command
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .status()
        .with_context(|| format!("run {}", program.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&printed)?).into_owned();
    let verdict = decode(&text).unwrap_or_else(|| {
        Err(if start.elapsed() >= Duration::from_secs(SECONDS) {
            observed("hangs", format!("still running after {SECONDS} s"))
        } else {
            observed("died", format!("the check's process: {status}"))
        })
    });
    Ok(Trial { outcome: outcome(verdict), printed: without_report(&text) })
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Ok(seen) => Outcome::Passed(seen),
        Err(observation) => Outcome::Failed(observation),
    }
}

/// What is left when the lines for this tool are taken out.
fn without_report(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('\u{1e}'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A control group for one trial. It goes with it, however that ends.
struct OwnGroup(Cgroup);

impl OwnGroup {
    fn make() -> Result<OwnGroup> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("skiff-workshop-{}-{number}", std::process::id());
        let hierarchy = Hierarchy::detect()?;
        Ok(OwnGroup(Cgroup::create(&hierarchy, &name, &Limits::default())?))
    }

    fn dirs(&self) -> String {
        let dirs: Vec<_> =
            self.0.dirs().map(|dir| dir.display().to_string()).collect();
        dirs.join(":")
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        // The sandbox has ended all its processes; a frozen one is still
        // there until it is killed by the group.
        let gone = self.0.kill();
        if let Err(error) = gone.and_then(|()| self.0.remove()) {
            eprintln!("the exercise's control group is left: {error}");
        }
    }
}
