//! Streams from the engine to a client: logs and stats.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use cli_api::frames::{self, Stream};
use cli_api::jsonlog::{Entry, Query};
use cli_api::server::{ApiVersion, MULTIPLEXED, Params, RAW};
use futures_util::stream;
use http::header;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Result, blocking, flag};
use crate::engine::containers::Container;
use crate::engine::containers::list::time;
use crate::engine::containers::logs::Log;
use crate::engine::containers::stats::Sample;
use crate::engine::error::Result as Found;
use crate::engine::{Engine, Error};

type Engined = State<Arc<Engine>>;
type Map = HashMap<String, String>;

/// How many pieces wait for a slow client before the reader of the log
/// waits too. Nobody else does.
const AHEAD: usize = 16;
/// Lines are gathered up to this size, to save system calls.
const PIECE: usize = 16 << 10;

/// Newer clients look for a type of their own for framed output.
pub(super) fn stream_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || version < ApiVersion(1, 42) { RAW } else { MULTIPLEXED }
}

/// A body made of what is sent into a channel.
pub(super) fn body_of(receiver: mpsc::Receiver<Bytes>) -> Body {
    Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), receiver))
    }))
}

/// `GET /containers/NAME/logs`
pub async fn logs(
    State(engine): Engined,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<Response> {
    let wanted = log_query(&query)?;
    let is = |key: &str| flag(query.get(key).map(String::as_str));
    let show = Show { times: is("timestamps"), details: is("details") };
    let follow = wanted.follow;
    let log = blocking(move || engine.log(&name, &wanted)).await?;
    let kind = [(header::CONTENT_TYPE, stream_type(log.tty, version))];
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        send_log(log, follow, show, &sender);
    });
    Ok((kind, body_of(receiver)).into_response())
}

/// The query's words as a question to the log.
pub(super) fn log_query(query: &Map) -> Result<Query> {
    let is = |key: &str| flag(query.get(key).map(String::as_str));
    let get = |key: &str| {
        query.get(key).map(String::as_str).filter(|it| !it.is_empty())
    };
    if !is("stdout") && !is("stderr") {
        let text = "Bad parameters: you must choose at least one stream";
        return Err(Error::Invalid(text.to_owned()).into());
    }
    // 0 is what clients send for "no limit in time".
    let moment = |key: &str| get(key).filter(|it| *it != "0").map(time);
    Ok(Query {
        stdout: is("stdout"),
        stderr: is("stderr"),
        // A negative number means all, as any word does.
        tail: get("tail").and_then(|count| count.parse().ok()),
        since: moment("since").transpose()?,
        until: moment("until").transpose()?,
        follow: is("follow"),
    })
}

/// What of a line is shown besides its text.
#[derive(Clone, Copy)]
struct Show {
    times: bool,
    details: bool,
}

/// Sends the lines, framed unless they came from a terminal.
fn send_log(log: Log, follow: bool, show: Show, sender: &mpsc::Sender<Bytes>) {
    let mut gathered = Vec::new();
    let tty = log.tty;
    let mut put = |mut entry: Entry| {
        if show.details {
            entry.show_details();
        }
        let text = if show.times { entry.with_time() } else { entry.log };
        if tty {
            gathered.extend_from_slice(text.as_bytes());
        } else {
            let frame = frames::encode(entry.stream, text.as_bytes());
            gathered.extend_from_slice(&frame);
        }
        // Following, each line must go out when it comes.
        if follow || gathered.len() >= PIECE {
            let piece = std::mem::take(&mut gathered);
            if sender.blocking_send(piece.into()).is_err() {
                return ControlFlow::Break(());
            }
        }
        if sender.is_closed() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let read = log.read(&mut put);
    if !gathered.is_empty() {
        let _ = sender.blocking_send(gathered.into());
    }
    if let Err(error) = read {
        let text = format!("Error grabbing logs: {error}\n");
        let frame = frames::encode(Stream::System, text.as_bytes());
        let _ = sender.blocking_send(frame.into());
    }
}

/// `GET /containers/NAME/stats`
pub async fn stats(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<Response> {
    let is = |key: &str, default: bool| match query.get(key) {
        Some(text) => flag(Some(text)),
        None => default,
    };
    let one_shot = is("one-shot", false);
    if !is("stream", true) {
        let look = move || one_look(&engine, &name, one_shot);
        return Ok(blocking(look).await.map(Json)?.into_response());
    }
    let container = engine.containers.find(&name)?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move { look_on(&engine, &container, sender).await });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, body_of(receiver)).into_response())
}

/// One answer. A percentage needs two looks, a second apart.
fn one_look(engine: &Engine, name: &str, one_shot: bool) -> Found<Value> {
    let container = engine.containers.find(name)?;
    let source = engine.stats(&container)?;
    let mut before = Sample::default();
    if !one_shot {
        before = source.sample();
        std::thread::sleep(SECOND);
    }
    Ok(source.json(&before, &source.sample()))
}

const SECOND: Duration = Duration::from_secs(1);

/// A look every second, until the client or the container is gone.
async fn look_on(
    engine: &Engine,
    container: &Container,
    sender: mpsc::Sender<Bytes>,
) {
    let mut before = Sample::default();
    let mut watch = container.watch();
    loop {
        let Ok(source) = engine.stats(container) else { return };
        let now = source.sample();
        let line = format!("{}\n", source.json(&before, &now));
        // A slow client misses looks, and holds up nobody.
        if sender.send(line.into()).await.is_err() {
            return;
        }
        before = now;
        let gone = watch.wait_for(|phase| phase.removed);
        if tokio::time::timeout(SECOND, gone).await.is_ok() {
            return;
        }
    }
}
