//! What registries answer when they do not answer well.

use serde::Deserialize;

/// Why a registry did not do what was asked. Where Docker has a sentence, it
/// is Docker's.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers there.
    #[error("cannot reach registry {host}: {problem}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why, and what to do.
        problem: String,
    },
    /// We are not who may have this, or it does not exist: registries do not
    /// tell the two apart, so that nobody can probe for private names.
    #[error(
        "pull access denied for {repository}, repository does not exist or \
         may require 'docker login': {detail}"
    )]
    Denied {
        /// The repository's familiar name.
        repository: String,
        /// The registry's own words.
        detail: String,
    },
    /// Name and password, or token, were refused.
    #[error(
        "{host}: unauthorized: {detail}; log in there first (login {host})"
    )]
    Unauthorized {
        /// Host and port.
        host: String,
        /// The registry's own words.
        detail: String,
    },
    /// The tag or digest is not there.
    #[error("manifest for {0} not found: manifest unknown: manifest unknown")]
    ManifestUnknown(String),
    /// Too many pulls.
    #[error(
        "toomanyrequests: {detail}. Registry {host} limits pulls per address; \
         log in, wait, or use a mirror (--registry-mirror)"
    )]
    TooManyRequests {
        /// Host and port.
        host: String,
        /// The registry's own words.
        detail: String,
    },
    /// None of the platforms on offer is ours.
    #[error(
        "no matching manifest for {wanted} in the manifest list entries of \
         {reference}; it has: {}", offered.join(", ")
    )]
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// Our platform.
        wanted: String,
        /// Theirs.
        offered: Vec<String>,
    },
    /// Something else than success.
    #[error("{method} {url}: {status}: {detail}")]
    Status {
        /// The request's method.
        method: &'static str,
        /// The request's address.
        url: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words.
        detail: String,
    },
    /// An answer that makes no sense.
    #[error("{url}: {problem}")]
    Protocol {
        /// The request's address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// What this engine does not do with registries.
    #[error("{what}: not supported: {why}")]
    Unsupported {
        /// Image or layer.
        what: String,
        /// Why, and what to do instead.
        why: String,
    },
    /// `docker-credential-*` or config.json.
    #[error("cannot read the credentials for {host}: {problem}")]
    Credentials {
        /// Host and port.
        host: String,
        /// What is wrong.
        problem: String,
    },
}

impl RegistryError {
    /// Says whether the registry itself is out of reach or out of patience:
    /// then the offline catalogue may help.
    pub fn is_outage(&self) -> bool {
        match self {
            RegistryError::Unreachable { .. }
            | RegistryError::TooManyRequests { .. } => true,
            RegistryError::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

/// The body of an error answer.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Item>,
    /// Token servers have this instead.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The registry's own words from an error body, as Docker prints them.
pub(super) fn detail(body: &[u8], status: u16) -> String {
    let parsed = serde_json::from_slice::<Body>(body);
    let words = parsed.ok().and_then(|body| {
        let Some(item) = body.errors.into_iter().next() else {
            return body.details;
        };
        let code = item.code.to_lowercase().replace('_', " ");
        Some(match (code.as_str(), item.message.as_str()) {
            ("", "") => reason(status).to_owned(),
            // Our own sentence begins with these already.
            ("" | "toomanyrequests" | "unauthorized", message)
                if !message.is_empty() =>
            {
                message.to_owned()
            }
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        })
    });
    let words = words.filter(|words| !words.is_empty());
    words.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().next().unwrap_or_default().trim();
        // A proxy's HTML page says nothing to a person.
        match line.is_empty() || line.starts_with('<') {
            true => reason(status).to_owned(),
            false => line.chars().take(200).collect(),
        }
    })
}

fn reason(status: u16) -> &'static str {
    match status {
        401 => "authentication required",
        403 => "access forbidden",
        404 => "not found",
        429 => "too many requests",
        500 => "the registry failed (internal server error)",
        502 => "a proxy got no answer from the registry (bad gateway)",
        503 => "the registry is overloaded or down (service unavailable)",
        504 => "a proxy waited in vain for the registry (gateway timeout)",
        _ => "the registry gave no reason",
    }
}
