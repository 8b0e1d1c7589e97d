//! The Docker Engine API: routes, and thin handlers behind them.
//!
//! A handler takes a request apart, calls one verb of the engine, and puts
//! the answer together. Versions, headers and unknown paths are dealt with
//! by [`cli_api::server`], around all of them.

pub mod archive;
pub mod attach;
pub mod build;
pub mod buildkit;
pub mod commit;
pub mod containers;
pub mod detach;
pub mod events;
pub mod exec;
pub mod follow;
pub mod images;
pub mod lifecycle;
pub mod networks;
pub mod plugins;
mod streams;
pub mod swarm;
pub mod system;
pub mod volumes;
pub mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, head, post, put};
use cli_api::server::ApiError;
use http::StatusCode;

use crate::engine::{Engine, error};

/// What every handler gives back in case of failure.
pub type Result<T> = std::result::Result<T, ApiError>;

// ANCHOR: router
/// All routes of the API.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .merge(container_routes())
        .merge(stream_routes())
        .merge(system_routes())
        .merge(networks::routes())
        .merge(images::routes())
        .merge(build::routes())
        .merge(commit::routes())
        .merge(plugins::routes())
        .merge(swarm::routes())
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::NOT_FOUND, "page not found")
        })
        .with_state(engine)
}
// ANCHOR_END: router

fn container_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/json", get(containers::list))
        .route("/containers/create", post(containers::create))
        .route("/containers/prune", post(containers::prune))
        .route("/containers/{name}", delete(containers::remove))
        .route("/containers/{name}/{alias}", delete(containers::remove_link))
        .route("/containers/{name}/json", get(containers::inspect))
        .route("/containers/{name}/steps", get(containers::steps))
        .route("/containers/{name}/explain", get(containers::explain))
        .route("/containers/{name}/top", get(containers::top))
        .route("/containers/{name}/update", post(containers::update))
        .route("/containers/{name}/rename", post(containers::rename))
        .route("/containers/{name}/start", post(lifecycle::start))
        .route("/containers/{name}/stop", post(lifecycle::stop))
        .route("/containers/{name}/restart", post(lifecycle::restart))
        .route("/containers/{name}/kill", post(lifecycle::kill))
        .route("/containers/{name}/pause", post(lifecycle::pause))
        .route("/containers/{name}/unpause", post(lifecycle::unpause))
        .route("/containers/{name}/wait", post(lifecycle::wait))
}

fn stream_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/{name}/logs", get(follow::logs))
        .route("/containers/{name}/stats", get(follow::stats))
        .route("/containers/{name}/attach", post(attach::attach))
        .route("/containers/{name}/attach/ws", get(websocket::attach))
        .route("/containers/{name}/resize", post(attach::resize))
        .route("/containers/{name}/archive", head(archive::stat))
        .route("/containers/{name}/archive", get(archive::get))
        .route("/containers/{name}/archive", put(archive::put))
        .route("/containers/{name}/exec", post(exec::create))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/resize", post(exec::resize))
        .route("/exec/{id}/json", get(exec::inspect))
        .route("/events", get(events::events))
}

fn system_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(system::ping))
        .route("/_ping", head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/system/df", get(system::disk_usage))
        .route("/session", post(buildkit::session))
        .route("/grpc", post(buildkit::grpc))
        .route("/volumes", get(volumes::list))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route("/volumes/{name}", get(volumes::inspect))
        .route("/volumes/{name}", delete(volumes::remove))
        // Only a swarm's volumes can change.
        .route("/volumes/{name}", put(async || swarm::not_in_a_swarm()))
}

/// Runs a verb of the engine on a thread that may block.
///
/// # Errors
/// The verb's own, or 500 if it panicked.
pub async fn blocking<T: Send + 'static>(
    verb: impl FnOnce() -> error::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(verb).await {
        Ok(result) => Ok(result?),
        Err(panic) => {
            tracing::error!("a request failed: {panic}");
            Err(ApiError::internal("the engine made a mistake; see its log"))
        }
    }
}

/// A number in a query; absent and empty mean none.
///
/// # Errors
/// 400 in Go's words, as Docker's.
pub fn number(text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text.filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
        ApiError::bad_request(why)
    })
}

/// How Go's clients write a flag in a query: `1`, `true`, anything but a
/// few words that mean no.
pub fn flag(text: Option<&str>) -> bool {
    let text = text.unwrap_or("").trim().to_ascii_lowercase();
    !matches!(text.as_str(), "" | "0" | "no" | "false" | "none")
}
