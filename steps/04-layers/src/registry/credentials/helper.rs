//! Helper programs, `docker-credential-NAME`: a verb as the only argument,
//! JSON or plain text by the standard streams.
//!
//! ```text
//! get    registry ─▶ {"Username": …, "Secret": …}
//! store  {"ServerURL": …, "Username": …, "Secret": …} ─▶
//! erase  registry ─▶
//! list   ─▶ {registry: user, …}
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{Auth, CredentialsError};

/// The user name that stands for "the secret is an identity token".
const TOKEN: &str = "<token>";

/// One helper program, by the name that `config.json` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper(String);

/// What goes in and out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Secret {
    #[serde(rename = "ServerURL")]
    server: String,
    username: String,
    secret: String,
}

impl Helper {
    /// `docker-credential-NAME`, wherever `PATH` finds it.
    pub fn new(name: &str) -> Helper {
        Helper(format!("docker-credential-{name}"))
    }

    /// What the keychain has for a registry; `None` when it has nothing.
    ///
    /// # Errors
    /// [`CredentialsError::Helper`], as of all its methods.
    pub fn get(&self, server: &str) -> Result<Option<Auth>, CredentialsError> {
        let doing = "getting";
        let Some(said) = self.ask("get", doing, server.as_bytes())? else {
            return Ok(None);
        };
        let known: Secret = serde_json::from_str(&said).map_err(|_| {
            let problem = format!("{} get: no JSON in its answer", self.0);
            CredentialsError::Helper { doing, problem, said }
        })?;
        let server = server.to_owned();
        let mut auth = Auth { serveraddress: server, ..Auth::default() };
        match known.username.as_str() {
            TOKEN => auth.identitytoken = known.secret,
            _ => {
                (auth.username, auth.password) = (known.username, known.secret);
            }
        }
        Ok(auth.completed())
    }

    /// Puts an account into the keychain, in place of another for the same
    /// registry.
    ///
    /// # Errors
    /// As above.
    pub fn store(&self, auth: &Auth) -> Result<(), CredentialsError> {
        let (username, secret) = match auth.identitytoken.as_str() {
            "" => (auth.username.clone(), auth.password.clone()),
            token => (TOKEN.to_owned(), token.to_owned()),
        };
        let server = auth.serveraddress.clone();
        let secret = Secret { server, username, secret };
        let json = serde_json::to_vec(&secret).unwrap_or_default();
        self.ask("store", "storing", &json).map(drop)
    }

    /// Forgets a registry; that there is nothing to forget is no failure.
    ///
    /// # Errors
    /// As above.
    pub fn erase(&self, server: &str) -> Result<(), CredentialsError> {
        self.ask("erase", "erasing", server.as_bytes()).map(drop)
    }

    /// The registries that there is something for.
    ///
    /// # Errors
    /// As above.
    pub fn list(&self) -> Result<Vec<String>, CredentialsError> {
        let doing = "listing";
        // Docker's own client writes this word, and some wait for one.
        let Some(said) = self.ask("list", doing, b"unused")? else {
            return Ok(Vec::new());
        };
        let all: BTreeMap<String, String> = serde_json::from_str(&said)
            .map_err(|_| {
                let problem = format!("{} list: no JSON in its answer", self.0);
                CredentialsError::Helper { doing, problem, said }
            })?;
        Ok(all.into_keys().collect())
    }

    /// One run of the program; `None` when it says that it knows nothing.
    /// What it says on standard error is for the user, whose terminal it has.
    fn ask(
        &self,
        verb: &str,
        doing: &'static str,
        input: &[u8],
    ) -> Result<Option<String>, CredentialsError> {
        let fail = |problem: String, said: &str| {
            let said = said.trim().to_owned();
            CredentialsError::Helper { doing, problem, said }
        };
        let absent = |why: io::Error| match why.kind() {
            io::ErrorKind::NotFound => fail(
                format!(
                    "exec: {:?}: executable file not found in $PATH",
                    self.0
                ),
                "",
            ),
            _ => fail(format!("exec: {:?}: {why}", self.0), ""),
        };
        let output = in_memory(input)
            .and_then(|stdin| {
                let mut helper = Command::new(&self.0);
                helper.arg(verb).stdin(stdin).stdout(Stdio::piped());
                helper.spawn()?.wait_with_output()
            })
            .map_err(absent)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(Some(said));
        }
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let how = match output.status.code() {
            Some(code) => format!("exit status {code}"),
            None => output.status.to_string(),
        };
        Err(fail(how, &said))
    }
}
/// What a helper reads. Not a pipe: not every helper reads it, and writing to
/// one that nobody reads ends a program that has SIGPIPE as it was, like the
/// command line for its own output.
fn in_memory(input: &[u8]) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = File::from(rustix::fs::memfd_create("credentials", flags)?);
    (&file).write_all(input)?;
    (&file).rewind()?;
    Ok(file)
}
