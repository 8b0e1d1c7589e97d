//! What handlers take from a request.
//!
//! axum has extractors for both, whose refusals are plain text. Docker's
//! clients print the `message` of a JSON answer, so ours refuse with that.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::ApiError;

/// The JSON body of a request. No body at all means `{}`, as `docker start`
/// sends none; a body has to say that it is JSON. A web page can make a
/// browser send any other `Content-Type` to a port of this machine.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(
        request: Request,
        state: &S,
    ) -> Result<Self, ApiError> {
        let given = request.headers().get(CONTENT_TYPE).cloned();
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|cause| ApiError::bad_request(cause.body_text()))?;
        if !body.is_empty() {
            says_json(given.as_ref())?;
        }
        let text = if body.is_empty() { &b"{}"[..] } else { &body[..] };
        serde_json::from_slice(text).map(JsonBody).map_err(|cause| {
            ApiError::bad_request(format!("invalid JSON: {cause}"))
        })
    }
}

/// Docker's check, and its words.
fn says_json(given: Option<&HeaderValue>) -> Result<(), ApiError> {
    let bytes = given.map_or(&b""[..], HeaderValue::as_bytes);
    let text = String::from_utf8_lossy(bytes);
    let kind = text.split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false if kind.is_empty() => Err(ApiError::bad_request(
            "malformed Content-Type header (): mime: no media type",
        )),
        false => Err(ApiError::bad_request(format!(
            "unsupported Content-Type header ({kind}): must be \
             'application/json'"
        ))),
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
        Query::try_from_uri(&parts.uri).map(|Query(it)| Params(it)).map_err(
            |cause| {
                let text = format!("invalid query string: {cause}");
                ApiError::bad_request(text)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_to_say_that_it_is_json() {
        let check = |kind| {
            let kind = HeaderValue::from_static(kind);
            says_json(Some(&kind)).err().map(|it| it.message)
        };
        assert_eq!(check("application/json"), None);
        assert_eq!(check("Application/JSON; charset=utf-8"), None);
        let refused = check("text/plain").unwrap();
        assert_eq!(
            refused,
            "unsupported Content-Type header (text/plain): must be \
             'application/json'"
        );
        assert!(says_json(None).is_err());
    }
}
