//! What a stage binary with images needs: the verbs `pull`, `images`, `tag`,
//! `rmi` and `build`, and what an image's config means for a process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cli_api::stage::{Record, records};
use cli_api::table::Table;
use cli_api::{human, id};
use namespaces::Process;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::build::{BuildEvent, BuildOptions, Builder};
use crate::registry::{PullOptions, RegistryConfig};
use crate::store::{RemoveOptions, Removed, User};
use crate::{
    Image, ImageId, ImageSource, Platform, Reference, Store, registry,
};

/// They parse from the command line and travel to the daemon as JSON.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum ImageVerbs {
    /// Get an image from a registry
    Pull {
        /// As in nginx, debian:12 or localhost:5000/web
        image: Reference,
    },
    /// List images
    Images,
    /// Give an image a further name
    Tag {
        /// Name or ID
        image: String,
        /// The new name
        name: Reference,
    },
    /// Remove images, or names of them
    Rmi {
        /// Names or IDs
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Build an image from a Dockerfile
    Build(BuildArgs),
}

/// The flags of `build`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct BuildArgs {
    /// A name for the result
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<Reference>,
    /// The Dockerfile, seen from CONTEXT
    #[arg(short, long, value_name = "FILE", default_value = "Dockerfile")]
    file: PathBuf,
    /// The stage to stop at
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set an ARG
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// Run every instruction again
    #[arg(long)]
    no_cache: bool,
    /// Say for every instruction why it was run again
    #[arg(long)]
    explain: bool,
    /// Say nothing but the ID of the result
    #[arg(short, long)]
    quiet: bool,
    /// The directory that COPY copies from
    context: PathBuf,
}

impl ImageVerbs {
    /// Does it. `state` is where the stage keeps its records, `cwd` where
    /// the user is.
    ///
    /// # Errors
    /// What the store, the registry or the builder says.
    pub fn run(
        self,
        builder: Builder<'_>,
        state: &Path,
        cwd: &Path,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        match self {
            Self::Pull { image } => pull(builder.images, &image, out),
            Self::Images => list(builder.store, out),
            Self::Tag { image, name } => {
                let id = builder.store.resolve(&image)?.id;
                Ok(builder.store.tag(&name, &id)?)
            }
            Self::Rmi { images } => images
                .iter()
                .try_for_each(|it| remove(builder.store, it, state, out)),
            Self::Build(args) => build(builder, args, cwd, out),
        }
    }
}

/// Fetches an image and prints what `docker pull` prints. The download has
/// threads of its own; this one writes what they report.
fn pull(
    images: &dyn ImageSource,
    reference: &Reference,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (report, reports) = mpsc::channel::<registry::Progress>();
    let reference = reference.clone().or_latest();
    thread::scope(|scope| {
        let fetch = scope.spawn({
            let reference = &reference;
            move || {
                let tell = |progress| drop(report.send(progress));
                images.fetch(reference, None, true, &tell)
            }
        });
        for progress in reports {
            // Bytes are for progress bars, which need a terminal.
            if progress.bytes.is_some() {
                continue;
            }
            match progress.id.as_str() {
                "" => writeln!(out, "{}", progress.status)?,
                id => writeln!(out, "{id}: {}", progress.status)?,
            }
        }
        match fetch.join() {
            Ok(fetched) => fetched.map(drop).context("pull"),
            Err(_) => bail!("pull {}: a thread panicked", reference.familiar()),
        }
    })
}

fn list(store: &Store, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table =
        Table::new(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    for image in store.list()? {
        let created = image.config.created.as_deref().unwrap_or_default();
        let created = created.parse().map_or_else(
            |_| "N/A".to_owned(),
            |time| format!("{} ago", human::since(time)),
        );
        #[allow(clippy::cast_precision_loss, reason = "three digits shown")]
        let size = human::size(image.record.size as f64, 3);
        let mut names = store.names(&image.id)?.tags;
        if names.is_empty() {
            names.push("<none>:<none>".to_owned());
        }
        for name in names {
            let (repository, tag) =
                name.rsplit_once(':').unwrap_or((&name, "<none>"));
            let id = id::short(image.id.as_str());
            table.row([repository, tag, id, &created, &size]);
        }
    }
    Ok(write!(out, "{table}")?)
}

fn remove(
    store: &Store,
    name: &str,
    state: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let options = RemoveOptions { force: false, parents: true };
    for line in store.remove(name, options, &|| users(store, state))? {
        match line {
            Removed::Untagged(name) => writeln!(out, "Untagged: {name}")?,
            Removed::Deleted(id) => writeln!(out, "Deleted: {id}")?,
        }
    }
    Ok(())
}

/// The containers of the stage with the images they were made from.
fn users(store: &Store, state: &Path) -> Vec<User> {
    let user = |container: Record<Value>| {
        let image = store.resolve(container.config.args.first()?).ok()?;
        Some(User {
            running: container.is_running(),
            layers: image.layers().to_vec(),
            image: image.id,
            container: container.id,
        })
    };
    records(state).into_iter().filter_map(user).collect()
}

fn build(
    builder: Builder<'_>,
    args: BuildArgs,
    cwd: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let pairs = args.args.iter().map(|pair| match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("--build-arg {pair}: must be NAME=VALUE"),
    });
    let context = cwd.join(&args.context);
    let options = BuildOptions {
        origin: context.display().to_string(),
        dockerfile: args.file,
        target: args.target,
        tags: args.tags,
        args: pairs.collect::<anyhow::Result<_>>()?,
        no_cache: args.no_cache,
        ..BuildOptions::default()
    };
    let (event, events) = mpsc::channel();
    thread::scope(|scope| {
        let job = scope.spawn(|| {
            let mut tell = |it| drop(event.send(it));
            let built = builder.build(&context, &options, &mut tell);
            drop(event);
            built
        });
        for event in events {
            if !args.quiet {
                show(&event, args.explain, out)?;
            }
        }
        match job.join() {
            Ok(Ok(image)) if args.quiet => Ok(writeln!(out, "{image}")?),
            Ok(built) => Ok(built.map(drop)?),
            Err(_) => bail!("build: a thread panicked"),
        }
    })
}

fn show(
    event: &BuildEvent,
    explain: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    match event {
        BuildEvent::Line(line) => out.write_all(line.as_bytes()),
        BuildEvent::Output(_, bytes) => out.write_all(bytes),
        BuildEvent::Cache(report) if explain => {
            writeln!(out, " ---> {report}")
        }
        _ => Ok(()),
    }
}

/// Images come from the registries of the internet, and from those on this
/// machine.
#[derive(Debug, Clone)]
pub struct FromRegistry {
    store: Arc<Store>,
    config: RegistryConfig,
}

impl FromRegistry {
    /// What is pulled goes into `store`.
    pub fn new(store: Arc<Store>) -> FromRegistry {
        FromRegistry { store, config: RegistryConfig::default() }
    }

    /// The image of that name; pulled if it is not here.
    ///
    /// # Errors
    /// What the store or the registry says.
    pub fn image(&self, name: &str) -> anyhow::Result<Image> {
        match self.store.resolve(name) {
            Err(error) if error.is_not_found() => {
                let reference: Reference = name.parse()?;
                let pulled = self.fetch(&reference, None, false, &|_| ());
                let id = pulled.with_context(|| {
                    let name = reference.or_latest().familiar();
                    format!("Unable to find image '{name}' locally")
                })?;
                Ok(self.store.image(&id)?)
            }
            found => Ok(found?),
        }
    }
}

impl ImageSource for FromRegistry {
    fn fetch(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        always: bool,
        progress: &(dyn Fn(registry::Progress) + Sync),
    ) -> crate::Result<ImageId> {
        let reference = reference.clone().or_latest();
        let here = self.store.resolve(&reference.familiar()).ok();
        if let Some(image) = here.filter(|it| !always && it.suits(platform)) {
            return Ok(image.id);
        }
        let options = PullOptions {
            platform: platform.cloned(),
            config: self.config.clone(),
            ..PullOptions::default()
        };
        let pulled =
            registry::pull(&self.store, &reference, &options, progress)?;
        Ok(pulled.image)
    }
}

/// The command that an image and the words after its name make: the words
/// take the place of CMD, and ENTRYPOINT comes before either.
///
/// # Errors
/// Docker's sentence if that is nothing at all.
pub fn command(image: &Image, words: &[String]) -> anyhow::Result<Vec<String>> {
    let config = &image.config.config;
    let entrypoint = config.entrypoint.clone().unwrap_or_default();
    let rest = match words {
        [] => config.cmd.clone().unwrap_or_default(),
        words => words.to_vec(),
    };
    let all = [entrypoint, rest].concat();
    if all.is_empty() {
        bail!("no command specified");
    }
    Ok(all)
}

/// A process of an image, with root's usual rights in a container and with
/// what the image's config says: environment, directory, user. `env` and
/// `workdir` are the user's, and win.
pub fn process(
    image: &Image,
    args: &[String],
    env: &[String],
    workdir: Option<&Path>,
) -> Process {
    let config = &image.config.config;
    let mut process = Process::new(args.iter().cloned());
    process.env = environment(image, env);
    process.user = namespaces::User::named(&config.user);
    process.cwd = match (workdir, config.working_dir.as_str()) {
        (Some(workdir), _) => workdir.to_owned(),
        (None, "") => PathBuf::from("/"),
        (None, workdir) => PathBuf::from(workdir),
    };
    // Only the finished engine has somebody who outlives the daemon.
    process.die_with_parent = true;
    process
}

/// The places of the image's VOLUME.
pub fn volumes(image: &Image) -> impl Iterator<Item = &str> {
    let volumes = image.config.config.volumes.iter().flatten();
    volumes.map(|(target, _)| target.as_str())
}

/// The image's environment with `more` over it.
fn environment(image: &Image, more: &[String]) -> Vec<String> {
    let mut all = image.config.config.env.clone().unwrap_or_default();
    for pair in more {
        let name = pair.split('=').next().unwrap_or_default();
        all.retain(|old| old.split('=').next() != Some(name));
        all.push(pair.clone());
    }
    all
}
