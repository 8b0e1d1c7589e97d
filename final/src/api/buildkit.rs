//! `POST /grpc` and `POST /session`: connections that become HTTP/2.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use cli_api::server::{ApiError, Pending, switch};

use super::Result;
use crate::buildkit::{Introduction, serve};
use crate::engine::Engine;

/// The protocol's name: HTTP/2 without TLS, both sides knowing of it.
const H2C: &str = "h2c";

/// `POST /grpc`: the client asks, see [`crate::buildkit`].
pub async fn grpc(
    State(engine): State<Arc<Engine>>,
    mut request: Request,
) -> Result<Response> {
    let (response, pending) = upgrade(&mut request)?;
    tokio::spawn(async move {
        let Ok(io) = pending.ready().await else { return };
        if let Err(error) = serve(engine, io).await {
            tracing::debug!("a connection for builds: {error}");
        }
    });
    Ok(response)
}

/// `POST /session`: the client stands ready to be asked.
pub async fn session(
    State(engine): State<Arc<Engine>>,
    mut request: Request,
) -> Result<Response> {
    let introduction =
        Introduction::read(request.headers()).map_err(ApiError::bad_request)?;
    let (response, pending) = upgrade(&mut request)?;
    tokio::spawn(async move {
        let Ok(io) = pending.ready().await else { return };
        if let Err(error) = engine.sessions.keep(introduction, io).await {
            tracing::debug!("a session: {error}");
        }
    });
    Ok(response)
}

fn upgrade(request: &mut Request) -> Result<(Response, Pending)> {
    let asked = request.headers().get(http::header::UPGRADE).cloned();
    match asked.as_ref().map(|it| it.to_str().unwrap_or_default()) {
        None | Some("") => {
            Err(ApiError::bad_request("no upgrade proto in request"))
        }
        Some(H2C) => switch(request, H2C).ok_or_else(|| {
            ApiError::bad_request("the request asks for no upgrade")
        }),
        Some(other) => Err(ApiError::bad_request(format!(
            "protocol {other} not supported"
        ))),
    }
}
