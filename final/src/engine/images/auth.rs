//! Who asks a registry: what clients send along, and what comes back when
//! that is not enough.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use http::HeaderMap;
pub use layers::registry::Auth;
use layers::registry::{Described, RegistryError};

use crate::engine::Engine;
use crate::engine::error::{Error, Result};

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

    /// One account.
    pub(crate) fn only(registry: &str, auth: Auth) -> Logins {
        Logins([(registry.to_owned(), auth)].into())
    }

    /// The account for a registry. Old clients send whole addresses.
    pub fn of(&self, wanted: &str) -> Option<Auth> {
        let same = || self.0.iter().find(|(key, _)| domain(key) == wanted);
        let found = self.0.get(wanted).or_else(|| Some(same()?.1));
        found.cloned()?.completed()
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

impl Engine {
    /// `docker login`: asks the registry whether it knows the account.
    /// Nothing is kept here; the client keeps it, or the identity token that
    /// some registries give in its place.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] in the registry's words.
    pub fn log_in(&self, auth: Auth) -> Result<Option<String>> {
        let domain = domain(&auth.serveraddress);
        let options = self.pull_options(None, auth.completed());
        match layers::registry::log_in(&domain, &options) {
            Err(layers::Error::Registry(
                error @ (RegistryError::Unauthorized { .. }
                | RegistryError::Denied { .. }),
            )) => Err(Error::Unauthorized(error.to_string())),
            other => Ok(other?),
        }
    }

    /// What a registry has under a name.
    ///
    /// # Errors
    /// In the registry's words.
    pub fn describe(
        &self,
        name: &str,
        auth: Option<Auth>,
    ) -> Result<Described> {
        let reference = super::named(name, "")?;
        let options = self.pull_options(None, auth);
        Ok(layers::registry::describe(&reference, &options)?)
    }
}

/// `https://index.docker.io/v1/` and the empty address mean Docker Hub.
fn domain(address: &str) -> String {
    let address =
        address.trim_start_matches("https://").trim_start_matches("http://");
    match address.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        host => host.to_owned(),
    }
}

/// The status that clients expect for what a registry said.
pub(super) fn refusal(error: &RegistryError) -> Error {
    let text = error.to_string();
    match error {
        // A registry does not tell a private image from one that is not.
        RegistryError::Denied { .. }
        | RegistryError::ManifestUnknown(_)
        | RegistryError::NoPlatform { .. } => Error::NotFound(text),
        RegistryError::Unauthorized { .. } => Error::Unauthorized(text),
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
            "password":"x"},"lan:5000":{"auth":"YTpi"},
            "https://old:5000/v1/":{"auth":"YTpi"}}"#;
        for alphabet in [URL_SAFE, STANDARD] {
            let engine = GeneralPurpose::new(&alphabet, NO_PAD);
            let mut headers = HeaderMap::new();
            let value = engine.encode(json).parse().unwrap();
            headers.insert("x-registry-config", value);
            let logins = Logins::from_headers(&headers);
            assert_eq!(logins.of("docker.io").unwrap().username, "me>>>");
            assert_eq!(logins.of("lan:5000").unwrap().username, "a");
            assert!(logins.of("old:5000").is_some());
            assert!(logins.of("ghcr.io").is_none());
        }
    }

    #[test]
    fn the_address_of_docker_hub_has_many_forms() {
        for hub in ["", "https://index.docker.io/v1/", "index.docker.io"] {
            assert_eq!(domain(hub), "docker.io");
        }
        assert_eq!(domain("http://127.0.0.1:5000"), "127.0.0.1:5000");
    }
}
