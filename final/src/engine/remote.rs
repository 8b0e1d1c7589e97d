//! Files at a URL, which `import` and `build` take instead of an upload.

use std::io::Read;

use layers::build::remote;
use layers::registry::Cancel;

use super::error::{Error, Result};

/// The body of the answer. It ends with an error when the stop is asked for,
/// and when the server keeps silent.
///
/// # Errors
/// [`Error::Internal`] with the URL and the reason.
pub(super) fn get(
    url: &str,
    cancel: &Cancel,
) -> Result<impl Read + Send + 'static> {
    let answer = remote::get(url, cancel).map_err(Error::Internal)?;
    Ok(answer.into_body().into_reader())
}

/// Docker's words.
pub(super) fn failed(url: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Internal(remote::failed(url, why))
}
