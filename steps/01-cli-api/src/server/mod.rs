//! HTTP on a socket, with the manners that Docker's clients expect.
//!
//! A router (axum) maps method and path to a handler. Around it, this
//! module adds what is the same for every answer: the version prefix of the
//! path is taken off and checked, the headers by which clients negotiate are
//! put on, and small request bodies are read before the handler runs.

mod error;
mod extract;
mod hijack;
mod listen;
mod secure;

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, ServiceExt};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt as _};

pub use error::ApiError;
pub use extract::{JsonBody, Params};
pub use hijack::{Hijacked, MULTIPLEXED, Pending, RAW, hijack, switch};
pub use listen::{Listener, bind_tcp, bind_unix};
pub use secure::SecureListener;

/// Who answers, and which versions of the API it speaks.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Product and version for the `Server` header, such as `skiff/0.1.0`.
    pub server: String,
    /// The newest version spoken: `(1, 51)`.
    pub newest: ApiVersion,
    /// The oldest.
    pub oldest: ApiVersion,
}

/// The version in a path such as `/v1.51/info`, as major and minor. Handlers
/// take it from the request's extensions; without a prefix it is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u16, pub u16);

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Bodies up to this size are read before the handler runs.
const SMALL: u64 = 4 << 20;

/// Answers requests on `listener` until `stop` completes, then lets the
/// requests that are under way finish.
///
/// # Errors
/// None today: a failed accept is logged and tried again by axum.
pub async fn serve(
    listener: Listener,
    router: Router,
    identity: Identity,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router.fallback(async || {
        ApiError::new(StatusCode::NOT_FOUND, "page not found")
    });
    // Outside the router, because a router's own layers run after it has
    // chosen the route, and the prefix must be gone by then.
    let service = tower::service_fn(move |request: Request| {
        answer(router.clone(), identity.clone(), request)
    });
    match listener {
        Listener::Unix(it) => serve_on(it, service, stop).await,
        Listener::Tcp(it) => serve_on(it, service, stop).await,
        Listener::Secure(it) => serve_on(it, service, stop).await,
    }
}

/// Compiled once for each type of listener.
async fn serve_on<L, S, A>(
    listener: L,
    service: S,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()>
where
    L: axum::serve::Listener<Addr = A>,
    S: Service<Request, Response = Response, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    A: std::fmt::Debug,
{
    axum::serve(listener, service.into_make_service())
        .with_graceful_shutdown(stop)
        .await
}

/// One request: prepared, routed, and its answer given the usual headers.
/// It cannot fail; what goes wrong becomes an answer, too.
async fn answer(
    router: Router,
    identity: Identity,
    request: Request,
) -> Result<Response, Infallible> {
    let mut response = match prepare(&identity, request).await {
        Ok(request) => {
            let Ok(response) = router.oneshot(request).await;
            response
        }
        Err(refused) => refused.into_response(),
    };
    put_headers(&identity, response.headers_mut());
    Ok(response)
}

/// Takes the version off the path, and small bodies off the connection.
async fn prepare(
    identity: &Identity,
    request: Request,
) -> Result<Request, ApiError> {
    let (mut head, body) = request.into_parts();
    let version = match split_version(head.uri.path()) {
        Some((version, rest)) => {
            identity.check(version)?;
            head.uri = replace_path(&head.uri, rest)?;
            version
        }
        None => identity.newest,
    };
    head.extensions.insert(version);
    let size = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    // A handler that leaves a body unread makes hyper close the connection
    // (the client's next request then fails), and a 101 answer would leave
    // the body in front of the raw stream. Uploads are chunked or large.
    let body = match size {
        Some(size) if size <= SMALL => {
            let read = body.collect().await.map_err(|cause| {
                ApiError::new(StatusCode::BAD_REQUEST, cause.to_string())
            })?;
            Body::from(read.to_bytes())
        }
        _ => body,
    };
    Ok(Request::from_parts(head, body))
}

impl Identity {
    /// Refuses versions that we do not speak, in Docker's words.
    fn check(&self, asked: ApiVersion) -> Result<(), ApiError> {
        let refused = if asked > self.newest {
            format!(
                "client version {asked} is too new. Maximum supported API \
                 version is {}",
                self.newest
            )
        } else if asked < self.oldest {
            format!(
                "client version {asked} is too old. Minimum supported API \
                 version is {}, please upgrade your client to a newer version",
                self.oldest
            )
        } else {
            return Ok(());
        };
        Err(ApiError::new(StatusCode::BAD_REQUEST, refused))
    }
}

/// `/v1.51/info` → version 1.51 and `/info`.
fn split_version(path: &str) -> Option<(ApiVersion, &str)> {
    let (version, rest) = path.strip_prefix("/v")?.split_once('/')?;
    let (major, minor) = version.split_once('.')?;
    let version = ApiVersion(major.parse().ok()?, minor.parse().ok()?);
    Some((version, &path[path.len() - rest.len() - 1..]))
}

/// The same target with another path; what is behind `?` stays.
fn replace_path(uri: &Uri, path: &str) -> Result<Uri, ApiError> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    target.parse().map_err(|cause: http::uri::InvalidUri| {
        ApiError::new(StatusCode::BAD_REQUEST, cause.to_string())
    })
}

/// By `Api-Version` the docker command chooses the version it speaks;
/// without the header it falls back to 1.24 and refuses half its verbs.
fn put_headers(identity: &Identity, headers: &mut http::HeaderMap) {
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put("api-version", &identity.newest.to_string());
    put("docker-experimental", "false");
    put("ostype", "linux");
    put("server", &format!("{} (linux)", identity.server));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_prefix_is_split_off() {
        let it = split_version("/v1.51/containers/json");
        assert_eq!(it, Some((ApiVersion(1, 51), "/containers/json")));
        for plain in ["/version", "/volumes/a", "/v1", "/v1.x/info", "/_ping"] {
            assert_eq!(split_version(plain), None, "{plain}");
        }
    }

    #[test]
    fn versions_out_of_range_are_refused_in_dockers_words() {
        let identity = Identity {
            server: "test".to_owned(),
            newest: ApiVersion(1, 51),
            oldest: ApiVersion(1, 24),
        };
        let say = |v| identity.check(v).unwrap_err().message;
        let both = [say(ApiVersion(1, 99)), say(ApiVersion(1, 9))];
        insta::assert_snapshot!(both.join("\n"));
        assert!(identity.check(ApiVersion(1, 41)).is_ok());
    }
}
