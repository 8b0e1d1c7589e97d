//! `docker build`: step 4's builder with this engine's parts, talking to the
//! client as Docker's classic builder does.

mod context;
mod git;
mod prune;
mod remote;
mod run;

use std::path::Path;
use std::sync::Arc;

use layers::build::{BuildError, BuildEvent, BuildOptions, Builder};
use layers::{ImageId, ImageSource, MountSource, Reference, RunMount, Stream};
use serde_json::json;

use super::Engine;
use super::error::{Error, Result};
use super::images::auth::Logins;
use super::images::pull::{self, Source};
use super::progress::Progress;

pub use context::{Context, receive};
pub use prune::{CachePruned, FILTERS, Prune};
pub use remote::fetch;
pub use run::{RunLimits, Runner, sweep};

/// What `POST /build` asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// For the builder.
    pub options: BuildOptions,
    /// Only the ID in the end (`-q`).
    pub quiet: bool,
    /// Say for every step why the cache was not used (`--explain`).
    pub explain: bool,
    /// For every RUN.
    pub limits: RunLimits,
    /// Hold on where a RUN has failed until the image of it is removed.
    pub hold_failed: bool,
    /// For base images, by registry.
    pub logins: Logins,
}

impl Engine {
    /// Builds an image from the files in `context`. A failure of the build
    /// is told to the client in the stream, as Docker does.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a Dockerfile that does not parse.
    pub fn build(
        self: &Arc<Self>,
        context: &Path,
        mut request: Request,
        progress: &Progress,
    ) -> Result<()> {
        request.options.cancel = progress.cancel();
        let source = Source {
            engine: self,
            logins: &request.logins,
            cancel: progress.cancel(),
        };
        let mut teller = Teller { progress, request: &request };
        let mut tell = |event| teller.tell(event);
        let built = self.with_builder(&request, &source, |builder| {
            builder.build(context, &request.options, &mut tell)
        });
        match built {
            Ok(id) => self.built(&id, &request, progress),
            // Nothing has begun yet, so this is an error of the request.
            Err(error @ BuildError::Syntax(_)) if !progress.began() => {
                return Err(Error::Invalid(error.to_string()));
            }
            Err(error) => failed(&error, progress),
        }
        Ok(())
    }

    /// The builder with this engine's parts.
    pub(crate) fn with_builder<T>(
        self: &Arc<Self>,
        request: &Request,
        images: &dyn ImageSource,
        work: impl FnOnce(&Builder<'_>) -> T,
    ) -> T {
        let gone = || request.options.cancel.check().is_err();
        let mut runner = Runner::new(self, request.limits.clone(), &gone);
        runner.hold_failed = request.hold_failed;
        let snapshots = overlay_cow::Volatile(&self.snapshots);
        work(&Builder {
            store: &self.store,
            snapshots: &snapshots,
            runner: &runner,
            images,
        })
    }

    fn built(&self, id: &ImageId, request: &Request, progress: &Progress) {
        for tag in &request.options.tags {
            let tag = tag.clone().or_latest();
            self.tell_image("tag", id, &tag.familiar());
        }
        if request.quiet {
            progress.stream(&format!("{id}\n"));
        }
    }
}

/// Docker shows only the sentence; the excerpt of the Dockerfile that ours
/// ends with goes into the stream before it.
fn failed(error: &BuildError, progress: &Progress) {
    let (sentence, excerpt) = error.parts();
    if let Some(excerpt) = excerpt {
        progress.stream(&format!("{excerpt}\n"));
    }
    progress.error(&sentence, Some(error.code()));
}

/// Turns the builder's events into lines.
struct Teller<'a> {
    progress: &'a Progress,
    request: &'a Request,
}

impl Teller<'_> {
    fn tell(&mut self, event: BuildEvent) {
        let quiet = self.request.quiet;
        match event {
            BuildEvent::Image(id) if !quiet => {
                self.progress.aux(&json!({ "ID": id }));
            }
            // Asked for by its client, so told to it even with -q.
            BuildEvent::Failed(id, mounts) => {
                let mounts: Vec<_> = mounts.iter().map(flag).collect();
                let aux = json!({ "FailedImage": id, "Mounts": mounts });
                self.progress.aux(&aux);
            }
            BuildEvent::Line(text) if !quiet => self.progress.stream(&text),
            BuildEvent::Output(stream, bytes) if !quiet => {
                let text = String::from_utf8_lossy(&bytes);
                match stream {
                    Stream::Stdout => self.progress.stream(&text),
                    // In red, as the classic builder has always had it.
                    Stream::Stderr => {
                        self.progress.stream(&format!("\x1b[91m{text}\x1b[0m"))
                    }
                }
            }
            BuildEvent::Pull(step) if !quiet => {
                pull::tell(self.progress, &step);
            }
            BuildEvent::Cache(report) if self.request.explain && !quiet => {
                self.progress.stream(&format!(" ---> {report}\n"));
            }
            _ => {}
        }
    }
}

/// A mount as `run --mount` takes it: fields as in CSV.
fn flag(mount: &RunMount) -> String {
    let field = |key: &str, value: &str| match value.contains([',', '"']) {
        true => format!("\"{key}={}\"", value.replace('"', "\"\"")),
        false => format!("{key}={value}"),
    };
    let target = field("target", &mount.target);
    match &mount.source {
        MountSource::Bind { path, read_only } => {
            let source = field("source", &path.display().to_string());
            let mode = if *read_only { ",readonly" } else { "" };
            format!("type=bind,{source},{target}{mode}")
        }
        MountSource::Tmpfs { size: None } => format!("type=tmpfs,{target}"),
        MountSource::Tmpfs { size: Some(size) } => {
            format!("type=tmpfs,{target},tmpfs-size={size}")
        }
    }
}

/// The tags of a build, checked before anything is done.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words.
pub fn tags(names: &[String]) -> Result<Vec<Reference>> {
    let parse = |name: &String| {
        let reference: Reference = name.parse().map_err(
            |error: layers::reference::ReferenceError| {
                Error::Invalid(format!(
                    "invalid argument {name:?} for \"-t, --tag\": {error}"
                ))
            },
        )?;
        if reference.digest().is_some() {
            return Err(Error::Invalid(
                "build tag cannot contain a digest".to_owned(),
            ));
        }
        Ok(reference)
    };
    names.iter().filter(|name| !name.is_empty()).map(parse).collect()
}
