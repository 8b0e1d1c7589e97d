//! `docker volume`.

use std::collections::HashMap;
use std::sync::Arc;

use ::volumes::{CreateVolume, Pruned, Volume};
use axum::Json;
use axum::extract::{Path, State};
use cli_api::server::{JsonBody, Params};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Result, blocking, flag};
use crate::engine::Engine;
use crate::engine::filters::Filters;
use crate::engine::go_json::decode;

type Engined = State<Arc<Engine>>;
type Map = HashMap<String, String>;

fn filters(query: &Map, known: &[&str]) -> Result<Filters> {
    let text = query.get("filters").map_or("", String::as_str);
    Ok(Filters::parse(text, known)?)
}

/// `GET /volumes`
pub async fn list(
    State(engine): Engined,
    Params(query): Params<Map>,
) -> Result<Json<Value>> {
    let known = &["dangling", "driver", "label", "label!", "name"];
    let filters = filters(&query, known)?;
    let list = blocking(move || engine.list_volumes(&filters)).await?;
    Ok(Json(json!({ "Volumes": list, "Warnings": null })))
}

/// `POST /volumes/create`
pub async fn create(
    State(engine): Engined,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Volume>)> {
    if body.get("ClusterVolumeSpec").is_some_and(|it| !it.is_null()) {
        return Err(super::swarm::not_in_a_swarm());
    }
    let wanted: CreateVolume = decode(body)?;
    let volume = blocking(move || engine.create_volume(&wanted)).await?;
    Ok((StatusCode::CREATED, Json(volume)))
}

/// `GET /volumes/NAME`
pub async fn inspect(
    State(engine): Engined,
    Path(name): Path<String>,
) -> Result<Json<Volume>> {
    blocking(move || Ok(engine.volumes.get(&name)?)).await.map(Json)
}

/// `DELETE /volumes/NAME`
pub async fn remove(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<StatusCode> {
    let force = flag(query.get("force").map(String::as_str));
    blocking(move || engine.remove_volume(&name, force)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /volumes/prune`
pub async fn prune(
    State(engine): Engined,
    Params(query): Params<Map>,
) -> Result<Json<Pruned>> {
    let filters = filters(&query, &["all", "label", "label!"])?;
    blocking(move || engine.prune_volumes(&filters)).await.map(Json)
}
