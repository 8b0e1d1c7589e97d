//! A daemon that somebody named: by flag, by environment, or as one of the
//! docker command's contexts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli_api::client::Client;
use cli_api::tls;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::context::Global;

/// Where a daemon is, and how it is to be spoken to.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) host: String,
    security: Option<Security>,
}

/// TLS, and with which files.
#[derive(Debug)]
struct Security {
    /// Our certificate, if we have one to show.
    own: Option<tls::Pair>,
    /// Whose daemons are believed; `None`: anybody's.
    daemons: Option<PathBuf>,
}

impl Endpoint {
    /// The docker command's order: `-H`, `--context`, `DOCKER_HOST`,
    /// `DOCKER_CONTEXT`, the context in use. `None`: nobody named any.
    pub(super) fn find(global: &Global) -> anyhow::Result<Option<Endpoint>> {
        if let Some(name) = &global.context {
            return named(global, name);
        }
        let host = global.host.clone().or_else(|| variable("DOCKER_HOST"));
        if let Some(host) = host.filter(|it| !it.is_empty()) {
            let security = Security::from_flags(global);
            return Ok(Some(Endpoint { host, security }));
        }
        let used = variable("DOCKER_CONTEXT").or_else(|| in_use(global));
        match used {
            Some(name) => named(global, &name),
            None => Ok(None),
        }
    }

    /// A client that speaks to it.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let client = Client::new(self.host.parse()?);
        // A socket file has its own protection.
        if client.host().unix().is_some() {
            return Ok(client);
        }
        Ok(match &self.security {
            None => client,
            Some(it) => {
                let daemons = it.daemons.as_deref();
                client.with_tls(tls::client(it.own.as_ref(), daemons)?)
            }
        })
    }
}

impl Security {
    /// `--tls…`, or the environment.
    fn from_flags(global: &Global) -> Option<Security> {
        let verify =
            global.tlsverify || variable("DOCKER_TLS_VERIFY").is_some();
        if !verify && !global.tls && variable("DOCKER_TLS").is_none() {
            return None;
        }
        let dir = variable("DOCKER_CERT_PATH").map(PathBuf::from);
        let dir = dir.or_else(|| global.config_dir()).unwrap_or_default();
        let file = |given: &Option<PathBuf>, name| {
            given.clone().unwrap_or_else(|| dir.join(name))
        };
        let own = tls::Pair {
            cert: file(&global.tlscert, "cert.pem"),
            key: file(&global.tlskey, "key.pem"),
        };
        // Without a certificate it is the daemon's to refuse us.
        let named = global.tlscert.is_some() || global.tlskey.is_some();
        Some(Security {
            own: (named || own.cert.exists()).then_some(own),
            daemons: verify.then(|| file(&global.tlscacert, "ca.pem")),
        })
    }

    /// The files of a context.
    fn from_directory(dir: &Path, skip_verify: bool) -> Option<Security> {
        if !dir.is_dir() {
            return None;
        }
        let file = |name| Some(dir.join(name)).filter(|it| it.exists());
        let own = file("cert.pem").zip(file("key.pem"));
        Some(Security {
            own: own.map(|(cert, key)| tls::Pair { cert, key }),
            daemons: file("ca.pem").filter(|_| !skip_verify),
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

/// What `docker context use` has written down.
fn in_use(global: &Global) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    let path = global.config_dir()?.join("config.json");
    let text = std::fs::read(path).ok()?;
    let config: Config = serde_json::from_slice(&text).ok()?;
    config.current_context.filter(|it| !it.is_empty())
}

/// A context's file of facts, as far as it concerns us.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    endpoints: Endpoints,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    docker: Facts,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Facts {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The context of that name. `default` has no file: it is what the
/// environment says.
fn named(global: &Global, name: &str) -> anyhow::Result<Option<Endpoint>> {
    if name == "default" {
        let security = Security::from_flags(global);
        let host = variable("DOCKER_HOST");
        return Ok(host.map(|host| Endpoint { host, security }));
    }
    let Some(config) = global.config_dir() else {
        bail!("context {name:?}: there is no home directory to look in");
    };
    let contexts = config.join("contexts");
    // A name may hold what a file's name must not, hence the digest.
    let digest = Sha256::digest(name);
    let digest: String = digest.iter().map(|it| format!("{it:02x}")).collect();
    let path = contexts.join("meta").join(&digest).join("meta.json");
    let text = std::fs::read(&path).with_context(|| {
        let path = path.display();
        format!("context {name:?}: context not found: open {path}")
    })?;
    let meta: Meta = serde_json::from_slice(&text)
        .with_context(|| format!("context {name:?}: {}", path.display()))?;
    let facts = meta.endpoints.docker;
    let files = contexts.join("tls").join(digest).join("docker");
    let security = Security::from_directory(&files, facts.skip_tls_verify);
    Ok(Some(Endpoint { host: facts.host, security }))
}
