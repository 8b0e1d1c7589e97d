//! `docker exec`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse, Response};
use cli_api::frames::{self, Stream};
use cli_api::server::{
    ApiError, ApiVersion, Hijacked, JsonBody, Params, hijack,
};
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::attach::{AS_IT_COMES, Dress, Size, pump};
use super::detach::DetachKeys;
use super::follow::stream_type;
use super::{Result, blocking};
use crate::engine::containers::exec::ExecConfig;
use crate::engine::go_json::decode;
use crate::engine::{Engine, Error};
use crate::shim::protocol::Attach;

type Engined = State<Arc<Engine>>;

/// `POST /containers/NAME/exec`
pub async fn create(
    State(engine): Engined,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>)> {
    let config: ExecConfig = decode(body)?;
    let exec = blocking(move || engine.exec_create(&name, config)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": exec.id }))))
}

/// The body of `POST /exec/ID/start`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Start {
    detach: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
}

/// `POST /exec/ID/start`
pub async fn start(
    State(engine): Engined,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    // The body is read before the connection is taken over: what is left
    // of it would be taken for input.
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(ApiError::internal)?.to_bytes();
    let body = if body.is_empty() { &b"{}"[..] } else { &body[..] };
    let start: Start = serde_json::from_slice(body)
        .map_err(|error| Error::Invalid(format!("invalid JSON: {error}")))?;
    let size = start.console_size.filter(|size| *size != [0, 0]);
    let (exec, _) = engine.exec(&id)?;
    if start.detach {
        blocking(move || engine.exec_start(&id, size, None)).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let config = &exec.config;
    let streams = Attach {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
    };
    let tty = config.tty;
    let keys = match config.detach_keys.as_str() {
        "" if !tty => None,
        keys => Some(DetachKeys::parse(keys)?),
    };
    let mut request = Request::from_parts(head, axum::body::Body::empty());
    // Whether a terminal's output comes in frames is for the start to say:
    // some SDKs ask for a terminal on creation only, and expect frames.
    let raw = tty && start.tty;
    let dress: Dress = match tty && !raw {
        true => |piece| frames::encode(Stream::Stdout, piece),
        false => AS_IT_COMES,
    };
    let (response, pending) = hijack(&mut request, stream_type(raw, version));
    tokio::spawn(async move {
        let client = pending.ready().await?;
        let starter = engine.clone();
        let run = move || starter.exec_start(&id, size, Some(streams));
        match blocking(run).await {
            Ok(Some(stream)) => {
                if pump(client, stream, streams.stdin, keys, dress).await? {
                    engine.exec_detached(&exec);
                }
            }
            Ok(None) => {}
            Err(error) => say(client, &error, raw).await,
        }
        Ok::<_, ApiError>(())
    });
    Ok(response)
}

/// The answer has begun, so the reason goes where the output would be; the
/// exit code is asked for afterwards.
async fn say(mut client: Hijacked, error: &ApiError, raw: bool) {
    let text = format!("{}\r\n", error.message);
    let bytes = if raw {
        text.into_bytes()
    } else {
        frames::encode(Stream::Stdout, text.as_bytes())
    };
    let _ = client.write_all(&bytes).await;
    let _ = client.shutdown().await;
}

/// `POST /exec/ID/resize`
pub async fn resize(
    State(engine): Engined,
    Path(id): Path<String>,
    Params(size): Params<Size>,
) -> Result<StatusCode> {
    let (exec, _) = engine.exec(&id)?;
    let size = size.parse()?;
    blocking(move || exec.resize(size)).await?;
    Ok(StatusCode::OK)
}

/// `GET /exec/ID/json`
pub async fn inspect(
    State(engine): Engined,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let (exec, _) = engine.exec(&id)?;
    Ok(Json(exec.inspect()))
}
