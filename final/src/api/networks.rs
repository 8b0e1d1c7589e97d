//! `docker network`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cli_api::server::{ApiError, JsonBody, Params};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Result, blocking};
use crate::engine::filters::Filters;
use crate::engine::go_json::decode;
use crate::engine::networks::LIST_FILTERS;
use crate::engine::{Engine, Error};
use crate::network::{EndpointSettings, Network, NetworkCreate};

type Engined = State<Arc<Engine>>;
type Map = HashMap<String, String>;

/// Their routes.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        // A network's name may be any text, with slashes too, so what is to
        // be done stands behind the last one.
        .route("/networks/{*name}", get(inspect).post(change).delete(remove))
        .route("/network-rules", get(rules))
}

fn filters(query: &Map, known: &[&str]) -> Result<Filters> {
    let text = query.get("filters").map_or("", String::as_str);
    Ok(Filters::parse(text, known)?)
}

/// `GET /networks`
async fn list(
    State(engine): Engined,
    Params(query): Params<Map>,
) -> Result<Json<Vec<Network>>> {
    let filters = filters(&query, LIST_FILTERS)?;
    blocking(move || engine.list_networks(&filters)).await.map(Json)
}

/// `GET /networks/NAME`
async fn inspect(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<Json<Network>> {
    let scope = query.get("scope").cloned().unwrap_or_default();
    blocking(move || {
        let network = engine.networks.inspect(&name)?;
        match scope.is_empty() || scope == network.scope {
            true => Ok(network),
            false => Err(Error::NotFound(format!("network {name} not found"))),
        }
    })
    .await
    .map(Json)
}

/// `POST /networks/create`
async fn create(
    State(engine): Engined,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>)> {
    let wanted: NetworkCreate = decode(body)?;
    let network = blocking(move || engine.create_network(wanted)).await?;
    let body = json!({ "Id": network.id, "Warning": "" });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `DELETE /networks/NAME`
async fn remove(
    State(engine): Engined,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    blocking(move || engine.remove_network(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /networks/prune`
async fn prune(
    State(engine): Engined,
    Params(query): Params<Map>,
) -> Result<Json<Value>> {
    let filters = filters(&query, &["label", "label!", "until"])?;
    let removed = blocking(move || engine.prune_networks(&filters)).await?;
    Ok(Json(json!({ "NetworksDeleted": removed })))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Connection {
    container: String,
    endpoint_config: EndpointSettings,
    force: bool,
}

/// `POST /networks/NAME/connect`, `…/disconnect`
async fn change(
    State(engine): Engined,
    Path(path): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<()> {
    match path.rsplit_once('/') {
        Some((name, "connect")) => connect(engine, name.into(), body).await,
        Some((name, "disconnect")) => {
            disconnect(engine, name.into(), body).await
        }
        _ => Err(ApiError::not_found("page not found")),
    }
}

async fn connect(engine: Arc<Engine>, name: String, body: Value) -> Result<()> {
    let Connection { container, endpoint_config, .. } = decode(body)?;
    blocking(move || engine.connect_network(&name, &container, endpoint_config))
        .await
}

async fn disconnect(
    engine: Arc<Engine>,
    name: String,
    body: Value,
) -> Result<()> {
    let Connection { container, force, .. } = decode(body)?;
    blocking(move || engine.disconnect_network(&name, &container, force)).await
}

/// `GET /network-rules`: ours alone; Docker has no such thing.
async fn rules(State(engine): Engined) -> Result<Json<Value>> {
    blocking(move || {
        let networks = &engine.networks;
        let (rules, warnings) = (networks.rules(), networks.warnings());
        Ok(json!({ "Rules": rules, "Warnings": warnings }))
    })
    .await
    .map(Json)
}
