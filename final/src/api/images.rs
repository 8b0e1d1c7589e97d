//! `/images`, `/distribution` and `/auth`.
//!
//! An image's name may have slashes in it, so a path below `/images` is
//! taken apart from its end.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use cli_api::server::{ApiError, ApiVersion, JsonBody, Params};
use http::{HeaderMap, StatusCode, header};
use layers::Platform;
use serde::Deserialize;
use serde_json::{Value, json};

use super::blocking;
use super::streams::{self, Query};
use crate::engine::filters::Filters;
use crate::engine::images::auth::{self, Auth};
use crate::engine::images::list::{self, Wish};
use crate::engine::images::{pull, push, transfer};
use crate::engine::{Engine, Error};

type Shared = State<Arc<Engine>>;
type Pairs = Params<Vec<(String, String)>>;

/// Everything about images.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/create", post(create))
        .route("/images/load", post(load))
        .route("/images/get", get(save))
        .route("/images/search", get(search))
        .route("/images/prune", post(prune))
        .route("/images/{*name}", get(view).post(change).delete(remove))
        .route("/distribution/{*name}", get(distribution))
        .route("/auth", post(login))
}

async fn list(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Params(query): Pairs,
) -> Result<Response, ApiError> {
    let query = Query(query);
    // `filter` was the name of one reference before API 1.25.
    let filters = Filters::parse(query.get("filters"), list::FILTERS)?;
    let wish = Wish {
        all: query.flag("all"),
        shared_size: query.flag("shared-size"),
        filters,
    };
    let images = blocking(move || engine.list_images(&wish, version));
    Ok(Json(images.await?).into_response())
}

/// `GET /images/NAME/json`, `…/history`, `…/get`; and `…/export`, which is
/// ours: the files alone.
async fn view(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(path): Path<String>,
    Params(query): Pairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (name, verb) = split(&path)?;
    let query = Query(query);
    let platforms = query.all("platform");
    only_for(&engine, std::slice::from_ref(&name), &platforms)?;
    match verb {
        "json" => {
            let version = understood_by(&headers, version);
            let view = move || engine.inspect_image(&name, version);
            Ok(Json(blocking(view).await?).into_response())
        }
        "history" => {
            let mut steps = blocking(move || engine.history(&name)).await?;
            // Docker's clients know no such field; ours asks for it.
            if !query.flag("layers") {
                steps.iter_mut().for_each(|it| it.layer = None);
            }
            Ok(Json(steps).into_response())
        }
        "get" => export(engine, vec![name]).await,
        "export" => {
            streams::download(engine, move |engine, out| {
                engine.export_image(&name, out)
            })
            .await
        }
        _ => Err(nothing()),
    }
}

/// Compose 1 asks in the newest version and looks all the same for a field
/// that went with 1.45; without it, it cannot replace a container.
fn understood_by(headers: &HeaderMap, version: ApiVersion) -> ApiVersion {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|it| it.to_str().ok()).unwrap_or_default();
    match agent.starts_with("docker-compose/1.") {
        true => version.min(ApiVersion(1, 44)),
        false => version,
    }
}

/// `POST /images/NAME/tag`, `…/push`.
async fn change(
    State(engine): Shared,
    Path(path): Path<String>,
    Params(query): Pairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (name, verb) = split(&path)?;
    let query = Query(query);
    match verb {
        "tag" => {
            let tag =
                move || engine.tag(&name, query.get("repo"), query.get("tag"));
            blocking(tag).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        "push" => {
            let request = push::Request {
                name,
                tag: query.get("tag").to_owned(),
                auth: auth::header(&headers),
            };
            streams::lines(engine, move |engine, progress| {
                engine.push(&request, progress)
            })
            .await
        }
        _ => Err(nothing()),
    }
}

async fn remove(
    State(engine): Shared,
    Path(name): Path<String>,
    Params(query): Pairs,
) -> Result<Response, ApiError> {
    let query = Query(query);
    // Since API 1.50: one platform's part of an image, which is all of it.
    only_for(&engine, std::slice::from_ref(&name), &query.all("platforms"))?;
    let (force, prune) = (query.flag("force"), !query.flag("noprune"));
    let gone = blocking(move || engine.remove_image(&name, force, prune));
    Ok(Json(gone.await?).into_response())
}

async fn prune(
    State(engine): Shared,
    Params(query): Pairs,
) -> Result<Response, ApiError> {
    let known = &["dangling", "until", "label", "label!"];
    let filters = Filters::parse(Query(query).get("filters"), known)?;
    let pruned = blocking(move || engine.prune_images(&filters));
    Ok(Json(pruned.await?).into_response())
}

/// `POST /images/create`: `pull` or `import`.
async fn create(
    State(engine): Shared,
    Params(query): Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let query = Query(query);
    let platform = platform(query.get("platform"))?;
    if query.get("fromImage").is_empty() {
        let request = transfer::Import {
            source: query.get("fromSrc").to_owned(),
            repo: query.get("repo").to_owned(),
            tag: query.get("tag").to_owned(),
            message: query.get("message").to_owned(),
            changes: query.lines("changes"),
            platform,
            epoch: query.epoch()?,
        };
        if request.source != "-" {
            return streams::lines(engine, move |engine, progress| {
                engine.import_url(&request, progress)
            })
            .await;
        }
        let tar = streams::upload(body);
        return streams::lines(engine, move |engine, progress| {
            engine.import(&request, tar, progress)
        })
        .await;
    }
    let request = pull::Request {
        image: query.get("fromImage").to_owned(),
        tag: query.get("tag").to_owned(),
        platform,
        auth: auth::header(&headers),
        offline: !query.get("offline").eq("never"),
    };
    streams::lines(engine, move |engine, progress| {
        engine.pull(&request, progress)
    })
    .await
}

async fn load(
    State(engine): Shared,
    Params(query): Pairs,
    body: Body,
) -> Result<Response, ApiError> {
    let platform = platform(Query(query).get("platform"))?;
    let tar = streams::upload(body);
    streams::lines(engine, move |engine, progress| {
        // Whatever is wrong with the archive is told as the last line, and
        // the status is 200, as in Docker: clients look for it there.
        if let Err(error) = engine.load(tar, platform.as_ref(), progress) {
            progress.error(&error.to_string(), None);
        }
        Ok(())
    })
    .await
}

async fn save(
    State(engine): Shared,
    Params(query): Pairs,
) -> Result<Response, ApiError> {
    let query = Query(query);
    let names = query.all("names");
    // The docker command repeats the parameter, old clients use commas.
    let names = names.iter().flat_map(|it| it.split(',')).map(str::to_owned);
    let names: Vec<_> = names.collect();
    only_for(&engine, &names, &query.all("platform"))?;
    export(engine, names).await
}

/// `?platform=`: an image here is for one platform, so either it is for that
/// one, or there is none.
fn only_for(
    engine: &Engine,
    names: &[String],
    platforms: &[String],
) -> Result<(), ApiError> {
    for text in platforms {
        let Some(wanted) = platform(text)? else { continue };
        for name in names {
            engine.check_platform(name, &wanted)?;
        }
    }
    Ok(())
}

async fn export(
    engine: Arc<Engine>,
    names: Vec<String>,
) -> Result<Response, ApiError> {
    streams::download(engine, move |engine, out| engine.save(&names, out)).await
}

async fn search(State(_): Shared) -> ApiError {
    ApiError::from(Error::Unsupported(
        "search is not supported: it asks an index that only Docker Hub has; \
         search on https://hub.docker.com, then pull by name"
            .to_owned(),
    ))
}

async fn distribution(
    State(engine): Shared,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (name, verb) = split(&path)?;
    if verb != "json" {
        return Err(nothing());
    }
    let auth = auth::header(&headers);
    let found = blocking(move || engine.describe(&name, auth)).await?;
    Ok(Json(json!({
        "Descriptor": {
            "mediaType": found.descriptor.media_type,
            "digest": found.descriptor.digest,
            "size": found.descriptor.size,
        },
        "Platforms": found.platforms,
    }))
    .into_response())
}

async fn login(
    State(engine): Shared,
    JsonBody(account): JsonBody<Auth>,
) -> Result<Json<Value>, ApiError> {
    let token = blocking(move || engine.log_in(account)).await?;
    let (token, status) = (token.unwrap_or_default(), "Login Succeeded");
    Ok(Json(json!({ "IdentityToken": token, "Status": status })))
}

/// `NAME/verb`.
fn split(path: &str) -> Result<(String, &str), ApiError> {
    match path.rsplit_once('/') {
        Some((name, verb)) if !name.is_empty() => Ok((name.to_owned(), verb)),
        _ => Err(nothing()),
    }
}

fn nothing() -> ApiError {
    ApiError::not_found("page not found")
}

/// A platform as text (`linux/arm64`), or as newer clients write it:
/// `{"os":"linux","architecture":"arm64"}`.
pub(super) fn platform(text: &str) -> Result<Option<Platform>, ApiError> {
    #[derive(Deserialize)]
    struct Parts {
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
        #[serde(default)]
        variant: String,
    }
    if text.is_empty() {
        return Ok(None);
    }
    let text = match serde_json::from_str::<Parts>(text) {
        Ok(parts) => {
            let parts = [parts.os, parts.architecture, parts.variant];
            parts
                .into_iter()
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>()
                .join("/")
        }
        Err(_) => text.to_owned(),
    };
    text.parse().map(Some).map_err(|error: layers::platform::PlatformError| {
        ApiError::bad_request(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_slashes() {
        let (name, verb) = split("localhost:5000/a/b/json").unwrap();
        assert_eq!((name.as_str(), verb), ("localhost:5000/a/b", "json"));
        assert!(split("json").is_err());
    }

    #[test]
    fn a_platform_comes_in_two_forms() {
        let json = r#"{"architecture":"arm64","os":"linux"}"#;
        for text in ["linux/arm64", json] {
            let it = platform(text).unwrap().unwrap();
            assert_eq!(it.to_string(), "linux/arm64");
        }
        assert!(platform("").unwrap().is_none());
        assert!(platform("a/b/c/d").is_err());
    }
}
