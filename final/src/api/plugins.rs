//! Plugins, of which there are none.

use std::sync::Arc;

use axum::extract::Path;
use axum::routing::{any, get};
use axum::{Json, Router};
use cli_api::server::ApiError;
use http::StatusCode;
use serde_json::{Value, json};

use crate::engine::Engine;

/// An empty list; and nothing can be added to it.
pub(super) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/privileges", any(unsupported))
        .route("/plugins/pull", any(unsupported))
        .route("/plugins/create", any(unsupported))
        .route("/plugins/{*name}", any(unknown))
}

async fn list() -> Json<Value> {
    Json(json!([]))
}

async fn unsupported() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "this engine has no plugins: its volumes, networks and logs are its \
         own",
    )
}

/// `docker inspect NAME` asks here last, and goes by the 404.
async fn unknown(Path(rest): Path<String>) -> ApiError {
    const VERBS: [&str; 6] =
        ["json", "enable", "disable", "upgrade", "push", "set"];
    let name = match rest.rsplit_once('/') {
        Some((name, verb)) if VERBS.contains(&verb) => name,
        _ => &rest,
    };
    let text = format!("plugin {name:?} not found");
    ApiError::new(StatusCode::NOT_FOUND, text)
}
