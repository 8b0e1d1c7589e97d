//! Swarm's endpoints, as on a node that is in no swarm.

use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use cli_api::server::ApiError;
use http::StatusCode;

use crate::engine::Engine;

/// Docker's sentence.
pub(super) fn not_in_a_swarm() -> ApiError {
    let text = "This node is not a swarm manager. Use \"docker swarm init\" \
                or \"docker swarm join\" to connect this node to swarm and \
                try again.";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// One answer for all of them; and a plain one for who wants to begin.
pub(super) fn routes() -> Router<Arc<Engine>> {
    let mut router = Router::new();
    for kind in ["services", "tasks", "nodes", "secrets", "configs", "swarm"] {
        let all = format!("/{kind}");
        let below = format!("/{kind}/{{*rest}}");
        router = router
            .route(&all, any(async || not_in_a_swarm()))
            .route(&below, any(swarm));
    }
    router
}

async fn swarm(uri: http::Uri) -> ApiError {
    match uri.path() {
        "/swarm/init" | "/swarm/join" => ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "this engine runs containers on one node only: it has no swarm",
        ),
        "/swarm/leave" => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not part of a swarm",
        ),
        _ => not_in_a_swarm(),
    }
}
