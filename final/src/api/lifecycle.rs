//! The life of containers: start, stop, kill, pause, wait.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cli_api::server::{ApiError, Params};
use futures_util::stream;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::{Result, blocking, number};
use crate::engine::containers::Phase;
use crate::engine::containers::stop::Stop;
use crate::engine::{Engine, Error};

type Engined = State<Arc<Engine>>;

/// `?detachKeys=`; the keys themselves belong to `attach`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Start {
    checkpoint: String,
}

/// `POST /containers/NAME/start`
pub async fn start(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Start>,
) -> Result<StatusCode> {
    if !query.checkpoint.is_empty() {
        let text = "checkpoints are not supported by this engine";
        return Err(Error::Unsupported(text.to_owned()).into());
    }
    blocking(move || engine.start(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `?signal=INT&t=1`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StopQuery {
    signal: Option<String>,
    t: Option<String>,
}

impl StopQuery {
    fn how(self) -> Result<Stop> {
        let signal = self.signal.filter(|it| !it.is_empty());
        Ok(Stop { signal, timeout: number(self.t.as_deref())? })
    }
}

/// `POST /containers/NAME/stop`
pub async fn stop(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<StopQuery>,
) -> Result<StatusCode> {
    let how = query.how()?;
    blocking(move || engine.stop(&name, &how)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/NAME/restart`
pub async fn restart(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<StopQuery>,
) -> Result<StatusCode> {
    let how = query.how()?;
    blocking(move || engine.restart(&name, &how)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/NAME/kill`
pub async fn kill(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<StopQuery>,
) -> Result<StatusCode> {
    let signal = query.signal.unwrap_or_default();
    blocking(move || engine.kill(&name, &signal)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/NAME/pause`
pub async fn pause(
    State(engine): Engined,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    blocking(move || engine.pause(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/NAME/unpause`
pub async fn unpause(
    State(engine): Engined,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    blocking(move || engine.unpause(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a client waits for.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    /// It does not run, now or later.
    NotRunning,
    /// It ends once more.
    NextExit,
    /// It is gone.
    Removed,
}

impl std::str::FromStr for Condition {
    type Err = ApiError;

    fn from_str(word: &str) -> Result<Condition> {
        match word {
            "" | "not-running" => Ok(Condition::NotRunning),
            "next-exit" => Ok(Condition::NextExit),
            "removed" => Ok(Condition::Removed),
            other => {
                let text = format!("invalid condition: {other:?}");
                Err(ApiError::bad_request(text))
            }
        }
    }
}

/// `?condition=`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WaitQuery {
    condition: String,
}

/// `POST /containers/NAME/wait`: the headers go out at once. The docker
/// command waits for them before it starts the container, so that it cannot
/// miss its end.
pub async fn wait(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<WaitQuery>,
) -> Result<Response> {
    let condition = query.condition.parse()?;
    let container = engine.containers.find(&name)?;
    let watch = container.watch();
    let exits = watch.borrow().exits;
    let answer = stream::once(async move {
        let text = ended(watch, exits, condition).await;
        Ok::<_, std::convert::Infallible>(text)
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, Body::from_stream(answer)).into_response())
}

async fn ended(
    mut watch: watch::Receiver<Phase>,
    exits: u64,
    condition: Condition,
) -> String {
    let over = |phase: &Phase| match condition {
        // One that its policy starts again has not been running in between,
        // however short that was.
        Condition::NotRunning => {
            phase.removed || !phase.status.is_up() || phase.exits > exits
        }
        Condition::NextExit => phase.removed || phase.exits > exits,
        Condition::Removed => phase.removed || !phase.error.is_empty(),
    };
    let phase = match watch.wait_for(over).await {
        Ok(phase) => phase.clone(),
        // The container is nowhere any more, and so is its last word.
        Err(_) => Phase::default(),
    };
    let mut json = json!({ "StatusCode": phase.exit_code });
    if !phase.error.is_empty() {
        json["Error"] = json!({ "Message": phase.error });
    }
    format!("{json}\n")
}
