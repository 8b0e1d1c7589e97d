//! `POST /build?version=2`: how the docker command of before buildx builds.
//!
//! The files come from the session and the progress is BuildKit's; only the
//! request is the old one, and the progress comes as lines of JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use layers::registry::Cancel;
use prost::Message;
use serde_json::{Value, json};

use super::attrs::Attrs;
use super::export::{Exporter, Response};
use super::grpc::{Status, unknown};
use super::job::{Guard, Job};
use super::solve::{build, export};
use super::wire::control::{self, SolveRequest};
use crate::engine::Engine;

/// What the request says.
#[derive(Debug, Default)]
pub struct SessionBuild {
    /// The session's name.
    pub session: String,
    /// By the names that the frontend has for them.
    pub attrs: Attrs,
    /// What `--allow` would say.
    pub entitlements: Vec<String>,
    /// `--output`: its type and the rest.
    pub outputs: Vec<(String, Attrs)>,
    /// Say the image's ID as a text as well (`-q`).
    pub quiet: bool,
    /// The client's name for the build, by which it may be given up.
    pub id: String,
}

/// The builds that can be given up by name: their clients say so on another
/// connection.
#[derive(Debug, Default)]
pub struct Running(Mutex<BTreeMap<String, Cancel>>);

impl Running {
    /// `POST /build/cancel`. Of one that is not known there is nothing to
    /// end.
    pub fn cancel(&self, id: &str) {
        if let Some(cancel) = self.lock().get(id) {
            cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Cancel>> {
        // Whole at any moment, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its place among them.
struct Place(Arc<Engine>, String);

impl Place {
    fn take(engine: &Arc<Engine>, id: String, job: &Job) -> Place {
        // Without a name it cannot be given up by name.
        if !id.is_empty() {
            let cancel = job.cancel.clone();
            engine.running.lock().insert(id.clone(), cancel);
        }
        Place(engine.clone(), id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.lock().remove(&self.1);
    }
}

/// Builds; the lines of the answer. Dropped, they end the build.
pub fn build_with_session(
    engine: Arc<Engine>,
    asked: SessionBuild,
) -> impl Stream<Item = Bytes> + Send {
    let exporter = |(kind, attrs)| control::Exporter { r#type: kind, attrs };
    let job = Job::new(SolveRequest {
        session: asked.session,
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: asked.attrs,
        entitlements: asked.entitlements,
        exporters: asked.outputs.into_iter().map(exporter).collect(),
        ..SolveRequest::default()
    });
    let guard = Guard(job.clone());
    let place = Place::take(&engine, asked.id, &job);
    let watched = job.clone().watch().filter_map(async |told| {
        let bytes = STANDARD.encode(told.ok()?.encode_to_vec());
        Some(line(&json!({ "id": "moby.buildkit.trace", "aux": bytes })))
    });
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let outcome = run(&engine, &job).await;
        job.end();
        let _ = tell.send(outcome);
    });
    let last = stream::once(async move {
        let outcome = told.await.unwrap_or_else(|it| Err(unknown(it)));
        drop((guard, place));
        stream::iter(last_lines(outcome, asked.quiet))
    });
    watched.chain(last.flatten())
}

async fn run(engine: &Arc<Engine>, job: &Arc<Job>) -> Result<Response, Status> {
    let exporter = Exporter::of(job)?;
    let request = &job.request;
    let (frontend, attrs) = (&request.frontend, &request.frontend_attrs);
    let built = build(engine, job, frontend.clone(), attrs.clone()).await?;
    match exporter {
        Some(exporter) => export(engine, job, exporter, built.into()).await,
        None => Ok(Response::new()),
    }
}

/// The image, or why there is none. Files at the client's are no image.
fn last_lines(outcome: Result<Response, Status>, quiet: bool) -> Vec<Bytes> {
    let mut lines = Vec::new();
    match outcome {
        Ok(response) => {
            if let Some(id) = response.get("containerimage.config.digest") {
                let aux = json!({ "ID": id });
                lines.push(json!({ "id": "moby.image.id", "aux": aux }));
                let text =
                    quiet.then(|| json!({ "stream": format!("{id}\n") }));
                lines.extend(text);
            }
        }
        Err(status) => {
            let text = status.message().to_owned();
            let detail = json!({ "message": text });
            lines.push(json!({ "errorDetail": detail, "error": text }));
        }
    }
    lines.iter().map(line).collect()
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\r\n"))
}
