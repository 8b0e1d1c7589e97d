//! The commands of a stage, and what the simple ones do.
//!
//! clap makes a parser, the help and the error messages out of the types
//! below: a variant is a verb, a field a flag, its comment the help.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command as Program;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use http::Method;
use serde_json::Value;

use super::daemon::exit_code_of;
use super::handlers::{ExecRequest, Info, VerbRequest, build_of_this_program};
use super::{Place, Record, Run, Stage, output};
use crate::client::{Client, Host, Payload};
use crate::table::Table;
use crate::{Error, daemon, human, id};

/// What is typed. Name and one line about it are the stage's, and are put
/// in by [`crate::main`].
#[derive(Debug, Parser)]
pub(crate) struct Cli<S: Stage> {
    #[command(subcommand)]
    pub(crate) command: Command<S>,
}

/// The verbs that all stages have, and the stage's own.
#[derive(Debug, Subcommand)]
pub(crate) enum Command<S: Stage> {
    /// Run a command and wait for it; its exit status becomes ours
    Run(RunArgs<S::Flags>),
    /// List what runs
    Ps {
        /// Also what has ended
        #[arg(short, long)]
        all: bool,
        /// Only IDs
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show what a container has written
    Logs {
        /// Wait for more
        #[arg(short, long)]
        follow: bool,
        /// Show the time of each line
        #[arg(short, long)]
        timestamps: bool,
        /// Only so many lines from the end
        #[arg(short = 'n', long, value_name = "LINES")]
        tail: Option<usize>,
        /// ID, name, or the beginning of an ID
        container: String,
    },
    /// Run a further command in a running container
    Exec {
        /// ID, name, or the beginning of an ID
        container: String,
        /// The command and its arguments
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true
        )]
        command: Vec<String>,
    },
    /// Ask containers to end (SIGTERM), then make them (SIGKILL)
    Stop {
        /// Seconds between the two
        #[arg(short, long, default_value_t = 10, value_name = "SECONDS")]
        time: u64,
        /// IDs or names
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Send a signal
    Kill {
        /// Its number
        #[arg(short, long, default_value_t = 9)]
        signal: i32,
        /// IDs or names
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Wait for the end, and print the exit status
    Wait {
        /// IDs or names
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Show all that is known, as JSON
    Inspect {
        /// IDs or names
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Remove containers that have ended
    Rm {
        /// Kill what runs
        #[arg(short, long)]
        force: bool,
        /// IDs or names
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Be the daemon, in the foreground; other commands start it themselves
    Daemon,
    /// What this stage adds
    #[command(flatten)]
    Verb(S::Verbs),
}

/// The flags of `run` that all stages have, and the stage's own.
#[derive(Debug, Args)]
pub(crate) struct RunArgs<F: Args> {
    /// Leave it running, and print its ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// A name for it, instead of a random one
    #[arg(long)]
    name: Option<String>,
    /// Remove it when it has ended
    #[arg(long)]
    rm: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    #[command(flatten)]
    flags: F,
    /// What to run
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    operand: Vec<String>,
}

impl<F: Args + Clone> RunArgs<F> {
    /// As it travels to the daemon.
    pub(crate) fn request(&self) -> anyhow::Result<Run<F>> {
        Ok(Run {
            id: String::new(),
            name: self.name.clone().unwrap_or_default(),
            args: self.operand.clone(),
            env: self.env.clone(),
            workdir: self.workdir.clone(),
            cwd: std::env::current_dir()?,
            auto_remove: self.rm,
            flags: self.flags.clone(),
        })
    }
}

/// Finds the daemon of this stage, or starts it. One that was started from
/// an older build of this program is asked to end first, and what it runs
/// ends with it.
pub(crate) async fn connect<S: Stage>() -> anyhow::Result<Client> {
    let place = Place::of(S::NAME);
    let client = Client::new(Host::Unix(place.socket.clone()));
    while daemon::listens(&place.socket)? {
        match client.get::<Info>("/info").await {
            Ok(info) if info.build == build_of_this_program()? => {
                return Ok(client);
            }
            Ok(_) => client.command("/shutdown").await?,
            // It was killed at this moment: the kernel still accepted the
            // connection, and nobody answers any more.
            Err(Error::Http { .. } | Error::Broken(_)) => {}
            Err(why) => return Err(why.into()),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start::<S>(&place)?;
    Ok(client)
}

/// Starts the daemon. Not by the program's path, which a rebuild may have
/// given to another file: the daemon must be the build that asks for it.
fn start<S: Stage>(place: &Place) -> Result<(), Error> {
    let mut program = Program::new("/proc/self/exe");
    // What ps(1) shows; the path would say nothing.
    program.arg0(S::NAME).arg("daemon");
    daemon::ensure_running(&place.socket, &place.log(), program, || {
        eprintln!("waiting for the daemon of {} …", S::NAME);
    })?;
    Ok(())
}

/// Every command but `run`, which [`crate::run`] shows, and `daemon`.
pub(crate) async fn simple<S: Stage>(
    daemon: &Client,
    command: Command<S>,
) -> anyhow::Result<i32> {
    match command {
        Command::Ps { all, quiet } => ps::<S>(daemon, all, quiet).await?,
        Command::Logs { follow, timestamps, tail, container } => {
            let tail = tail.map(|it| format!("&tail={it}")).unwrap_or_default();
            let path = format!(
                "/containers/{container}/logs?follow={}&timestamps={}{tail}",
                u8::from(follow),
                u8::from(timestamps),
            );
            show(daemon, &path).await?;
        }
        Command::Exec { container, command } => {
            return exec(daemon, &container, command).await;
        }
        Command::Inspect { containers } => inspect(daemon, &containers).await?,
        Command::Verb(verb) => {
            let cwd = std::env::current_dir()?;
            let body = Payload::json(&VerbRequest { verb, cwd })?;
            let answer = daemon.send(Method::POST, "/verbs", body).await?;
            output::print(answer).await?;
        }
        command => for_each::<S>(daemon, command).await?,
    }
    Ok(0)
}

/// Those that do the same to one container after another.
async fn for_each<S: Stage>(
    daemon: &Client,
    command: Command<S>,
) -> anyhow::Result<()> {
    match command {
        Command::Stop { time, containers } => {
            each(&containers, async |it| {
                daemon.command(&format!("/containers/{it}/stop?t={time}")).await
            })
            .await
        }
        Command::Kill { signal, containers } => {
            each(&containers, async |it| {
                let query = format!("signal={signal}");
                daemon.command(&format!("/containers/{it}/kill?{query}")).await
            })
            .await
        }
        Command::Wait { containers } => {
            for container in containers {
                println!("{}", wait(daemon, "containers", &container).await?);
            }
            Ok(())
        }
        Command::Rm { force, containers } => {
            let force = u8::from(force);
            each(&containers, async |it| {
                daemon.delete(&format!("/containers/{it}?force={force}")).await
            })
            .await
        }
        _ => unreachable!("the callers have dealt with all others"),
    }
}

/// `ps`: a table of records.
async fn ps<S: Stage>(
    daemon: &Client,
    all: bool,
    quiet: bool,
) -> anyhow::Result<()> {
    let path = format!("/containers/json?all={}", u8::from(all));
    let containers: Vec<Record<S::Flags>> = daemon.get(&path).await?;
    let mut table =
        Table::new(["CONTAINER ID", S::OPERAND, "CREATED", "STATUS", "NAMES"]);
    for it in containers {
        if quiet {
            println!("{}", id::short(&it.id));
            continue;
        }
        let created = it.created.parse().map(human::since);
        table.row([
            id::short(&it.id).to_owned(),
            shorten(&it.config.args.join(" ")),
            format!("{} ago", created.unwrap_or_default()),
            it.state.for_people(),
            it.name,
        ]);
    }
    if !quiet {
        print!("{table}");
    }
    Ok(())
}

/// A command in quotes, at most 20 characters of it, as Docker's table.
fn shorten(command: &str) -> String {
    let mut text: String = command.chars().take(20).collect();
    if command.chars().count() > 20 {
        text.pop();
        text.push('…');
    }
    format!("\"{text}\"")
}

/// `exec`: a start, then the same two requests as for a container.
async fn exec(
    daemon: &Client,
    container: &str,
    cmd: Vec<String>,
) -> anyhow::Result<i32> {
    let path = format!("/containers/{container}/exec");
    let made: Result<Value, Error> =
        daemon.post(&path, &ExecRequest { cmd }).await;
    let made = match made {
        Ok(made) => made,
        Err(refused) => return Ok(report(&refused)),
    };
    let id = made["Id"].as_str().unwrap_or_default();
    show(daemon, &format!("/exec/{id}/logs?follow=1")).await?;
    wait(daemon, "exec", id).await
}

/// `inspect`: JSON as the daemon gives it, in a list even for one name, as
/// Docker does.
async fn inspect(daemon: &Client, names: &[String]) -> anyhow::Result<()> {
    let mut all: Vec<Value> = Vec::new();
    for name in names {
        all.push(daemon.get(&format!("/containers/{name}/json")).await?);
    }
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

/// Prints the output behind `path`.
pub(crate) async fn show(daemon: &Client, path: &str) -> anyhow::Result<()> {
    let answer = daemon.send(Method::GET, path, Payload::none()).await?;
    output::print(answer).await
}

/// The exit status of a container, or of an exec.
pub(crate) async fn wait(
    daemon: &Client,
    kind: &str,
    id: &str,
) -> anyhow::Result<i32> {
    let path = format!("/{kind}/{id}/wait");
    let answer: Value = daemon.post(&path, &()).await?;
    let code = answer["StatusCode"].as_i64().unwrap_or(125);
    Ok(i32::try_from(code)?)
}

/// Does it for each name and prints the name, as Docker does; goes on after
/// a failure and fails at the end.
async fn each(
    names: &[String],
    ask: impl AsyncFn(&str) -> Result<(), Error>,
) -> anyhow::Result<()> {
    let mut failed = false;
    for name in names {
        match ask(name).await {
            Ok(()) => println!("{name}"),
            Err(why) => {
                eprintln!("Error response from daemon: {why}");
                failed = true;
            }
        }
    }
    anyhow::ensure!(!failed, "not all could be done");
    Ok(())
}

/// Prints why something could not be started; Docker's exit code for it.
pub(crate) fn report(error: &Error) -> i32 {
    match error.status() {
        Some(_) => eprintln!("Error response from daemon: {error}"),
        None => eprintln!("{error}"),
    }
    exit_code_of(&error.to_string())
}
