//! Building images: a Dockerfile, step by step, each step's result kept.
//!
//! **An instruction is a function from an image to an image.** Most only
//! edit the config (`metadata`); RUN and COPY change files, and what they
//! changed becomes one more layer. Because a function of the same inputs has
//! the same result, a step that was carried out before need not be carried
//! out again: that is the whole layer cache, and `cache.rs` is mostly about
//! what counts as an input.
//!
//! ```text
//! text ─▶ dockerfile ─▶ plan ─▶ session ─▶ stage ─┬▶ metadata    edits
//!         stages of     which   a thread   the    │              the config
//!         instructions  stages  per stage  loop   ├▶ copy_step ─▶ copying ─┐
//!                                                 └▶ run_step  ─▶ RunStep ─┤
//!                          cache ◀──────────── layer ◀── Snapshots ◀───────┘
//! ```
//!
//! The builder knows neither namespaces nor overlay mounts: how a command is
//! run and how a writable root file system comes about are handed to it (the
//! traits [`RunStep`] and [`Snapshots`]).

mod add;
mod board;
mod cache;
mod copy_step;
mod copying;
pub mod dockerfile;
mod entitlement;
pub mod expand;
mod explain;
mod glob;
pub mod ignore;
mod link;
mod metadata;
mod mode;
mod mounted;
mod options;
mod output;
mod plan;
pub mod remote;
mod rootpath;
mod run_mounts;
mod run_step;
mod scope;
mod session;
mod stage;
mod step;
mod through;
mod tree;
mod users;

pub use cache::{
    CachedStep, cache_mounts, cached_layers, cached_steps, forget_steps,
    prune_cache,
};
pub use dockerfile::Dockerfile;
pub use entitlement::Entitlement;
pub use metadata::change;
pub use options::{
    BuildError, BuildEvent, BuildOptions, CacheReport, StepBegins, StepEnds,
};

use crate::{ImageId, ImageSource, RunStep, Snapshots, Store};
use ignore::Ignore;
use output::Events;
use session::Session;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything a build needs from outside.
#[derive(Clone, Copy)]
pub struct Builder<'a> {
    /// Where images and layers are.
    pub store: &'a Store,
    /// Makes a writable root file system from layers.
    pub snapshots: &'a dyn Snapshots,
    /// Runs a command in it.
    pub runner: &'a dyn RunStep,
    /// Gets base images.
    pub images: &'a dyn ImageSource,
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("store", self.store).finish()
    }
}

impl Builder<'_> {
    /// Builds the image that `options` ask for from the files in `context`,
    /// a directory, and stores and tags it.
    pub fn build(
        &self,
        context: &Path,
        options: &BuildOptions,
        events: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<ImageId, BuildError> {
        self.build_file(context, options, Events::InOrder(events))
    }

    /// The same for who can follow several stages at the same time: events
    /// come as they happen, with the number of their stage in this build.
    pub fn build_live(
        &self,
        context: &Path,
        options: &BuildOptions,
        events: &mut (dyn FnMut(usize, BuildEvent) + Send),
    ) -> Result<ImageId, BuildError> {
        self.build_file(context, options, Events::Live(events))
    }

    fn build_file(
        &self,
        context: &Path,
        options: &BuildOptions,
        events: Events<'_>,
    ) -> Result<ImageId, BuildError> {
        if options.squash {
            return Err(BuildError::Refused {
                flag: "--squash",
                reason: "it is experimental in Docker and throws the shared \
                         layers away; use a second stage and COPY --from",
            });
        }
        let beside = options.dockerfile_dir.as_deref().unwrap_or(context);
        let (name, text) = read_dockerfile(beside, &options.dockerfile)?;
        let tree = tree::Tree {
            root: canonical(context)?,
            ignore: read_ignore(context, beside, &name)?,
            owners: false,
        };
        self.build_text(&text, tree, options, events)
            .map_err(|error| error.in_file(&name))
    }

    fn build_text(
        &self,
        text: &str,
        context: tree::Tree,
        options: &BuildOptions,
        mut events: Events<'_>,
    ) -> Result<ImageId, BuildError> {
        let file = Dockerfile::parse(text)?;
        let events = events.lend();
        Session::new(self, options, &file, context, events)?.run()
    }
}

fn canonical(context: &Path) -> Result<PathBuf, BuildError> {
    let find = crate::error::io_at("find the build context", context);
    Ok(context.canonicalize().map_err(find)?)
}

/// Reads the Dockerfile; links in its path are followed inside the context.
fn read_dockerfile(
    context: &Path,
    name: &Path,
) -> Result<(PathBuf, String), BuildError> {
    let name = match name.as_os_str().is_empty() {
        true => Path::new("Dockerfile"),
        false => name,
    };
    let failed = |problem: String| BuildError::Step {
        message: format!(
            "failed to read dockerfile {}: {problem}",
            name.display()
        ),
        excerpt: None,
    };
    let path = rootpath::resolve(context, name)
        .map_err(|error| failed(error.to_string()))?;
    let text = fs::read_to_string(&path).map_err(|error| {
        failed(match error.kind() {
            std::io::ErrorKind::NotFound => {
                "there is no such file in the build context; name another \
                 one with --file"
                    .into()
            }
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
            _ => error.to_string(),
        })
    })?;
    if text.trim().is_empty() {
        let message =
            format!("the Dockerfile ({}) cannot be empty", name.display());
        return Err(BuildError::Step { message, excerpt: None });
    }
    Ok((name.to_owned(), text))
}

/// `NAME.dockerignore` beside the Dockerfile, else `.dockerignore`.
fn read_ignore(
    context: &Path,
    beside: &Path,
    file: &Path,
) -> Result<Ignore, BuildError> {
    let mut own = file.as_os_str().to_owned();
    own.push(".dockerignore");
    let common = Path::new(".dockerignore");
    for (dir, name) in [(beside, Path::new(&own)), (context, common)] {
        let path = rootpath::resolve(dir, name);
        let Ok(text) = path.and_then(fs::read_to_string) else { continue };
        return Ignore::parse(&text).map_err(|problem| BuildError::Step {
            message: format!("{}: {problem}", name.display()),
            excerpt: None,
        });
    }
    Ok(Ignore::default())
}

#[cfg(test)]
mod tests;
