//! What handlers take from a request.
//!
//! axum has extractors for both, whose refusals are plain text. Docker's
//! clients print the `message` of a JSON answer, so ours refuse with that.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::ApiError;

/// The JSON body of a request, whatever its `Content-Type` says; curl sends
/// another one. No body at all means `{}`, as `docker start` sends none.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(
        request: Request,
        state: &S,
    ) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|cause| ApiError::bad_request(cause.body_text()))?;
        let text = if body.is_empty() { &b"{}"[..] } else { &body[..] };
        serde_json::from_slice(text).map(JsonBody).map_err(|cause| {
            ApiError::bad_request(format!("invalid JSON: {cause}"))
        })
    }
}

/// The parameters behind `?`, with errors as JSON.
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(it)| Params(it))
            .map_err(|cause| ApiError::bad_request(cause.body_text()))
    }
}
