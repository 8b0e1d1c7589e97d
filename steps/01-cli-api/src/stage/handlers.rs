//! What the daemon does for each route of [`crate::routes`].
//!
//! A handler takes the request apart, asks the [`Daemon`], and puts the
//! answer together; it decides nothing. What it takes from the request is in
//! its arguments: `State` is the daemon, `Path` a part of the path,
//! [`Params`] what stands behind `?`, [`JsonBody`] the body. An
//! [`ApiError`] becomes a status and `{"message": …}`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::place::log_in;
use super::{Record, Run, Stage, output};
use crate::jsonlog::Query;
use crate::server::{ApiError, JsonBody, Params};

type Shared<S> = State<Arc<Daemon<S>>>;

/// `GET /info`: who is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    /// [`Stage::NAME`].
    pub(crate) name: String,
    /// The daemon's own.
    pub(crate) pid: u32,
    /// Which build of the program it runs.
    pub(crate) build: String,
    /// Where its files are.
    pub(crate) state: PathBuf,
}

/// `GET /info`
pub(crate) async fn info<S: Stage>(
    State(daemon): Shared<S>,
) -> Result<Json<Info>, ApiError> {
    Ok(Json(Info {
        name: S::NAME.to_owned(),
        pid: std::process::id(),
        build: build_of_this_program().map_err(ApiError::internal)?,
        state: daemon.place.state.clone(),
    }))
}

/// Tells two builds apart: `cargo run` after an edit puts a new file in the
/// place of the old, while the old daemon goes on running the old one.
/// `/proc/self/exe` leads to the file that was executed, even if it has been
/// deleted since.
pub(crate) fn build_of_this_program() -> std::io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata("/proc/self/exe")?;
    Ok(format!("{}-{}-{}", file.dev(), file.ino(), file.mtime_nsec()))
}

/// `POST /shutdown`: end, and with you all that you run.
pub(crate) async fn shutdown<S: Stage>(State(daemon): Shared<S>) {
    daemon.shutdown.notify_one();
}

/// `POST /containers/create`: a [`Run`] in, 201 and `{"Id": …}` out. There
/// is a record then, and no process.
pub(crate) async fn create<S: Stage>(
    State(daemon): Shared<S>,
    JsonBody(run): JsonBody<Run<S::Flags>>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let job = daemon.create(run)?;
    let id = job.record.borrow().id.clone();
    Ok((StatusCode::CREATED, Json(json!({ "Id": id }))))
}

/// `POST /containers/ID/start`: 204 when the process runs.
pub(crate) async fn start<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let job = daemon.find(&id)?;
    let run = job.record.borrow().config.clone();
    daemon
        .start(job.clone(), move |stage, stdio| stage.start(&run, stdio))
        .await?;
    if job.record.borrow().config.auto_remove {
        tokio::spawn(async move {
            job.ended().await;
            // A client that waits for the end reads the log and removes it
            // itself; this is for those that have gone away.
            tokio::time::sleep(Duration::from_secs(1)).await;
            if daemon.find(&id).is_ok()
                && let Err(why) = daemon.remove(&job)
            {
                eprintln!("{why}");
            }
        });
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `?all=1`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListParams {
    /// Also what does not run.
    all: u8,
}

/// `GET /containers/json`: a list of [`Record`]s, newest first.
pub(crate) async fn list<S: Stage>(
    State(daemon): Shared<S>,
    Params(params): Params<ListParams>,
) -> Json<Vec<Record<S::Flags>>> {
    let mut all = daemon.containers();
    if params.all == 0 {
        all.retain(|it| it.state.pid != 0);
    }
    Json(all)
}

/// `GET /containers/ID/json`: the [`Record`], and what the stage adds.
pub(crate) async fn inspect<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let job = daemon.find(&id)?;
    let inside = job.inside();
    let mut shown = serde_json::to_value(&*job.record.borrow())
        .map_err(ApiError::internal)?;
    // Reading files in /sys or /proc blocks, and a thread that serves
    // requests must not: others wait for the same thread.
    let more =
        tokio::task::spawn_blocking(move || daemon.stage.inspect(&inside))
            .await
            .map_err(ApiError::internal)?;
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    Ok(Json(shown))
}

/// `?follow=1&timestamps=1&tail=10`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogParams {
    /// Go on until the process has ended.
    follow: u8,
    /// The time before each line.
    timestamps: u8,
    /// So many lines from the end; all without it.
    tail: Option<usize>,
}

/// `GET /containers/ID/logs` and `GET /exec/ID/logs`: a stream of
/// [frames](crate::frames), which begins at once and may last for days.
pub(crate) async fn logs<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
    Params(params): Params<LogParams>,
) -> Result<Response, ApiError> {
    let job = daemon.find(&id)?;
    let log = log_in(&job.dir);
    let query = Query {
        tail: params.tail,
        follow: params.follow == 1,
        ..Query::default()
    };
    let ended = move || !job.runs();
    output::answer(output::log(log, query, params.timestamps == 1, ended))
}

/// `POST /containers/ID/wait`: answers when the process has ended, with
/// `{"StatusCode": 0}`. A request that takes as long as a process lives is
/// odd, and simple: nobody has to ask again and again.
pub(crate) async fn wait<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let record = daemon.find(&id)?.ended().await;
    Ok(Json(json!({ "StatusCode": record.state.exit_code })))
}

/// `?t=10`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StopParams {
    /// Seconds between asking and killing.
    t: Option<u64>,
}

/// `POST /containers/ID/stop`: SIGTERM, which a program can answer by
/// putting its affairs in order; after a while SIGKILL, which it cannot.
/// 204, or 304 if it does not run.
pub(crate) async fn stop<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
    Params(params): Params<StopParams>,
) -> Result<StatusCode, ApiError> {
    let job = daemon.find(&id)?;
    if !job.runs() {
        return Ok(StatusCode::NOT_MODIFIED);
    }
    job.signal(Signal::TERM)?;
    let patience = Duration::from_secs(params.t.unwrap_or(10));
    if tokio::time::timeout(patience, job.ended()).await.is_err() {
        job.signal(Signal::KILL)?;
        job.ended().await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `?signal=15`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KillParams {
    /// By number (signal(7)); 9 without it.
    signal: Option<i32>,
}

/// `POST /containers/ID/kill`: 204 when the signal has been sent.
pub(crate) async fn kill<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
    Params(params): Params<KillParams>,
) -> Result<StatusCode, ApiError> {
    let number = params.signal.unwrap_or(9);
    let signal = Signal::from_named_raw(number).ok_or_else(|| {
        ApiError::bad_request(format!("{number} is no signal; see signal(7)"))
    })?;
    daemon.find(&id)?.signal(signal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `?force=1`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RemoveParams {
    /// Kill it first.
    force: u8,
}

/// `DELETE /containers/ID`: 204; 409 while it runs.
pub(crate) async fn remove<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
    Params(params): Params<RemoveParams>,
) -> Result<StatusCode, ApiError> {
    let job = daemon.find(&id)?;
    if params.force == 1 && job.runs() {
        job.signal(Signal::KILL)?;
        job.ended().await;
    }
    tokio::task::spawn_blocking(move || daemon.remove(&job))
        .await
        .map_err(ApiError::internal)??;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of `POST /containers/ID/exec`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecRequest {
    /// The command and its arguments.
    pub(crate) cmd: Vec<String>,
}

/// `POST /containers/ID/exec`: starts at once; the new ID is good for
/// `/exec/ID/logs` and `/exec/ID/wait`.
pub(crate) async fn exec<S: Stage>(
    State(daemon): Shared<S>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let container = daemon.find(&id)?;
    if !container.runs() {
        return Err(ApiError::conflict(format!(
            "container {} is not running",
            container.record.borrow().id
        )));
    }
    let inside = container.inside();
    let args = request.cmd;
    let job = daemon.create_exec(&container, args.clone())?;
    let id = job.record.borrow().id.clone();
    daemon
        .start(job, move |stage, stdio| stage.exec(&inside, &args, stdio))
        .await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id }))))
}

/// A verb of the stage's own, with the directory it was typed in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VerbRequest<V> {
    /// As clap has parsed it.
    pub(crate) verb: V,
    /// What relative paths in it are relative to.
    pub(crate) cwd: PathBuf,
}

/// `POST /verbs`: a stream of frames, whose last one may be an error.
///
/// HTTP sends the status first, so a request that fails half way has said
/// 200 already. Docker has the same problem with `pull`, and the same way
/// out: the error travels in the stream.
pub(crate) async fn verb<S: Stage>(
    State(daemon): Shared<S>,
    JsonBody(request): JsonBody<VerbRequest<S::Verbs>>,
) -> Result<Response, ApiError> {
    output::answer(output::stream(move |out| {
        daemon.idle.begin();
        let done = daemon.stage.verb(request.verb, &request.cwd, out);
        daemon.idle.end();
        done
    }))
}

/// Around every handler: the daemon is needed.
pub(crate) async fn busy<S: Stage>(
    State(daemon): Shared<S>,
    request: Request,
    next: Next,
) -> Response {
    daemon.idle.begin();
    let response = next.run(request).await;
    daemon.idle.end();
    response
}
