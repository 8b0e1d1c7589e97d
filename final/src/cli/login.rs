//! `login` and `logout`.

use std::io::{BufRead, IsTerminal, Read, Write};

use clap::Args;
use cli_api::Error;
use layers::registry::{Auth, ConfigFile, Kept};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;

use super::auth;
use super::context::{Context, Global};
use super::failure::sentence;

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
    let server = ConfigFile::key(args.server.as_deref().unwrap_or_default());
    let given = args.password()?;
    let mut file = auth::config(&context.global)?;
    let (mut who, status) = match existing(context, &args, &file, &server).await
    {
        Some(accepted) => accepted,
        None => {
            let who = args.account(&server, given)?;
            let answer = try_out(context, &who).await?;
            (who, answer)
        }
    };
    if let Some(token) = status["IdentityToken"].as_str()
        && !token.is_empty()
    {
        // It stands for the password, which nobody needs to keep then.
        who.password.clear();
        token.clone_into(&mut who.identitytoken);
    }
    let kept = file
        .remember(&who)
        .map_err(|why| anyhow::anyhow!("Error saving credentials: {why}"))?;
    if kept == Kept::InFile {
        eprintln!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            file.path().display()
        );
    }
    println!("{}", status["Status"].as_str().unwrap_or("Login Succeeded"));
    Ok(0)
}

/// What is remembered already, if that is good and nothing else was said.
async fn existing(
    context: &Context,
    args: &LoginArgs,
    file: &ConfigFile,
    server: &str,
) -> Option<(Auth, Value)> {
    if args.username.is_some() || args.password.is_some() {
        return None;
    }
    // A helper that fails is told of when the new password is stored.
    let who = file.find(server).ok().flatten()?;
    if args.password_stdin || who.username.is_empty() {
        return None;
    }
    eprintln!(
        "Authenticating with existing credentials... [Username: {}]\n\n \
         Info -> To login with a different account, run 'skiff logout' \
         followed by 'skiff login'\n",
        who.username
    );
    match try_out(context, &who).await {
        Ok(status) => Some((who, status)),
        Err(why) => {
            eprintln!("Login did not succeed, error: {}", sentence(&why));
            None
        }
    }
}

async fn try_out(context: &Context, who: &Auth) -> anyhow::Result<Value> {
    let answer: Result<Value, Error> = context.client.post("/auth", who).await;
    Ok(answer?)
}

/// `logout` needs no daemon.
pub(crate) fn logout(global: &Global, args: LogoutArgs) -> anyhow::Result<u8> {
    let server = ConfigFile::key(args.server.as_deref().unwrap_or_default());
    let mut file = auth::config(global)?;
    println!("Removing login credentials for {server}");
    if let Err(why) = file.forget(&server) {
        auth::warn(&format!("could not erase credentials:\n{server}: {why}"));
    }
    Ok(0)
}

impl LoginArgs {
    /// The password, if one was given, checked as `docker` does: before
    /// anything else happens.
    fn password(&self) -> anyhow::Result<Option<String>> {
        if let Some(password) = &self.password {
            anyhow::ensure!(
                !self.password_stdin,
                "conflicting options: cannot specify both --password and \
                 --password-stdin"
            );
            anyhow::ensure!(!password.is_empty(), "password is empty");
            eprintln!(
                "WARNING! Using --password via the CLI is insecure. Use \
                 --password-stdin."
            );
            return Ok(Some(password.clone()));
        }
        if !self.password_stdin {
            return Ok(None);
        }
        anyhow::ensure!(
            self.username.is_some(),
            "the --password-stdin option requires --username to be set"
        );
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        let text = text.trim_end_matches(['\r', '\n']);
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Who it is; asks for what was not given.
    fn account(
        &self,
        server: &str,
        password: Option<String>,
    ) -> anyhow::Result<Auth> {
        let username = match &self.username {
            Some(name) => name.clone(),
            None => prompt("Username: ", true)?,
        };
        let password = match password {
            Some(password) => password,
            None => prompt("Password: ", false)?,
        };
        anyhow::ensure!(!password.is_empty(), "password is empty");
        let serveraddress = server.to_owned();
        Ok(Auth { username, password, serveraddress, ..Auth::default() })
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
