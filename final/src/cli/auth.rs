//! Passwords of registries, from Docker's own `config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::context::Global;

/// The part of `config.json` that is about passwords; the rest is kept as
/// it is when the file is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigFile {
    pub(crate) auths: BTreeMap<String, Entry>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What is known for one registry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// `user:password` in base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(
        skip_serializing_if = "String::is_empty",
        rename = "identitytoken"
    )]
    identity_token: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What the engine wants to hear, as `X-Registry-Auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Credentials {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) serveraddress: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) identitytoken: String,
}

/// Docker Hub's key in the file, for historical reasons.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

impl ConfigFile {
    /// Reads the user's file; none at all is an empty one.
    ///
    /// # Errors
    /// If there is one and it cannot be read.
    pub(crate) fn load(global: &Global) -> anyhow::Result<ConfigFile> {
        let Some(dir) = global.config_dir() else {
            return Ok(ConfigFile::default());
        };
        let path = dir.join("config.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|cause| {
                anyhow::anyhow!("{} is damaged: {cause}", path.display())
            }),
            Err(it) if it.kind() == std::io::ErrorKind::NotFound => {
                Ok(ConfigFile::default())
            }
            Err(cause) => {
                anyhow::bail!("cannot read {}: {cause}", path.display())
            }
        }
    }

    /// Writes it back.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(&self, global: &Global) -> anyhow::Result<()> {
        let Some(dir) = global.config_dir() else {
            anyhow::bail!("no home directory; set DOCKER_CONFIG");
        };
        std::fs::create_dir_all(&dir)?;
        cli_api::state::write_json(&dir.join("config.json"), self)?;
        Ok(())
    }

    /// What is known for the registry `domain`, such as `docker.io`.
    pub(crate) fn credentials(&self, domain: &str) -> Credentials {
        let key = key(domain);
        let Some(entry) = self.auths.get(key) else {
            return Credentials::default();
        };
        let decoded = STANDARD.decode(&entry.auth).unwrap_or_default();
        let text = String::from_utf8_lossy(&decoded).into_owned();
        let (user, password) = text.split_once(':').unwrap_or_default();
        Credentials {
            username: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            serveraddress: key.to_owned(),
            identitytoken: entry.identity_token.clone(),
        }
    }

    /// Remembers a password that the registry has accepted.
    pub(crate) fn remember(&mut self, domain: &str, who: &Credentials) {
        let both = format!("{}:{}", who.username, who.password);
        let entry = Entry { auth: STANDARD.encode(both), ..Entry::default() };
        self.auths.insert(key(domain).to_owned(), entry);
    }

    /// Forgets it; whether there was one.
    pub(crate) fn forget(&mut self, domain: &str) -> bool {
        self.auths.remove(key(domain)).is_some()
    }

    /// All of them, for `X-Registry-Config`, which a build sends because
    /// its FROM lines may name any registry.
    pub(crate) fn all(&self) -> BTreeMap<&str, Credentials> {
        let of = |name: &str| self.credentials(name);
        self.auths.keys().map(|name| (name.as_str(), of(name))).collect()
    }
}

fn key(domain: &str) -> &str {
    match domain {
        "" | "docker.io" | "index.docker.io" => HUB,
        other => other,
    }
}

/// As it goes into a header: base64 with the alphabet for URLs.
pub(crate) fn header<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(URL_SAFE.encode(serde_json::to_vec(value)?))
}

/// The `X-Registry-Auth` header for the registry that `image` is in.
pub(crate) fn header_for(
    global: &Global,
    image: &layers::Reference,
) -> anyhow::Result<(&'static str, String)> {
    let config = ConfigFile::load(global)?;
    Ok(("x-registry-auth", header(&config.credentials(image.domain()))?))
}

/// Where a registry's file of passwords is, for messages.
pub(crate) fn shown_path(global: &Global) -> String {
    let dir = global.config_dir().unwrap_or_default();
    Path::new(&dir).join("config.json").display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_remembered_and_the_rest_of_the_file_stays() {
        let text = r#"{"auths":{"r:5000":{"auth":"dTpwOnc="}},"psFormat":"x"}"#;
        let mut file: ConfigFile = serde_json::from_str(text).unwrap();
        let known = file.credentials("r:5000");
        assert_eq!((&*known.username, &*known.password), ("u", "p:w"));
        assert_eq!(file.credentials("docker.io"), Credentials::default());
        let hub = Credentials {
            username: "me".to_owned(),
            password: "secret".to_owned(),
            ..Credentials::default()
        };
        file.remember("docker.io", &hub);
        assert_eq!(file.credentials("docker.io").password, "secret");
        let text = serde_json::to_string(&file).unwrap();
        assert!(text.contains(r#""psFormat":"x""#), "{text}");
        assert!(file.forget("docker.io") && !file.forget("docker.io"));
    }

    #[test]
    fn nothing_known_is_an_empty_object() {
        assert_eq!(header(&Credentials::default()).unwrap(), "e30=");
    }
}
