//! The reading half of the OCI distribution specification.
//!
//! ```text
//! GET /v2/                                    are you a registry?
//! GET /v2/_catalog                            what have you?
//! GET /v2/nginx/tags/list                     which versions of it?
//! GET /v2/nginx/manifests/latest              what is it made of?
//! GET /v2/nginx/blobs/sha256:ddd…             that part of it, please
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::shelf::{Range, Shelf};

type Shelved = State<Arc<Shelf>>;

/// All that can be asked for. HEAD is answered like GET, without the body.
pub(super) fn router(shelf: Shelf) -> Router {
    Router::new()
        .route("/v2/", get(async || json_of(&json!({}))))
        .route("/v2/_catalog", get(catalog))
        .route("/v2/{*path}", get(repository))
        .method_not_allowed_fallback(async || {
            let text = "this registry is read-only";
            refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", text)
        })
        .with_state(Arc::new(shelf))
}

async fn catalog(State(shelf): Shelved) -> Response {
    json_of(&json!({ "repositories": shelf.repositories() }))
}

/// A repository's name has slashes, so the path is read from its end.
async fn repository(
    State(shelf): Shelved,
    Path(path): Path<String>,
) -> Response {
    if let Some(name) = path.strip_suffix("/tags/list") {
        return match shelf.tags(name) {
            Some(tags) => json_of(&json!({ "name": name, "tags": tags })),
            None => unknown("NAME_UNKNOWN", name),
        };
    }
    if let Some((name, reference)) = path.rsplit_once("/manifests/") {
        let Some(found) = shelf.manifest(name, reference) else {
            return unknown("MANIFEST_UNKNOWN", reference);
        };
        let digest = found.digest.to_string();
        let kind = found.media_type.clone();
        return blob(shelf, &digest, &kind);
    }
    if let Some((_, digest)) = path.rsplit_once("/blobs/") {
        return blob(shelf, digest, "application/octet-stream");
    }
    unknown("NAME_UNKNOWN", &path)
}

fn blob(shelf: Arc<Shelf>, digest: &str, kind: &str) -> Response {
    let Some(range) = shelf.blob(digest) else {
        return unknown("BLOB_UNKNOWN", digest);
    };
    let head = [
        (header::CONTENT_TYPE.as_str(), kind.to_owned()),
        (header::CONTENT_LENGTH.as_str(), range.size.to_string()),
        ("docker-content-digest", digest.to_owned()),
        ("docker-distribution-api-version", "registry/2.0".to_owned()),
    ];
    (head, Body::from_stream(pieces(shelf, range))).into_response()
}

/// The parts of a range, one after the other, as the client takes them.
fn pieces(
    shelf: Arc<Shelf>,
    range: Range,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold((shelf, range), async |(shelf, range)| {
        if range.size == 0 {
            return Ok(None);
        }
        let (shelf, read) = tokio::task::spawn_blocking(move || {
            let read = shelf.read(range);
            (shelf, read)
        })
        .await?;
        let (piece, left) = read?;
        Ok(Some((Bytes::from(piece), (shelf, left))))
    })
}

fn json_of(value: &Value) -> Response {
    let head = [
        (header::CONTENT_TYPE.as_str(), "application/json"),
        ("docker-distribution-api-version", "registry/2.0"),
    ];
    (head, value.to_string()).into_response()
}

fn unknown(code: &str, what: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, code, &format!("{what} is not here"))
}

/// Errors have a shape of their own in the specification.
fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    let mut answer = json_of(&body);
    *answer.status_mut() = status;
    answer
}
