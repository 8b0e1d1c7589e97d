//! Stage 6: a world of its own, with limits, made from an image at once, and
//! with data that stays.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cgroups::{Cgroup, Entry, Hierarchy, LimitArgs, LimitVerbs, group_name};
use clap::{Args, Subcommand};
use cli_api::stage::{Ended, Inside, Run, Stage, Started, Stdio};
use cli_api::state;
use layers::build::Builder;
use layers::registry::RegistryConfig;
use layers::runner::NamespaceRunner;
use layers::stage::{FromRegistry, ImageVerbs};
use layers::{Image, Snapshots, Store, stage};
use namespaces::{CgroupEntry, Created, Process, Sandbox, User};
use overlay_cow::{LayerVerbs, OverlaySnapshots, Volatile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use volumes::{Claim, MountArgs, VolumeStore, VolumeVerbs, add_anonymous};

struct Lasting {
    hierarchy: Hierarchy,
    state: PathBuf,
    store: Store,
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
        Ok(Lasting {
            hierarchy: Hierarchy::detect()?,
            state: state.to_owned(),
            store: Store::open(state)?,
            snapshots: OverlaySnapshots::open(state.join("overlay2"))?,
            volumes: VolumeStore::open(state)?,
        })
    }

    /// The layers as before, and over them what does not go with them.
    fn start(&self, run: &Run<Flags>, stdio: Stdio) -> anyhow::Result<Started> {
        let image = self.image(&run.args[0])?;
        let rootfs = self.snapshots.prepare(&run.id, image.layers())?;
        let name = group_name(&run.id);
        let limits = run.flags.limits.limits();
        let group = Cgroup::create(&self.hierarchy, &name, &limits)?;
        let claims = self.claim(run, &image)?;
        let mounts = self.volumes.prepare(&run.id, &claims, &rootfs)?;
        let mut sandbox = Sandbox::new(rootfs);
        for mount in mounts.into_iter().chain(run.flags.mounts.tmpfs_mounts()?)
        {
            sandbox.mount(mount);
        }
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
        inside: &Inside<Flags>,
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

    /// Everything goes but the volumes, unless they have no name.
    fn remove(&self, id: &str) -> anyhow::Result<()> {
        let group = self.group(id)?;
        group.kill()?;
        group.remove()?;
        self.snapshots.remove(id)?;
        let (claims, auto_remove) = self.claims(id);
        Ok(self.volumes.release(id, &claims, auto_remove)?)
    }

    /// Where the limits are, to be looked at, and what has been used.
    fn inspect(&self, inside: &Inside<Flags>) -> Value {
        let Ok(group) = self.group(&inside.run.id) else {
            return Value::Null;
        };
        json!({
            "CgroupMode": self.hierarchy.mode().to_string(),
            "Cgroup": group.dirs().collect::<Vec<_>>(),
            "Stats": group.stats().ok(),
            "Mounts": self.claims(&inside.run.id).0,
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

    /// What the flags and the image's VOLUME ask for; it is written down, to
    /// be given back when the container is removed.
    fn claim(
        &self,
        run: &Run<Flags>,
        image: &Image,
    ) -> anyhow::Result<Vec<Claim>> {
        let mut specs = run.flags.mounts.specs(&run.cwd)?;
        let asked = image.config.config.volumes.iter().flatten();
        add_anonymous(&mut specs, asked.map(|(target, _)| target.as_str()));
        let claims = self.volumes.claim(&run.id, &specs)?;
        state::write_json(
            &self.claims_file(&run.id),
            &(&claims, run.auto_remove),
        )?;
        Ok(claims)
    }

    fn claims(&self, id: &str) -> (Vec<Claim>, bool) {
        state::read_json(&self.claims_file(id)).unwrap_or_default()
    }

    fn claims_file(&self, id: &str) -> PathBuf {
        self.state.join("containers").join(id).join("mounts.json")
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
fn process(image: &Image, run: &Run<Flags>, args: &[String]) -> Process {
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
    cli_api::main::<Lasting>()
}
