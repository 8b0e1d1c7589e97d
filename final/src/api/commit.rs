//! What a container has written: `docker commit`, `diff` and `export`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use cli_api::server::{ApiError, Params};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::blocking;
use super::streams::{self, Query};
use crate::engine::Engine;
use crate::engine::commit::Request;
use crate::engine::containers::config::Config;

/// Everything that looks at a container's writable layer.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/commit", post(commit))
        .route("/containers/{name}/changes", get(changed))
        .route("/containers/{name}/export", get(export))
}

async fn changed(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let changes = blocking(move || engine.changes(&name)).await?;
    // Docker's answer to "no changes" is null, not an empty list.
    let changes = Some(changes).filter(|list| !list.is_empty());
    Ok(Json(changes).into_response())
}

async fn export(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let mut response =
        streams::download(engine, move |engine, out| engine.export(&name, out))
            .await?;
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn commit(
    State(engine): State<Arc<Engine>>,
    Params(query): Params<Vec<(String, String)>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let query = Query(query);
    let container = query.get("container").to_owned();
    let request = Request {
        repo: query.get("repo").to_owned(),
        tag: query.get("tag").to_owned(),
        author: query.get("author").to_owned(),
        comment: query.get("comment").to_owned(),
        changes: query.lines("changes"),
        pause: query.flag_or("pause", true),
        config: config(&body)?,
        epoch: query.epoch()?,
    };
    let id = blocking(move || engine.commit(&container, &request));
    let answer = Json(json!({ "Id": id.await? }));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// The body is a config, and mostly absent, `null` or `{}`.
fn config(body: &[u8]) -> Result<Option<layers::ContainerConfig>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let config: Option<Config> = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(config
        .filter(|config| *config != Config::default())
        .map(|config| config.to_image()))
}
