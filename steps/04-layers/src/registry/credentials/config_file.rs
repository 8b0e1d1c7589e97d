//! `config.json`: what `docker login` leaves, and where.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Auth, CredentialsError, Helper};
use crate::reference::DEFAULT_DOMAIN;

/// Docker Hub's name in config.json, for the sake of history.
const HUB: &str = "https://index.docker.io/v1/";

/// The file, and what is to become of it.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    path: PathBuf,
    content: Content,
}

/// The part that is about accounts. The rest stays as it is when the file is
/// written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    /// Name and password in the file itself.
    auths: BTreeMap<String, Entry>,
    /// One helper for all registries…
    #[serde(skip_serializing_if = "String::is_empty")]
    creds_store: String,
    /// …or one for each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What the file has for one registry: nothing, where a helper has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    registrytoken: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Where an account is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// By a helper.
    ByHelper,
    /// In the file, for everybody to read who can read that.
    InFile,
}

impl ConfigFile {
    /// Reads `config.json` in a directory; none at all is an empty one.
    ///
    /// # Errors
    /// If there is one and it cannot be read, or is no JSON.
    pub fn load(dir: &Path) -> Result<ConfigFile, CredentialsError> {
        let mut file = ConfigFile::empty(dir);
        let shown = || file.path.display().to_string();
        let bytes = match fs::read(&file.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(file),
            Err(cause) => {
                let (verb, path) = ("read", shown());
                return Err(CredentialsError::Access { verb, path, cause });
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(content) => file.content = content,
            Err(e) => {
                let (path, problem) = (shown(), e.to_string());
                return Err(CredentialsError::Damaged { path, problem });
            }
        }
        Ok(file)
    }

    /// One that says nothing.
    pub fn empty(dir: &Path) -> ConfigFile {
        let path = dir.join("config.json");
        ConfigFile { path, content: Content::default() }
    }

    /// A registry's name in the file: its host and port, but for Docker Hub.
    pub fn key(server: &str) -> String {
        match server {
            "" | HUB | DEFAULT_DOMAIN | "index.docker.io" => HUB.to_owned(),
            server => hostname(server).to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The account for a registry, by its domain in an image's name or by the
    /// address that `login` was given.
    ///
    /// # Errors
    /// If a helper fails.
    pub fn find(&self, server: &str) -> Result<Option<Auth>, CredentialsError> {
        let key = ConfigFile::key(server);
        let helped = match self.helper(&key) {
            Some(helper) => helper.get(&key)?,
            None => None,
        };
        Ok(helped.or_else(|| self.in_file(&key)))
    }

    /// All accounts, for a build, whose FROM lines may name any registry. A
    /// helper that fails takes nothing from the others; why it did comes
    /// second.
    pub fn all(&self) -> (BTreeMap<String, Auth>, Vec<CredentialsError>) {
        let mut failed = Vec::new();
        let Content { auths, cred_helpers, .. } = &self.content;
        let keys = auths.keys().chain(cred_helpers.keys());
        let mut keys: Vec<String> = keys.cloned().collect();
        if let Some(helper) = self.helper("") {
            match helper.list() {
                Ok(listed) => keys.extend(listed),
                Err(why) => failed.push(why),
            }
        }
        keys.sort();
        keys.dedup();
        let mut all = BTreeMap::new();
        for key in keys {
            match self.find(&key) {
                Ok(Some(auth)) => {
                    all.insert(auth.serveraddress.clone(), auth);
                }
                Ok(None) => {}
                Err(why) => failed.push(why),
            }
        }
        (all, failed)
    }

    /// Keeps an account that the registry has accepted: with the helper where
    /// there is one, and the file has only its name then.
    ///
    /// # Errors
    /// If the helper fails or the file cannot be written.
    pub fn remember(&mut self, auth: &Auth) -> Result<Kept, CredentialsError> {
        let key = ConfigFile::key(&auth.serveraddress);
        let mut entry = Entry::default();
        let kept = match self.helper(&key) {
            Some(helper) => {
                let auth = Auth { serveraddress: key.clone(), ..auth.clone() };
                helper.store(&auth)?;
                Kept::ByHelper
            }
            None => {
                let pair = format!("{}:{}", auth.username, auth.password);
                entry.auth = STANDARD.encode(pair);
                entry.identitytoken.clone_from(&auth.identitytoken);
                Kept::InFile
            }
        };
        self.content.auths.insert(key, entry);
        self.save()?;
        Ok(kept)
    }

    /// Forgets a registry, with the helper and in the file.
    ///
    /// # Errors
    /// As [`ConfigFile::remember`].
    pub fn forget(&mut self, server: &str) -> Result<(), CredentialsError> {
        let key = ConfigFile::key(server);
        let helped = self.helper(&key).map(|helper| helper.erase(&key));
        let before = self.content.auths.len();
        let host = hostname(&key).to_owned();
        // Older commands left whole addresses there.
        self.content.auths.retain(|it, _| *it != key && hostname(it) != host);
        if self.content.auths.len() < before {
            self.save()?;
        }
        helped.unwrap_or(Ok(()))
    }

    fn helper(&self, key: &str) -> Option<Helper> {
        let store = &self.content.creds_store;
        let name = self.content.cred_helpers.get(key).unwrap_or(store);
        (!name.is_empty()).then(|| Helper::new(name))
    }

    fn in_file(&self, key: &str) -> Option<Auth> {
        let auths = &self.content.auths;
        let entry = auths.get(key).or_else(|| {
            let mut all = auths.iter();
            all.find(|(it, _)| hostname(it) == key).map(|(_, entry)| entry)
        })?;
        let auth = Auth {
            auth: entry.auth.clone(),
            identitytoken: entry.identitytoken.clone(),
            registrytoken: entry.registrytoken.clone(),
            serveraddress: key.to_owned(),
            ..Auth::default()
        };
        let auth = auth.completed()?;
        Some(Auth { auth: String::new(), ..auth })
    }

    /// A link to the file stays one: some keep their settings elsewhere. The
    /// new file is made beside the old one, and only for its owner.
    fn save(&self) -> Result<(), CredentialsError> {
        let path = fs::canonicalize(&self.path);
        let path = path.unwrap_or_else(|_| self.path.clone());
        let write = || -> io::Result<()> {
            let dir = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(&self.json()?)?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|cause| {
            let (verb, path) = ("write", path.display().to_string());
            CredentialsError::Access { verb, path, cause }
        })
    }

    /// With tabs, as `docker` writes it.
    fn json(&self) -> io::Result<Vec<u8>> {
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut bytes = Vec::new();
        let mut json = serde_json::Serializer::with_formatter(&mut bytes, tabs);
        self.content.serialize(&mut json)?;
        Ok(bytes)
    }
}

/// `host:port` of an address.
fn hostname(address: &str) -> &str {
    let rest = address.strip_prefix("https://");
    let rest = rest.or_else(|| address.strip_prefix("http://"));
    rest.unwrap_or(address).split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, ConfigFile) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), text).unwrap();
        let file = ConfigFile::load(dir.path()).unwrap();
        (dir, file)
    }

    fn account(server: &str) -> Auth {
        Auth {
            username: "me".to_owned(),
            password: "se:cret".to_owned(),
            serveraddress: server.to_owned(),
            ..Auth::default()
        }
    }

    #[test]
    fn a_password_is_remembered_and_the_rest_of_the_file_stays() {
        let text = r#"{"auths":{"r:5000":{"auth":"dTpwOnc=","email":"e"}},
            "psFormat":"x"}"#;
        let (dir, mut file) = file(text);
        let known = file.find("r:5000").unwrap().unwrap();
        assert_eq!((&*known.username, &*known.password), ("u", "p:w"));
        assert_eq!(file.find("docker.io").unwrap(), None);
        let kept = file.remember(&account("docker.io")).unwrap();
        assert_eq!(kept, Kept::InFile);
        let file = ConfigFile::load(dir.path()).unwrap();
        for name in ["", "docker.io", "index.docker.io", HUB] {
            let known = file.find(name).unwrap().unwrap();
            assert_eq!(known, account(HUB), "{name}");
        }
        let written = fs::read_to_string(file.path()).unwrap();
        insta::assert_snapshot!(written, @r#"
        {
        	"auths": {
        		"https://index.docker.io/v1/": {
        			"auth": "bWU6c2U6Y3JldA=="
        		},
        		"r:5000": {
        			"auth": "dTpwOnc=",
        			"email": "e"
        		}
        	},
        	"psFormat": "x"
        }
        "#);
        let (all, failed) = file.all();
        assert_eq!(all.keys().collect::<Vec<_>>(), [HUB, "r:5000"]);
        assert!(failed.is_empty());
    }

    #[test]
    fn an_address_counts_by_its_host_and_is_forgotten_in_every_form() {
        let auth = r#"{"auth":"dTpw"}"#;
        let text =
            format!(r#"{{"auths":{{"https://r:5/v1/":{auth},"s:5":{auth}}}}}"#);
        let (dir, mut file) = file(&text);
        assert!(file.find("r:5").unwrap().is_some());
        assert!(file.find("http://r:5/v2/").unwrap().is_some());
        file.forget("r:5").unwrap();
        file.forget("https://s:5/v2/").unwrap();
        let file = ConfigFile::load(dir.path()).unwrap();
        assert!(file.content.auths.is_empty());
    }

    #[test]
    fn a_file_is_for_its_owner_and_a_link_to_it_stays() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _) = file("{}");
        let home = tempfile::tempdir().unwrap();
        let target = dir.path().join("config.json");
        let link = home.path().join("config.json");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = ConfigFile::load(home.path()).unwrap();
        file.remember(&account("r:5")).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let mode = target.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(fs::read_to_string(target).unwrap().contains("r:5"));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, "{").unwrap();
        let why = ConfigFile::load(dir.path()).unwrap_err().to_string();
        assert!(why.starts_with(&path.display().to_string()), "{why}");
        assert!(why.contains("EOF while parsing"), "{why}");
    }
}
