//! Containers as things: create, list, inspect, change, remove.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use cli_api::server::{JsonBody, Params};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Result, blocking, flag, number};
use crate::engine::containers::create::Request;
use crate::engine::containers::list::{FILTERS, Query, Summary};
use crate::engine::containers::remove::Pruned;
use crate::engine::filters::Filters;
use crate::engine::{Engine, Error};
use crate::explain::Explanation;
use crate::shim;

type Engined = State<Arc<Engine>>;
type Map = HashMap<String, String>;

fn get<'a>(query: &'a Map, key: &str) -> &'a str {
    query.get(key).map_or("", String::as_str)
}

/// `GET /containers/json`
pub async fn list(
    State(engine): Engined,
    Params(query): Params<Map>,
) -> Result<Json<Vec<Summary>>> {
    let is = |key: &str| flag(query.get(key).map(String::as_str));
    let query = Query {
        all: is("all"),
        size: is("size"),
        limit: number(Some(get(&query, "limit")))?.unwrap_or(0),
        filters: Filters::parse(get(&query, "filters"), FILTERS)?,
    };
    blocking(move || engine.list(&query)).await.map(Json)
}

/// `POST /containers/create`
pub async fn create(
    State(engine): Engined,
    Params(query): Params<Map>,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = get(&query, "name").to_owned();
    let mut wish = Request::parse(body)?;
    get(&query, "platform").clone_into(&mut wish.platform);
    let created = blocking(move || engine.create(&name, wish)).await?;
    let answer = json!({
        "Id": created.container.id,
        "Warnings": created.warnings,
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET /containers/NAME/json`
pub async fn inspect(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<Json<Value>> {
    let size = flag(query.get("size").map(String::as_str));
    blocking(move || engine.inspect(&name, size)).await.map(Json)
}

/// `GET /containers/NAME/steps`: what each step of the last start was, and
/// what it cost. Not in Docker's API.
pub async fn steps(
    State(engine): Engined,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    let read = move || {
        let container = engine.containers.find(&name)?;
        let record =
            shim::Record::load(&container.dir).map_err(Error::internal)?;
        Ok(json!({ "Pid": record.pid, "Steps": record.steps }))
    };
    blocking(read).await.map(Json)
}

/// `GET /containers/NAME/explain`: what it is made of. Not in Docker's API.
pub async fn explain(
    State(engine): Engined,
    Path(name): Path<String>,
) -> Result<Json<Explanation>> {
    blocking(move || engine.explain(&name)).await.map(Json)
}

/// `GET /containers/NAME/top`
pub async fn top(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<Json<Value>> {
    let arguments = get(&query, "ps_args").to_owned();
    blocking(move || engine.top(&name, &arguments)).await.map(Json)
}

/// `POST /containers/NAME/update`
pub async fn update(
    State(engine): Engined,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>> {
    let warnings = blocking(move || engine.update(&name, body)).await?;
    Ok(Json(json!({ "Warnings": warnings })))
}

/// `POST /containers/NAME/rename`
pub async fn rename(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<StatusCode> {
    let new = get(&query, "name").to_owned();
    blocking(move || engine.rename(&name, &new)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /containers/NAME`
pub async fn remove(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Map>,
) -> Result<StatusCode> {
    let is = |key: &str| flag(query.get(key).map(String::as_str));
    let (force, volumes, link) = (is("force"), is("v"), is("link"));
    if link {
        let text = format!("{name}: a link is named CONTAINER/ALIAS");
        return Err(Error::Invalid(text).into());
    }
    blocking(move || engine.remove(&name, force, volumes)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /containers/NAME/ALIAS?link=1`
pub async fn remove_link(
    State(engine): Engined,
    Path((name, alias)): Path<(String, String)>,
    Params(query): Params<Map>,
) -> Result<StatusCode> {
    if !flag(query.get("link").map(String::as_str)) {
        return Err(Error::no_container(&format!("{name}/{alias}")).into());
    }
    blocking(move || engine.remove_link(&name, &alias)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/prune`
pub async fn prune(
    State(engine): Engined,
    Params(query): Params<Map>,
) -> Result<Json<Pruned>> {
    let known = &["until", "label", "label!"];
    let filters = Filters::parse(get(&query, "filters"), known)?;
    blocking(move || engine.prune_containers(&filters)).await.map(Json)
}
