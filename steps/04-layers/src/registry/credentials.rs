//! Who we are to a registry.
//!
//! `docker login` leaves names and passwords in `~/.docker/config.json`
//! ([`ConfigFile`]), or in a keychain that a helper program speaks to
//! ([`Helper`]). A client of the daemon reads them and sends them along in
//! `X-Registry-Auth`, because the daemon runs as somebody else: it could
//! neither read his file nor open his keychain.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{
    STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD,
};
use serde::{Deserialize, Serialize};

use super::{RegistryConfig, RegistryError};

mod config_file;
mod helper;

pub use config_file::{ConfigFile, Kept};
pub use helper::Helper;

/// What is wrong with `config.json` or with a helper.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read or written.
    #[error("cannot {verb} {path}: {cause}")]
    Access {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// There is a file, and it is none.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A helper that cannot be run, or fails. Docker's sentence.
    #[error("error {doing} credentials - err: {problem}, out: `{said}`")]
    Helper {
        /// `getting`, `storing`…
        doing: &'static str,
        /// Why it is not there, or how it ended.
        problem: String,
        /// What it printed.
        said: String,
    },
}

/// A name and password, or a token instead.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub struct Auth {
    /// Account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Password or access token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// `base64(username:password)`, in place of the two.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// An OAuth2 refresh token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identitytoken: String,
    /// A bearer token, to be used as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub registrytoken: String,
    /// The registry it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serveraddress: String,
}

/// Never prints what is secret.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({} at {})", self.username, self.serveraddress)
    }
}

impl Auth {
    /// Reads an `X-Registry-Auth` header: JSON in base64. `None` when it
    /// says nothing (the client sends `e30=`, `{}`, when not logged in).
    pub fn from_header(header: &str) -> Option<Auth> {
        // Clients differ in alphabet and padding.
        let text = header.trim().trim_end_matches('=');
        let json = URL_SAFE_NO_PAD.decode(text);
        let json = json.or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
        let auth: Auth = serde_json::from_slice(&json).ok()?;
        auth.completed()
    }

    /// The value of an `X-Registry-Auth` header: JSON in base64, of the
    /// alphabet for URLs.
    pub fn to_header(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        URL_SAFE.encode(json)
    }

    /// Splits `auth`; `None` when there is nothing in it.
    pub fn completed(mut self) -> Option<Auth> {
        if self.username.is_empty()
            && let Ok(pair) = STANDARD.decode(self.auth.trim())
            && let Ok(pair) = String::from_utf8(pair)
            && let Some((name, password)) = pair.split_once(':')
        {
            self.username = name.to_owned();
            // Some tools pad with NULs.
            self.password = password.trim_end_matches('\0').to_owned();
        }
        let empty = self.username.is_empty()
            && self.identitytoken.is_empty()
            && self.registrytoken.is_empty();
        (!empty).then_some(self)
    }

    /// The value of an `Authorization: Basic` header.
    pub(super) fn basic(&self) -> Option<String> {
        if self.username.is_empty() {
            return None;
        }
        let pair = format!("{}:{}", self.username, self.password);
        Some(format!("Basic {}", STANDARD.encode(pair)))
    }
}

/// What `docker login` left this process's user for a registry; without it
/// we ask as nobody.
pub(super) fn own(
    config: &RegistryConfig,
    host: &str,
) -> Result<Option<Auth>, RegistryError> {
    let Some(dir) = config_dir(config) else { return Ok(None) };
    let found = ConfigFile::load(&dir).and_then(|file| file.find(host));
    found.map_err(|why| RegistryError::Credentials {
        host: host.to_owned(),
        problem: why.to_string(),
    })
}

/// Docker's rule: `$DOCKER_CONFIG`, else the home directory.
fn config_dir(config: &RegistryConfig) -> Option<PathBuf> {
    let dir = config.docker_config.clone();
    let dir = dir.or_else(|| std::env::var_os("DOCKER_CONFIG").map(Into::into));
    dir.or_else(|| Some(std::env::home_dir()?.join(".docker")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_the_docker_client_is_read() {
        let json = br#"{"username":"u","password":"p","serveraddress":"x"}"#;
        let header = base64::engine::general_purpose::URL_SAFE.encode(json);
        let auth = Auth::from_header(&header).unwrap();
        assert_eq!(
            (auth.username.as_str(), auth.password.as_str()),
            ("u", "p")
        );
        assert_eq!(Auth::from_header(&auth.to_header()), Some(auth.clone()));
        assert_eq!(Auth::default().to_header(), "e30=");
        assert_eq!(Auth::from_header("e30="), None);
        assert_eq!(Auth::from_header("not base64!"), None);
        assert!(
            !format!("{auth:?}").contains('p'.to_string().as_str())
                || !format!("{auth:?}").contains("\"p\"")
        );
    }
}
