//! Stage 3: the same process, in a world of its own, with limits.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cgroups::{Cgroup, Hierarchy, LimitArgs, LimitVerbs, describe, group_name};
use cli_api::stage::{Ended, Inside, Run, Stage, Started, Stdio};
use namespaces::{Created, Process, Sandbox};
use serde_json::Value;

/// [`Hierarchy`] is looked up once, when the daemon starts: mounts of cgroups
/// do not come and go.
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

    /// mkdir(2) and a few writes for the limits; then clone3(2) as before,
    /// but into the new group.
    fn start(
        &self,
        run: &Run<LimitArgs>,
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let name = group_name(&run.id);
        let limits = run.flags.limits();
        let group = Cgroup::create(&self.hierarchy, &name, &limits)?;
        let mut sandbox = Sandbox::new("/");
        sandbox.hostname = Some(cli_api::id::short(&run.id).to_owned());
        let mut process = process(&run.args, &run.env);
        process.cwd = run.start_dir();
        let created = namespaces::create(
            &sandbox,
            &process,
            streams(&stdio),
            (&group.entry()?).into(),
        )?;
        started(created, group)
    }

    /// setns(2) as before, into the container's group: a limit that `exec`
    /// could step around would be none.
    fn exec(
        &self,
        inside: &Inside<LimitArgs>,
        args: &[String],
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let group = self.group(&inside.run.id)?;
        let process = process(args, &inside.run.env);
        let created = namespaces::join(
            inside.pid.cast_signed(),
            &process,
            streams(&stdio),
            (&group.entry()?).into(),
        )?;
        started(created, group)
    }

    /// A group outlives its processes; somebody has to rmdir(2) it.
    fn remove(&self, id: &str) -> anyhow::Result<()> {
        let group = self.group(id)?;
        group.kill()?;
        Ok(group.remove()?)
    }

    /// Where the limits are, to be looked at, and what has been used.
    fn inspect(&self, inside: &Inside<LimitArgs>) -> Value {
        describe(&self.hierarchy, &inside.run.id)
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

/// The command with root's usual rights in a container.
fn process(args: &[String], env: &[String]) -> Process {
    let mut process = Process::new(args.iter().cloned());
    process.env = env.to_vec();
    // Only the finished engine has somebody who outlives the daemon.
    process.die_with_parent = true;
    process
}

fn streams(stdio: &Stdio) -> namespaces::Stdio<'_> {
    namespaces::Stdio::Streams {
        stdin: stdio.input.as_fd(),
        stdout: stdio.output.as_fd(),
        stderr: stdio.errors.as_fd(),
    }
}

/// Opens the gate, now that the caller is ready for its end. The group's
/// counter tells the OOM killer's work from a plain `kill -9`.
fn started(mut created: Created, group: Cgroup) -> anyhow::Result<Started> {
    created.start()?;
    Ok(Started {
        pid: created.pid().cast_unsigned(),
        wait: Box::new(move || {
            let exit = created.wait()?;
            let oom_killed = group.oom_kills()? > 0;
            // The last one out takes the group away.
            if group.procs()?.is_empty() {
                group.remove()?;
            }
            Ok(Ended { code: exit.code, oom_killed })
        }),
    })
}

fn main() -> ExitCode {
    cli_api::main::<Limited>()
}
