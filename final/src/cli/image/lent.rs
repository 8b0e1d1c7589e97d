//! `build --secret` and `build --ssh`: what is lent to RUN steps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::build::MOST_SECRETS;

/// As with Docker.
const LARGEST: usize = 500 << 10;

/// One `--secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    id: String,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Variable(String),
    /// A variable of the secret's own name, else a file of that name.
    Either,
}

impl FromStr for Secret {
    type Err = String;

    /// `id=ID[,src=FILE|,env=NAME]`, with `type=file|env`.
    fn from_str(text: &str) -> Result<Secret, String> {
        let (mut id, mut kind) = (None, None);
        let (mut file, mut variable) = (None, None);
        for pair in text.split(',') {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("invalid field {pair:?}: key=value"))?;
            let slot = match key {
                "id" => &mut id,
                "type" => &mut kind,
                "src" | "source" => &mut file,
                "env" => &mut variable,
                _ => return Err(format!("unexpected key {key:?} in {pair:?}")),
            };
            *slot = Some(value.to_owned());
        }
        let id = id.ok_or("secret missing 'id'")?;
        let source = match (kind.as_deref(), file, variable) {
            (Some("env"), Some(name), None) => Source::Variable(name),
            (None | Some("file"), Some(path), None) => {
                Source::File(path.into())
            }
            (None | Some("env"), None, Some(name)) => Source::Variable(name),
            (None, None, None) => Source::Either,
            (Some(kind), ..) if !matches!(kind, "env" | "file") => {
                return Err(format!("unsupported secret type {kind:?}"));
            }
            _ => return Err("give one of src= and env=".to_owned()),
        };
        Ok(Secret { id, source })
    }
}

impl Secret {
    /// All of them as the engine wants them; nothing if there are none.
    pub(super) fn json(secrets: &[Secret]) -> anyhow::Result<Vec<u8>> {
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        let mut contents = BTreeMap::new();
        for secret in secrets {
            let (id, content) = (&secret.id, secret.content()?);
            anyhow::ensure!(
                content.len() <= LARGEST,
                "secret {id} too big. max size 500KB; lend a larger file with \
                 RUN --mount=type=bind,from=IMAGE"
            );
            contents.insert(id, STANDARD.encode(content));
        }
        let json = serde_json::to_vec(&contents)?;
        anyhow::ensure!(
            json.len() as u64 <= MOST_SECRETS,
            "the secrets of this build are too big together: {} bytes, at \
             most {MOST_SECRETS}",
            json.len()
        );
        Ok(json)
    }

    fn content(&self) -> anyhow::Result<Vec<u8>> {
        let variable = |name: &str| {
            use std::os::unix::ffi::OsStringExt;
            std::env::var_os(name).map(OsStringExt::into_vec)
        };
        let file = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let (id, path) = (&self.id, path.display());
                anyhow::anyhow!("secret {id}: cannot read {path}: {error}")
            })
        };
        match &self.source {
            Source::File(path) => file(path),
            Source::Variable(name) => variable(name).ok_or_else(|| {
                anyhow::anyhow!("secret {}: ${name} is not set", self.id)
            }),
            Source::Either => match variable(&self.id) {
                Some(value) => Ok(value),
                None => file(&PathBuf::from(&self.id)),
            },
        }
    }
}

/// One `--ssh`: an agent's socket on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agent {
    id: String,
    socket: Option<PathBuf>,
}

impl FromStr for Agent {
    type Err = String;

    fn from_str(text: &str) -> Result<Agent, String> {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (text, None),
        };
        match id {
            "" => Err("ssh agent without an id".to_owned()),
            id => Ok(Agent { id: id.to_owned(), socket }),
        }
    }
}

impl Agent {
    /// The sockets by id. The engine mounts them, so it must be on this
    /// machine.
    pub(super) fn json(agents: &[Agent]) -> anyhow::Result<Value> {
        let mut sockets = BTreeMap::new();
        for agent in agents {
            let own = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
            let socket = agent.socket.clone().or(own).ok_or_else(|| {
                let id = &agent.id;
                anyhow::anyhow!(
                    "--ssh {id}: no agent: $SSH_AUTH_SOCK is not set; start \
                     one (ssh-agent), or name a socket with --ssh {id}=PATH"
                )
            })?;
            use std::os::unix::fs::FileTypeExt;
            let is_socket = std::fs::metadata(&socket)
                .is_ok_and(|meta| meta.file_type().is_socket());
            anyhow::ensure!(
                is_socket,
                "--ssh {}: {} is no socket of an agent",
                agent.id,
                socket.display()
            );
            sockets.insert(&agent.id, std::path::absolute(socket)?);
        }
        Ok(json!(sockets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let source = |text: &str| text.parse::<Secret>().map(|it| it.source);
        assert_eq!(source("id=a"), Ok(Source::Either));
        assert_eq!(source("id=a,src=/f"), Ok(Source::File("/f".into())));
        let variable = Ok(Source::Variable("V".into()));
        assert_eq!(source("id=a,env=V"), variable);
        assert_eq!(source("id=a,type=env,src=V"), variable);
        for wrong in ["src=/f", "id=a,src=f,env=V", "id=a,x=y", "id=a,type=z"] {
            assert!(source(wrong).is_err(), "{wrong}");
        }
    }
}
