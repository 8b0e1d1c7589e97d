//! Stage 2: the same process, in a world of its own.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use cli_api::stage::{
    Ended, Inside, NoFlags, NoVerbs, Run, Stage, Started, Stdio,
};
use namespaces::{CgroupEntry, Created, Process, Sandbox};
use serde_json::{Value, json};

// ANCHOR: isolated
struct Isolated;

impl Stage for Isolated {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");
    type Flags = NoFlags;
    type Verbs = NoVerbs;

    fn open(_state: &Path) -> anyhow::Result<Isolated> {
        Ok(Isolated)
    }

    /// clone3(2) with new namespaces. There are no images yet, so its root
    /// is the host's own: it can touch the host's files, but it sees none of
    /// the host's processes, mounts made later, or network.
    fn start(
        &self,
        run: &Run<NoFlags>,
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let mut sandbox = Sandbox::new("/");
        sandbox.hostname = Some(cli_api::id::short(&run.id).to_owned());
        let mut process = process(&run.args, &run.env);
        process.cwd = run.start_dir();
        let created = namespaces::create(
            &sandbox,
            &process,
            streams(&stdio),
            CgroupEntry::default(),
        )?;
        started(created)
    }

    /// setns(2) into all the namespaces of the first process.
    fn exec(
        &self,
        inside: &Inside<NoFlags>,
        args: &[String],
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let process = process(args, &inside.run.env);
        let created = namespaces::join(
            inside.pid.cast_signed(),
            &process,
            streams(&stdio),
            CgroupEntry::default(),
        )?;
        started(created)
    }

    /// Which namespaces it is in: `lsns` and `ls -l /proc/PID/ns` show the
    /// same numbers.
    fn inspect(&self, inside: &Inside<NoFlags>) -> Value {
        let all = namespaces::Namespaces::default();
        let inode = |kind: namespaces::Kind| {
            let path = format!("/proc/{}/ns/{}", inside.pid, kind.name());
            let link = std::fs::read_link(path).unwrap_or_default();
            (kind.name().to_owned(), json!(link))
        };
        let list = all.all().map(|(kind, _)| inode(kind));
        json!({ "Namespaces": Value::Object(list.into_iter().collect()) })
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

/// Opens the gate, now that the caller is ready for its end.
fn started(mut created: Created) -> anyhow::Result<Started> {
    created.start()?;
    Ok(Started {
        pid: created.pid().cast_unsigned(),
        wait: Box::new(move || {
            let exit = created.wait()?;
            Ok(Ended { code: exit.code, oom_killed: false })
        }),
    })
}
// ANCHOR_END: isolated

fn main() -> ExitCode {
    cli_api::main::<Isolated>()
}
