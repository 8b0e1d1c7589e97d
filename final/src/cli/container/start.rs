//! `start`, `attach` and `exec`: at the terminal of what exists already.

use clap::Args;
use cli_api::client::Payload;
use http::Method;
use serde_json::{Value, json};

use super::flags;
use super::run::{exit_status, path};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, sentence};
use crate::cli::query::Query;
use crate::cli::signals::Forwarder;
use crate::cli::streams::{self, End, Wiring};
use crate::cli::terminal::{self, DetachKeys, require_input};

/// Start containers that have stopped
#[derive(Debug, Clone, Args)]
pub(crate) struct StartArgs {
    /// Attach to its output, and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Attach to its input, too
    #[arg(short, long)]
    interactive: bool,
    /// The keys that detach, as ctrl-p,ctrl-q
    #[arg(long, default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `start`.
pub(crate) async fn start(
    context: &Context,
    args: StartArgs,
) -> anyhow::Result<u8> {
    if !(args.attach || args.interactive) {
        return start_all(context, &args.containers).await;
    }
    let [name] = &args.containers[..] else {
        anyhow::bail!("you cannot start and attach multiple containers at once")
    };
    let found: Value = context.client.get(&path(name, "json")).await?;
    let tty = found["Config"]["Tty"].as_bool().unwrap_or(false);
    let stdin = args.interactive
        && found["Config"]["OpenStdin"].as_bool().unwrap_or(false);
    let id = found["Id"].as_str().unwrap_or(name).to_owned();
    let session = At { context, id, tty, stdin, keys: args.detach_keys };
    session.run(true).await
}

/// Starts one after another; says at once what fails, and at the end which.
async fn start_all(context: &Context, names: &[String]) -> anyhow::Result<u8> {
    let mut failed = Vec::new();
    for name in names {
        match context.client.command(&path(name, "start")).await {
            Ok(()) => println!("{name}"),
            Err(why) => {
                eprintln!("{}", sentence(&why.into()));
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    let names = failed.join(", ");
    let text = format!("Error: failed to start containers: {names}");
    Err(Failure::new(1, text).into())
}

/// Attach to a running container
#[derive(Debug, Clone, Args)]
pub(crate) struct AttachArgs {
    /// Leave its input alone
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the process
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true",
        require_equals = true, value_name = "BOOL")]
    sig_proxy: bool,
    /// The keys that detach, as ctrl-p,ctrl-q
    #[arg(long, default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Name or ID
    container: String,
}

/// `attach`.
pub(crate) async fn attach(
    context: &Context,
    args: AttachArgs,
) -> anyhow::Result<u8> {
    let found: Value =
        context.client.get(&path(&args.container, "json")).await?;
    let state = &found["State"];
    let is = |key: &str| state[key].as_bool().unwrap_or(false);
    anyhow::ensure!(
        is("Running"),
        "You cannot attach to a stopped container, start it first"
    );
    anyhow::ensure!(
        !is("Paused"),
        "You cannot attach to a paused container, unpause it first"
    );
    anyhow::ensure!(
        !is("Restarting"),
        "You cannot attach to a restarting container, wait until it is \
         running"
    );
    let tty = found["Config"]["Tty"].as_bool().unwrap_or(false);
    let open = found["Config"]["OpenStdin"].as_bool().unwrap_or(false);
    let stdin = open && !args.no_stdin;
    require_input(tty, stdin)?;
    let id = found["Id"].as_str().unwrap_or(&args.container).to_owned();
    let session = At { context, id, tty, stdin, keys: args.detach_keys };
    session.run(false).await
}

/// A container at whose terminal we are.
struct At<'a> {
    context: &'a Context,
    id: String,
    tty: bool,
    stdin: bool,
    keys: String,
}

impl At<'_> {
    /// Attaches, starts it if asked, and stays to the end.
    async fn run(self, start: bool) -> anyhow::Result<u8> {
        let client = &self.context.client;
        let keys = DetachKeys::parse(&self.keys).map_err(anyhow::Error::msg)?;
        let attach = Query::new(path(&self.id, "attach"))
            .flag("stdin", self.stdin)
            .with("stdout", "1")
            .with("stderr", "1")
            .with("stream", "1")
            .build();
        let tunnel = client.hijack(&attach, Payload::none()).await?;
        let wait = Query::new(path(&self.id, "wait"));
        let wait = match start {
            true => wait.with("condition", "next-exit"),
            false => wait,
        };
        let wait = wait.build();
        let exit = client.send(Method::POST, &wait, Payload::none()).await?;
        let _signals = match self.tty {
            true => None,
            false => Some(Forwarder::start(self.context, &self.id)?),
        };
        if start {
            client.command(&path(&self.id, "start")).await?;
        }
        let wiring = Wiring {
            stdin: self.stdin,
            shown: true,
            tty: self.tty,
            keys,
            resize: path(&self.id, "resize"),
        };
        match streams::connect(self.context, tunnel, wiring).await? {
            End::Detached => {
                eprintln!("read escape sequence");
                Ok(0)
            }
            End::Output | End::Input => exit_status(exit).await,
        }
    }
}

/// Run a further command in a running container
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecArgs {
    /// Leave it running
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open, and pass ours on
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable; may repeat
    #[arg(short, long, value_name = "NAME[=VALUE]",
        value_parser = flags::variable)]
    env: Vec<String>,
    /// Set the variables in this file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<std::path::PathBuf>,
    /// User and group, by name or number
    #[arg(
        short,
        long,
        value_name = "USER[:GROUP]",
        default_value = "",
        hide_default_value = true
    )]
    user: String,
    /// The directory to start in
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true
    )]
    workdir: String,
    /// All rights
    #[arg(long)]
    privileged: bool,
    /// The keys that detach, as ctrl-p,ctrl-q
    #[arg(long, default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Name or ID
    container: String,
    /// The command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    command: Vec<String>,
}

/// `exec`: made, started, and at the end asked for its exit code.
pub(crate) async fn exec(
    context: &Context,
    args: ExecArgs,
) -> anyhow::Result<u8> {
    if !args.detach {
        require_input(args.tty, args.interactive)?;
    }
    let client = &context.client;
    let body = args.body()?;
    let made: Value =
        client.post(&path(&args.container, "exec"), &body).await?;
    let id = made["Id"].as_str().unwrap_or_default();
    let start = json!({
        "Detach": args.detach,
        "Tty": args.tty,
        "ConsoleSize": body["ConsoleSize"],
    });
    let at = format!("/exec/{id}/start");
    let start = Payload::json(&start)?;
    if args.detach {
        client.send(Method::POST, &at, start).await?;
        return Ok(0);
    }
    let keys =
        DetachKeys::parse(&args.detach_keys).map_err(anyhow::Error::msg)?;
    let tunnel = client.hijack(&at, start).await.map_err(failed)?;
    let wiring = Wiring {
        stdin: args.interactive,
        shown: true,
        tty: args.tty,
        keys,
        resize: format!("/exec/{id}/resize"),
    };
    if streams::connect(context, tunnel, wiring).await? == End::Detached {
        return Ok(0);
    }
    exec_status(context, id).await
}

/// The exit code of an exec whose output has ended. The end of the output
/// may come a moment before the engine has seen the end of the process.
async fn exec_status(context: &Context, id: &str) -> anyhow::Result<u8> {
    let path = format!("/exec/{id}/json");
    for _ in 0..100 {
        let exec: Value = context.client.get(&path).await?;
        if let (Some(false), Some(code)) =
            (exec["Running"].as_bool(), exec["ExitCode"].as_i64())
        {
            return Ok((code & 0xff) as u8);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // It has closed its output and goes on, as a program that becomes a
    // daemon does.
    Ok(0)
}

/// As for `run`: 126 and 127 for a command that cannot be executed.
fn failed(why: cli_api::Error) -> anyhow::Error {
    let text = why.to_string().to_lowercase();
    let code = match () {
        () if text.contains("executable file not found")
            || text.contains("no such file or directory") =>
        {
            127
        }
        () if text.contains("permission denied") => 126,
        () => return why.into(),
    };
    Failure::new(code, why.to_string()).into()
}

impl ExecArgs {
    fn body(&self) -> anyhow::Result<Value> {
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(flags::lines_of(file)?);
        }
        env.extend(self.env.iter().cloned());
        let size = self.tty.then(terminal::size).flatten();
        Ok(json!({
            "User": self.user,
            "Privileged": self.privileged,
            "Tty": self.tty,
            "ConsoleSize": size.map(|(rows, columns)| [rows, columns]),
            "AttachStdin": self.interactive && !self.detach,
            "AttachStdout": !self.detach,
            "AttachStderr": !self.detach,
            "Detach": self.detach,
            "DetachKeys": self.detach_keys,
            "Env": flags::environment(env),
            "WorkingDir": self.workdir,
            "Cmd": self.command,
        }))
    }
}
