//! What the engine says no with, by what it means for the caller.
//!
//! The API turns each kind into the status that Docker's clients expect; the
//! text is the whole message, mostly in Docker's own words, because people
//! (and the docker command itself) look for them.

use cli_api::server::ApiError;
use http::StatusCode;
use thiserror::Error;

/// A request that was not done.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// There is no such thing: 404.
    #[error("{0}")]
    NotFound(String),
    /// The request itself is wrong: 400.
    #[error("{0}")]
    Invalid(String),
    /// Right as a request, but not in the present state: 409.
    #[error("{0}")]
    Conflict(String),
    /// It is so already: 304, which clients count as success.
    #[error("nothing to change")]
    NotModified,
    /// A registry does not know the account: 401.
    #[error("{0}")]
    Unauthorized(String),
    /// Not allowed: 403.
    #[error("{0}")]
    Forbidden(String),
    /// Known to Docker, and refused here: 501.
    #[error("{0}")]
    Unsupported(String),
    /// A service of the node that is not there: 503.
    #[error("{0}")]
    Unavailable(String),
    /// Everything else: 500.
    #[error("{0}")]
    Internal(String),
}

/// What every verb of the engine returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A 404 in Docker's words for containers.
    pub fn no_container(name: &str) -> Error {
        Error::NotFound(format!("No such container: {name}"))
    }

    /// An operating system's error with what was being done.
    pub fn io(
        doing: &str,
        path: &std::path::Path,
    ) -> impl Fn(std::io::Error) -> Error {
        let what = format!("cannot {doing} {}", path.display());
        move |cause| Error::Internal(format!("{what}: {cause}"))
    }

    /// Anything unexpected, with its own text.
    pub fn internal(cause: impl std::fmt::Display) -> Error {
        Error::Internal(cause.to_string())
    }

    /// The same kind of error with more words in front.
    #[must_use]
    pub fn context(self, before: &str) -> Error {
        let say = |text: String| format!("{before}: {text}");
        match self {
            Error::NotFound(text) => Error::NotFound(say(text)),
            Error::Invalid(text) => Error::Invalid(say(text)),
            Error::Conflict(text) => Error::Conflict(say(text)),
            Error::NotModified => Error::NotModified,
            Error::Unauthorized(text) => Error::Unauthorized(say(text)),
            Error::Forbidden(text) => Error::Forbidden(say(text)),
            Error::Unsupported(text) => Error::Unsupported(say(text)),
            Error::Unavailable(text) => Error::Unavailable(say(text)),
            Error::Internal(text) => Error::Internal(say(text)),
        }
    }

    /// The status that Docker's clients expect for this kind.
    pub fn status(&self) -> StatusCode {
        match self {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::NotModified => StatusCode::NOT_MODIFIED,
            Error::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<crate::network::Error> for Error {
    fn from(error: crate::network::Error) -> Error {
        let text = error.to_string();
        match error.status() {
            400 => Error::Invalid(text),
            403 => Error::Forbidden(text),
            404 => Error::NotFound(text),
            409 => Error::Conflict(text),
            _ => Error::Internal(text),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        ApiError::new(error.status(), error.to_string())
    }
}
