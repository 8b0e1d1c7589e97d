//! Stage 5: a world of its own, with limits, made from an image at once.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cgroups::{Cgroup, Entry, Hierarchy, LimitArgs, LimitVerbs, group_name};
use clap::Subcommand;
use cli_api::stage::{Ended, Inside, Run, Stage, Started, Stdio};
use layers::build::Builder;
use layers::registry::RegistryConfig;
use layers::runner::NamespaceRunner;
use layers::stage::{FromRegistry, ImageVerbs};
use layers::{Image, Snapshots, Store, stage};
use namespaces::{CgroupEntry, Created, Process, Sandbox, User};
use overlay_cow::{LayerVerbs, OverlaySnapshots, Volatile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

struct Layered {
    hierarchy: Hierarchy,
    state: PathBuf,
    store: Store,
    snapshots: OverlaySnapshots,
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
enum Verbs {
    #[command(flatten)]
    Limits(LimitVerbs),
    #[command(flatten)]
    Images(ImageVerbs),
    #[command(flatten)]
    Layers(LayerVerbs),
}

impl Stage for Layered {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");
    const OPERAND: &str = "IMAGE";
    type Flags = LimitArgs;
    type Verbs = Verbs;

    fn open(state: &Path) -> anyhow::Result<Layered> {
        Ok(Layered {
            hierarchy: Hierarchy::detect()?,
            state: state.to_owned(),
            store: Store::open(state)?,
            snapshots: OverlaySnapshots::open(state.join("overlay2"))?,
        })
    }

    /// Not a file is copied: the layers are mounted as they lie there, with
    /// an empty one on top that takes the writes.
    fn start(
        &self,
        run: &Run<LimitArgs>,
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let image = self.image(&run.args[0])?;
        let rootfs = self.snapshots.prepare(&run.id, image.layers())?;
        let name = group_name(&run.id);
        let limits = run.flags.limits();
        let group = Cgroup::create(&self.hierarchy, &name, &limits)?;
        let mut sandbox = Sandbox::new(rootfs);
        sandbox.hostname = Some(cli_api::id::short(&run.id).to_owned());
        let args = stage::command(&image, &run.args[1..])?;
        let created = namespaces::create(
            &sandbox,
            &process(&image, run, &args),
            streams(&stdio),
            way_in(&group.entry()?),
        )?;
        started(created, group)
    }

    /// setns(2) as before, with the environment of the image.
    fn exec(
        &self,
        inside: &Inside<LimitArgs>,
        args: &[String],
        stdio: Stdio,
    ) -> anyhow::Result<Started> {
        let group = self.group(&inside.run.id)?;
        let image = self.image(&inside.run.args[0])?;
        let created = namespaces::join(
            inside.pid.cast_signed(),
            &process(&image, &inside.run, args),
            streams(&stdio),
            way_in(&group.entry()?),
        )?;
        started(created, group)
    }

    /// A group outlives its processes, and so do a mount and what was written.
    fn remove(&self, id: &str) -> anyhow::Result<()> {
        let group = self.group(id)?;
        group.kill()?;
        group.remove()?;
        Ok(self.snapshots.remove(id)?)
    }

    /// Where the limits are, to be looked at, and what has been used.
    fn inspect(&self, inside: &Inside<LimitArgs>) -> Value {
        let Ok(group) = self.group(&inside.run.id) else {
            return Value::Null;
        };
        json!({
            "CgroupMode": self.hierarchy.mode().to_string(),
            "Cgroup": group.dirs().collect::<Vec<_>>(),
            "Stats": group.stats().ok(),
        })
    }

    fn verb(
        &self,
        verb: Verbs,
        cwd: &Path,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        match verb {
            Verbs::Limits(verb) => verb.run(&self.hierarchy, &self.state, out),
            Verbs::Images(verb) => {
                let images = self.registry();
                let builder = Builder {
                    store: &self.store,
                    snapshots: &Volatile(&self.snapshots),
                    runner: &NamespaceRunner,
                    images: &images,
                };
                verb.run(builder, &self.state, cwd, out)
            }
            Verbs::Layers(verb) => {
                verb.run(&self.store, &self.snapshots, &self.state, out)
            }
        }
    }
}

impl Layered {
    fn group(&self, id: &str) -> anyhow::Result<Cgroup> {
        Ok(Cgroup::open(&self.hierarchy, &group_name(id))?)
    }

    fn registry(&self) -> FromRegistry<'_> {
        FromRegistry { store: &self.store, config: RegistryConfig::default() }
    }

    /// The image of that name; pulled if it is not here.
    fn image(&self, name: &str) -> anyhow::Result<Image> {
        stage::find_or_pull(&self.store, &self.registry(), name)
    }
}

/// The command with root's usual rights in a container, and with what the
/// image's config says: environment, directory, user.
fn process(image: &Image, run: &Run<LimitArgs>, args: &[String]) -> Process {
    let config = &image.config.config;
    let mut process = Process::new(args.iter().cloned());
    process.env = stage::environment(image, &run.env);
    process.user = User::named(&config.user);
    let workdir = run.workdir.clone();
    process.cwd = workdir.unwrap_or_else(|| stage::directory(image));
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

/// On v2 the process is born in the group, on v1 it is put in at once.
fn way_in(entry: &Entry) -> CgroupEntry<'_> {
    CgroupEntry {
        into: entry.clone_into.as_ref().map(AsFd::as_fd),
        procs: &entry.procs,
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
            Ok(Ended { code: exit.code, oom_killed })
        }),
    })
}

fn main() -> ExitCode {
    cli_api::main::<Layered>()
}
