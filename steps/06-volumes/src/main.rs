//! Stage 6: a world of its own, with limits, made from an image at once, and
//! with data that stays.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cgroups::{Cgroup, Hierarchy, LimitArgs, LimitVerbs, describe, group_name};
use clap::{Args, Subcommand};
use cli_api::stage::{Ended, Inside, Run, Stage, Started, Stdio};
use layers::build::Builder;
use layers::runner::NamespaceRunner;
use layers::stage::{FromRegistry, ImageVerbs};
use layers::{Snapshots, Store, stage};
use namespaces::{Created, Sandbox};
use overlay_cow::{LayerVerbs, OverlaySnapshots, Volatile};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use volumes::{MountArgs, VolumeStore, VolumeVerbs};

/// Images and layers are in the store, each once; `snapshots` mounts root
/// file systems over them; `volumes` has what stays.
struct Lasting {
    hierarchy: Hierarchy,
    state: PathBuf,
    store: Arc<Store>,
    images: FromRegistry,
    snapshots: OverlaySnapshots,
    volumes: VolumeStore,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Flags {
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    mounts: MountArgs,
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
    #[command(flatten)]
    Volumes(VolumeVerbs),
}

impl Stage for Lasting {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");
    const OPERAND: &str = "IMAGE";
    type Flags = Flags;
    type Verbs = Verbs;

    fn open(state: &Path) -> anyhow::Result<Lasting> {
        let store = Arc::new(Store::open(state)?);
        Ok(Lasting {
            hierarchy: Hierarchy::detect()?,
            state: state.to_owned(),
            images: FromRegistry::new(store.clone()),
            store,
            snapshots: OverlaySnapshots::open(state.join("overlay2"))?,
            volumes: VolumeStore::open(state)?,
        })
    }

    /// The layers as before, and over them what does not go with them.
    fn start(&self, run: &Run<Flags>, stdio: Stdio) -> anyhow::Result<Started> {
        let image = self.images.image(&run.args[0])?;
        let rootfs = self.snapshots.prepare(&run.id, image.layers())?;
        let name = group_name(&run.id);
        let limits = run.flags.limits.limits();
        let group = Cgroup::create(&self.hierarchy, &name, &limits)?;
        let mut sandbox = Sandbox::new(&rootfs);
        sandbox.hostname = Some(cli_api::id::short(&run.id).to_owned());
        let flags = &run.flags.mounts;
        let targets = stage::volumes(&image);
        let mounts =
            self.volumes.mounts(&self.state, run, flags, targets, &rootfs)?;
        mounts.into_iter().for_each(|mount| sandbox.mount(mount));
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
        inside: &Inside<Flags>,
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

    /// Everything goes but the volumes, unless they have no name.
    fn remove(&self, id: &str) -> anyhow::Result<()> {
        let group = self.group(id)?;
        group.kill()?;
        group.remove()?;
        self.snapshots.remove(id)?;
        self.volumes.give_back(&self.state, id)
    }

    /// Where the limits are, to be looked at, and what has been used.
    fn inspect(&self, inside: &Inside<Flags>) -> Value {
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
            Verbs::Volumes(verb) => verb.run(&self.volumes, out),
            Verbs::Layers(verb) => {
                verb.run(&self.store, &self.snapshots, &self.state, out)
            }
        }
    }
}

impl Lasting {
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
    cli_api::main::<Lasting>()
}
