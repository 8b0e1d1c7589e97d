//! Stage 3: a process in its own world, with limits.
//!
//! New against stage 2: a cgroup for each container, which the process is
//! born into and which is removed after it; the flags that set its limits;
//! `stats`, `pause`, `unpause` and `update`.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cgroups::{Cgroup, Entry, Hierarchy, LimitArgs, LimitVerbs, group_name};
use cli_api::stage::{Ended, Inside, Run, Stage, Started, Stdio};
use namespaces::{CgroupEntry, Created, Process, Sandbox};
use serde_json::json;

struct Limited {
    hierarchy: Hierarchy,
    state: PathBuf,
}

impl Stage for Limited {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");
    type Flags = LimitArgs;
    type Verbs = LimitVerbs;

    fn open(state: &Path) -> anyhow::Result<Limited> {
        let hierarchy = Hierarchy::detect()?;
        Ok(Limited { hierarchy, state: state.to_owned() })
    }

    fn start(
        &self,
        run: &Run<LimitArgs>,
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let name = group_name(&run.id);
        let limits = run.flags.limits();
        let group = Cgroup::create(&self.hierarchy, &name, &limits)?;
        let created = namespaces::create(
            &sandbox(run),
            &process(run, &run.args),
            streams(&stdio),
            way_in(&group.entry()?),
        )?;
        started(created, group)
    }

    /// A further process goes into the container's group too: a limit that
    /// `exec` could step around would be none.
    fn exec(
        &self,
        inside: &Inside<LimitArgs>,
        args: &[String],
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let group = self.group(&inside.run.id)?;
        let created = namespaces::join(
            i32::try_from(inside.pid)?,
            &process(&inside.run, args),
            streams(&stdio),
            way_in(&group.entry()?),
        )?;
        started(created, group)
    }

    fn remove(&self, id: &str) -> anyhow::Result<()> {
        let group = self.group(id)?;
        group.kill()?;
        Ok(group.remove()?)
    }

    fn inspect(&self, inside: &Inside<LimitArgs>) -> serde_json::Value {
        let Ok(group) = self.group(&inside.run.id) else {
            return json!({});
        };
        json!({
            "CgroupMode": self.hierarchy.mode().to_string(),
            "Cgroup": group.dirs().collect::<Vec<_>>(),
            "Stats": group.stats().ok(),
        })
    }

    fn verb(
        &self,
        verb: LimitVerbs,
        _cwd: &Path,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        verb.run(&self.hierarchy, &self.state, out)
    }
}

impl Limited {
    fn group(&self, id: &str) -> anyhow::Result<Cgroup> {
        Ok(Cgroup::open(&self.hierarchy, &group_name(id))?)
    }
}

/// Opens the gate, and says how to wait for the end. The group's counter
/// tells a process that the OOM killer took from one that `kill -9` did.
fn started(mut created: Created, group: Cgroup) -> anyhow::Result<Started> {
    created.start()?;
    let pid = u32::try_from(created.pid())?;
    let wait = move || {
        let code = created.wait()?.code;
        Ok(Ended { code, oom_killed: group.oom_kills()? > 0 })
    };
    Ok(Started { pid, wait: Box::new(wait) })
}

/// The host's own files, until there are images (step 4).
fn sandbox(run: &Run<LimitArgs>) -> Sandbox {
    let mut sandbox = Sandbox::new("/");
    sandbox.hostname = Some(run.id[..12].to_owned());
    sandbox
}

fn process(run: &Run<LimitArgs>, args: &[String]) -> Process {
    let mut process = Process::new(args);
    process.env.clone_from(&run.env);
    process.cwd = run.start_dir().to_owned();
    process
}

fn streams(stdio: &Stdio) -> namespaces::Stdio<'_> {
    namespaces::Stdio::Streams {
        stdin: stdio.input.as_fd(),
        stdout: stdio.output.as_fd(),
        stderr: stdio.errors.as_fd(),
    }
}

fn way_in(entry: &Entry) -> CgroupEntry<'_> {
    CgroupEntry {
        into: entry.clone_into.as_ref().map(AsFd::as_fd),
        procs: &entry.procs,
    }
}

fn main() -> ExitCode {
    cli_api::main::<Limited>()
}
