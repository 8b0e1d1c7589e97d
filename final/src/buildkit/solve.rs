//! From what a client asks to an image.

use std::path::Path;
use std::sync::Arc;

use layers::build::dockerfile::Dockerfile;

use super::attrs::{self, Attrs};
use super::export::{Exporter, Response};
use super::failure;
use super::grpc::{Code, Status, unknown};
use super::job::{Built, Job};
use super::progress::Steps;
use super::sessions::Session;
use super::source::{self, Found, Images, Sources};
use crate::engine::Engine;

/// A build, or one within a build.
pub(super) async fn build(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    frontend: String,
    attrs: Attrs,
) -> Result<Built, Status> {
    let session = engine.sessions.find(&job.request.session).await?;
    let (engine, job, work) = (engine.clone(), job.clone(), job.work());
    blocking(move || {
        let built = solve(&engine, &job, &session, &frontend, &attrs);
        drop(work);
        built
    })
    .await
}

/// Its result to where the client wants it.
pub(super) async fn export(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    exporter: Exporter,
    built: Arc<Built>,
) -> Result<Response, Status> {
    let session = engine.sessions.find(&job.request.session).await?;
    let (engine, job) = (engine.clone(), job.clone());
    blocking(move || exporter.export(&engine, &job, &session, &built)).await
}

/// Runs what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => {
            tracing::error!("a build failed: {panic}");
            let text = "the engine made a mistake; see its log";
            Err(Status::new(Code::Internal, text))
        }
    }
}

/// Builds the Dockerfile that the pairs are about.
///
/// # Errors
/// In BuildKit's words where it has some.
fn solve(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    session: &Session,
    frontend: &str,
    attrs: &Attrs,
) -> Result<Built, Status> {
    attrs::check_frontend(frontend, attrs)?;
    let mut request = attrs::request(attrs, &job.request.entitlements)?;
    let sources = Sources { engine, job, session, attrs };
    let found = sources.find()?;
    let options = &mut request.options;
    options.dockerfile.clone_from(&found.name);
    options.dockerfile_dir = source::dockerfile_dir(&found).map(Path::to_owned);
    options.cancel = job.cancel.clone();
    // One that does not parse is for the builder to complain about.
    let file = Dockerfile::parse(&found.text).ok();
    let lent = file.map(|file| sources.lent(&file)).transpose()?;
    if let Some(lent) = &lent {
        options.secrets.clone_from(&lent.secrets);
        options.ssh.clone_from(&lent.agents.sockets);
    }
    let named = sources.named()?;
    options.contexts.clone_from(&named.images);
    let images = Images { engine, session, cancel: job.cancel.clone() };
    let before = engine.store.ids().map_err(unknown)?;
    let mut steps = Steps::new(job);
    let mut hear = |stage, event| steps.hear(stage, event);
    let built = engine.with_builder(&request, &images, |builder| {
        let context = found.context.path();
        builder.build_live(context, &request.options, &mut hear)
    });
    match built {
        Ok(image) => {
            let fresh = !before.contains(&image);
            Ok(Built::new(engine, image, fresh))
        }
        Err(_) if job.cancel.check().is_err() => {
            Err(Status::new(Code::Cancelled, "context canceled"))
        }
        Err(error) => {
            steps.fail(&failure::sentence(&error));
            let Found { name, text, .. } = &found;
            let name = name.display().to_string();
            Err(failure::status(&error, &name, text))
        }
    }
}
