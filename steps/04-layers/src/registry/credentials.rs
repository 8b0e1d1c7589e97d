//! Who we are to a registry.
//!
//! `docker login` leaves names and passwords in `~/.docker/config.json`, or
//! in a keychain that a helper program (`docker-credential-NAME`) speaks to.
//! A client of the daemon sends them along in `X-Registry-Auth` instead,
//! because the daemon runs as somebody else.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{
    STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD,
};
use serde::Deserialize;

use super::{RegistryConfig, RegistryError};
use crate::reference::DEFAULT_DOMAIN;

/// Docker Hub's name in config.json, for the sake of history.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A name and password, or a token instead.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub struct Auth {
    /// Account.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// `base64(username:password)`, in place of the two.
    pub auth: String,
    /// An OAuth2 refresh token.
    pub identitytoken: String,
    /// A bearer token, to be used as it is.
    pub registrytoken: String,
    /// The registry it is for.
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

    /// Splits `auth`; `None` when there is nothing in it.
    fn completed(mut self) -> Option<Auth> {
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

/// What config.json holds that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    /// Name and password in the file itself.
    auths: HashMap<String, Auth>,
    /// One helper for all registries…
    creds_store: String,
    /// …or one for each.
    cred_helpers: HashMap<String, String>,
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The credentials that `docker login` left for a registry; `None` when
/// there are none: then we ask without.
pub(super) fn find(
    config: &RegistryConfig,
    domain: &str,
) -> Result<Option<Auth>, RegistryError> {
    let Some(path) = config_file(config) else { return Ok(None) };
    let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
    let fail = |problem: String| RegistryError::Credentials {
        host: domain.to_owned(),
        problem,
    };
    let file: File = serde_json::from_slice(&bytes)
        .map_err(|e| fail(format!("{}: {e}", path.display())))?;
    let key = if domain == DEFAULT_DOMAIN { HUB_KEY } else { domain };
    let helper = file.cred_helpers.get(domain).unwrap_or(&file.creds_store);
    if !helper.is_empty()
        && let Some(auth) = ask_helper(helper, key).map_err(fail)?
    {
        return Ok(Some(auth));
    }
    let url = format!("https://{domain}");
    let entry = [key, domain, &url].iter().find_map(|k| file.auths.get(*k));
    Ok(entry.cloned().and_then(Auth::completed))
}

/// Docker's rule: `$DOCKER_CONFIG`, else the home directory.
fn config_file(config: &RegistryConfig) -> Option<PathBuf> {
    let dir = config.docker_config.clone();
    let dir = dir.or_else(|| std::env::var_os("DOCKER_CONFIG").map(Into::into));
    let home =
        || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    Some(dir.or_else(home)?.join("config.json"))
}

/// The helper protocol: the registry on standard input, JSON on standard
/// output. A helper that knows nothing of it says so and fails.
fn ask_helper(name: &str, key: &str) -> Result<Option<Auth>, String> {
    let program = format!("docker-credential-{name}");
    let fail = |e: std::io::Error| format!("{program} get: {e}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may have failed without reading; its exit status tells more.
        let _ = stdin.write_all(key.as_bytes());
    }
    let output = child.wait_with_output().map_err(fail)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return match text.contains("credentials not found") {
            true => Ok(None),
            false => Err(format!("{program} get: {}", text.trim())),
        };
    }
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|_| format!("{program} get: no JSON in its answer"))?;
    let mut auth = Auth { serveraddress: key.into(), ..Auth::default() };
    match answer.username.as_str() {
        "<token>" => auth.identitytoken = answer.secret,
        _ => (auth.username, auth.password) = (answer.username, answer.secret),
    }
    Ok(auth.completed())
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
        assert_eq!(Auth::from_header("e30="), None);
        assert_eq!(Auth::from_header("not base64!"), None);
        assert!(
            !format!("{auth:?}").contains('p'.to_string().as_str())
                || !format!("{auth:?}").contains("\"p\"")
        );
    }

    #[test]
    fn config_json_gives_the_entry_of_the_registry() {
        let dir = tempfile::tempdir().unwrap();
        let config = RegistryConfig {
            docker_config: Some(dir.path().to_owned()),
            ..RegistryConfig::default()
        };
        let text = format!(
            r#"{{"auths":{{"localhost:5000":{{"auth":"{}"}},
               "https://index.docker.io/v1/":{{"auth":"{}"}}}}}}"#,
            STANDARD.encode("me:se:cret"),
            STANDARD.encode("hub:pw"),
        );
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        let found = |domain| find(&config, domain).unwrap();
        assert_eq!(found("localhost:5000").unwrap().password, "se:cret");
        assert_eq!(found("docker.io").unwrap().username, "hub");
        assert_eq!(found("ghcr.io"), None);
    }
}
