//! Stage 5: a world of its own, with limits, made from an image at once.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cgroups::{Cgroup, Hierarchy, LimitArgs, LimitVerbs, describe, group_name};
use clap::Subcommand;
use cli_api::stage::{Ended, Inside, Run, Stage, Started, Stdio};
use layers::build::Builder;
use layers::runner::NamespaceRunner;
use layers::stage::{FromRegistry, ImageVerbs};
use layers::{Snapshots, Store, stage};
use namespaces::{Created, Sandbox};
use overlay_cow::{LayerVerbs, OverlaySnapshots, Volatile};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Images and layers are in the store, each once; `snapshots` mounts root
/// file systems over them.
struct Layered {
    hierarchy: Hierarchy,
    state: PathBuf,
    store: Arc<Store>,
    images: FromRegistry,
    snapshots: OverlaySnapshots,
}

/// Each step brought commands of its own.
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
        let store = Arc::new(Store::open(state)?);
        Ok(Layered {
            hierarchy: Hierarchy::detect()?,
            state: state.to_owned(),
            images: FromRegistry::new(store.clone()),
            store,
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
        let image = self.images.image(&run.args[0])?;
        let rootfs = self.snapshots.prepare(&run.id, image.layers())?;
        let name = group_name(&run.id);
        let limits = run.flags.limits();
        let group = Cgroup::create(&self.hierarchy, &name, &limits)?;
        let mut sandbox = Sandbox::new(rootfs);
        sandbox.hostname = Some(cli_api::id::short(&run.id).to_owned());
        let args = stage::command(&image, &run.args[1..])?;
        let created = namespaces::create(
            &sandbox,
            &stage::process(&image, &args, &run.env, run.workdir.as_deref()),
            streams(&stdio),
            (&group.entry()?).into(),
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
        let image = self.images.image(&inside.run.args[0])?;
        let created = namespaces::join(
            inside.pid.cast_signed(),
            &stage::process(&image, args, &inside.run.env, None),
            streams(&stdio),
            (&group.entry()?).into(),
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
        describe(&self.hierarchy, &inside.run.id)
    }

    fn verb(
        &self,
        verb: Verbs,
        cwd: &Path,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        match verb {
            Verbs::Limits(verb) => verb.run(&self.hierarchy, &self.state, out),
            // The builder knows neither namespaces nor mounts: how a RUN is
            // executed, and over which files, is handed to it. Its mounts
            // are for one use, so they need not wait for the disk.
            Verbs::Images(verb) => {
                let builder = Builder {
                    store: &self.store,
                    snapshots: &Volatile(&self.snapshots),
                    runner: &NamespaceRunner,
                    images: &self.images,
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
    cli_api::main::<Layered>()
}
