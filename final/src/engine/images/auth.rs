//! Who asks a registry: what clients send along, and what comes back when
//! that is not enough.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use http::HeaderMap;
pub use layers::registry::Auth;
use layers::registry::RegistryError;

use crate::engine::error::Error;

/// The account in `X-Registry-Auth`, if there is one.
pub fn header(headers: &HeaderMap) -> Option<Auth> {
    Auth::from_header(headers.get("x-registry-auth")?.to_str().ok()?)
}

/// The accounts that a build may use, by registry: `X-Registry-Config`.
#[derive(Debug, Clone, Default)]
pub struct Logins(BTreeMap<String, Auth>);

impl Logins {
    /// Reads the header; what cannot be understood is as good as absent,
    /// since most builds need none.
    pub fn from_headers(headers: &HeaderMap) -> Logins {
        let header = headers.get("x-registry-config");
        let text = header.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let logins = decode(text)
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        Logins(logins)
    }

    /// The account for a registry.
    pub fn of(&self, domain: &str) -> Option<Auth> {
        let hub = ["https://index.docker.io/v1/", "index.docker.io"];
        let keys = std::iter::once(domain)
            .chain(hub.into_iter().filter(|_| domain == "docker.io"));
        let mut found = keys.filter_map(|key| self.0.get(key));
        found.next().cloned()
    }
}

/// Some clients use the URL alphabet and some the other, with and without
/// padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_end_matches('=');
    [URL_SAFE, STANDARD]
        .iter()
        .find_map(|it| GeneralPurpose::new(it, NO_PAD).decode(text).ok())
}

/// The status that clients expect for what a registry said.
pub(super) fn refusal(error: &RegistryError) -> Error {
    let text = error.to_string();
    match error {
        // A registry does not tell a private image from one that is not.
        RegistryError::Denied { .. }
        | RegistryError::ManifestUnknown(_)
        | RegistryError::NoPlatform { .. } => Error::NotFound(text),
        RegistryError::Unauthorized { .. } => Error::Forbidden(text),
        RegistryError::Unsupported { .. } => Error::Unsupported(text),
        _ => Error::Internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_come_in_either_alphabet_by_registry() {
        let json = r#"{"https://index.docker.io/v1/":{"username":"me>>>",
            "password":"x"},"lan:5000":{"auth":"YTpi"}}"#;
        for alphabet in [URL_SAFE, STANDARD] {
            let engine = GeneralPurpose::new(&alphabet, NO_PAD);
            let mut headers = HeaderMap::new();
            let value = engine.encode(json).parse().unwrap();
            headers.insert("x-registry-config", value);
            let logins = Logins::from_headers(&headers);
            assert_eq!(logins.of("docker.io").unwrap().username, "me>>>");
            assert!(logins.of("lan:5000").is_some());
            assert!(logins.of("ghcr.io").is_none());
        }
    }
}
