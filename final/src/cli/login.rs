//! `login` and `logout`.

use std::io::{BufRead, IsTerminal, Read, Write};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;

use super::auth::{self, ConfigFile, Credentials, HUB};
use super::context::{Context, Global};

/// Remember a password for a registry
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginArgs {
    /// Who
    #[arg(short, long)]
    username: Option<String>,
    /// The password; others can see it in ps, so prefer --password-stdin
    #[arg(short, long)]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The registry; Docker Hub if none is given
    server: Option<String>,
}

/// Forget a password for a registry
#[derive(Debug, Clone, Args)]
pub(crate) struct LogoutArgs {
    /// The registry; Docker Hub if none is given
    server: Option<String>,
}

/// `login`: the engine tries the password before it is remembered.
pub(crate) async fn login(
    context: &Context,
    args: LoginArgs,
) -> anyhow::Result<u8> {
    let server = args.server.clone().unwrap_or_else(|| HUB.to_owned());
    anyhow::ensure!(
        args.password.is_none() || !args.password_stdin,
        "conflicting options: cannot specify both --password and \
         --password-stdin"
    );
    if args.password.is_some() {
        eprintln!(
            "WARNING! Using --password via the CLI is insecure. Use \
             --password-stdin."
        );
    }
    let who = args.ask(&server)?;
    let answer: Value = context.client.post("/auth", &who).await?;
    let mut file = ConfigFile::load(&context.global)?;
    file.remember(&server, &who);
    file.save(&context.global)?;
    eprintln!(
        "WARNING! Your password is stored unencrypted in {}",
        auth::shown_path(&context.global)
    );
    println!("{}", answer["Status"].as_str().unwrap_or("Login Succeeded"));
    Ok(0)
}

/// `logout` needs no daemon.
pub(crate) fn logout(global: &Global, args: LogoutArgs) -> anyhow::Result<u8> {
    let server = args.server.unwrap_or_else(|| HUB.to_owned());
    let mut file = ConfigFile::load(global)?;
    println!("Removing login credentials for {server}");
    if file.forget(&server) {
        file.save(global)?;
    }
    Ok(0)
}

impl LoginArgs {
    fn ask(&self, server: &str) -> anyhow::Result<Credentials> {
        let username = match &self.username {
            Some(name) => name.clone(),
            None if self.password_stdin => {
                anyhow::bail!(
                    "the --password-stdin option requires --username to be set"
                )
            }
            None => prompt("Username: ", true)?,
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            None => prompt("Password: ", false)?,
        };
        anyhow::ensure!(!password.is_empty(), "password is empty");
        Ok(Credentials {
            username,
            password,
            serveraddress: server.to_owned(),
            identitytoken: String::new(),
        })
    }
}

/// A line from the terminal, without showing it if it is secret.
fn prompt(text: &str, show: bool) -> anyhow::Result<String> {
    let input = std::io::stdin();
    anyhow::ensure!(
        input.is_terminal(),
        "Error: Cannot perform an interactive login from a non TTY device"
    );
    eprint!("{text}");
    std::io::stderr().flush()?;
    let before = tcgetattr(&input)?;
    if !show {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Now, &hidden)?;
    }
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    if !show {
        tcsetattr(&input, OptionalActions::Now, &before)?;
        eprintln!();
    }
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
