//! Files at a URL, which `import` and `build` take instead of an upload.

use std::io::Read;

use super::error::{Error, Result};

/// The body of the answer.
///
/// # Errors
/// [`Error::Internal`] with the URL and the reason.
pub(super) fn get(url: &str) -> Result<impl Read + Send + 'static> {
    let answer = ureq::get(url).call().map_err(|it| failed(url, &it))?;
    Ok(answer.into_body().into_reader())
}

/// Docker's words.
pub(super) fn failed(url: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Internal(format!("failed to GET {url}: {why}"))
}
