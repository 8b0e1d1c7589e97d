//! The node itself.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cli_api::server::ApiVersion;
use http::header;
use serde_json::Value;

use super::{Result, blocking};
use crate::engine::{Engine, system};

type Engined = State<Arc<Engine>>;

/// `GET /_ping` and `HEAD /_ping`: from its headers a client learns which
/// version of the API to speak.
pub async fn ping() -> Response {
    let headers = [
        // The classic builder: `POST /build`.
        ("builder-version", "1"),
        ("swarm", "inactive"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        (header::CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
    ];
    (headers, "OK").into_response()
}

/// `GET /version`
pub async fn version() -> Json<Value> {
    Json(system::version())
}

/// `GET /info`
pub async fn info(State(engine): Engined) -> Result<Json<Value>> {
    blocking(move || engine.info()).await.map(Json)
}

/// `GET /system/df`
pub async fn disk_usage(
    State(engine): Engined,
    Extension(version): Extension<ApiVersion>,
) -> Result<Json<Value>> {
    blocking(move || engine.disk_usage(version)).await.map(Json)
}
