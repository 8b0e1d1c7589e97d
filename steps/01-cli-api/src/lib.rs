//! Step 1: a command becomes a REST call, and a daemon does the work.
//!
//! Whoever types `docker run` talks to a program that runs nothing. It sends
//! a request, over HTTP, to a second program that has been there all along:
//!
//! ```text
//!  step-01 run echo hi            the terminal's side: may end at any time
//!   │ POST /containers/create     {"Args": ["echo", "hi"]} → {"Id": "4f1c…"}
//!   │ POST /containers/4f1c…/start
//!   │ GET  /containers/4f1c…/logs?follow=1
//!   │ POST /containers/4f1c…/wait → {"StatusCode": 0}
//!   ▼
//!  /run/skiff-steps/01/daemon.sock   a socket: a door with a file's rights
//!   │
//!  the daemon                     remembers, collects output, sees the end
//!   │ fork, execve
//!   ▼
//!  echo hi
//! ```
//!
//! The two halves exist because of two facts. A terminal is closed, and what
//! it started shall stay. And a process that has ended stays in the process
//! table until its *parent* asks for its exit status (wait(2)); somebody has
//! to be there for that.
//!
//! This file has both halves: `run` is the command's, `routes` are
//! the daemon's. The sidebars: [`client`] and [`server`] are HTTP over a
//! socket, and [`tls`] is what protects it on a network; [`daemon`] starts a daemon on demand; [`frames`] and [`jsonlog`]
//! are how output travels and where it stays; [`state`] and [`id`] are files
//! and names; [`stage`] is the frame that all six stage binaries share.
#![deny(missing_docs)]

pub mod client;
pub mod daemon;
mod error;
pub mod frames;
pub mod human;
pub mod id;
pub mod jsonlog;
pub mod server;
pub mod stage;
pub mod state;
pub mod table;
pub mod testing;
pub mod tls;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{delete, get, post};
use clap::{CommandFactory, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};

use client::Client;
use server::{ApiVersion, Identity};
use stage::cli::{self, Cli, Command, RunArgs};
use stage::daemon::Daemon;
use stage::{Place, Stage, handlers as on};

pub use error::Error;

/// The `main` of a stage binary: the daemon if that is asked for, else the
/// command's half. Both are this one program.
pub fn main<S: Stage>() -> ExitCode {
    let command = Cli::<S>::command()
        .name(S::NAME)
        .about(S::ABOUT)
        .mut_subcommand("run", |it| {
            it.mut_arg("operand", |it| it.value_name(S::OPERAND))
        });
    let cli = match Cli::<S>::from_arg_matches(&command.get_matches()) {
        Ok(cli) => cli,
        Err(wrong) => wrong.exit(),
    };
    let done = match cli.command {
        Command::Daemon => serve::<S>(Place::of(S::NAME)).map(|()| 0),
        command => ask::<S>(command),
    };
    match done {
        // The kernel keeps the low 8 bits of an exit status (exit(3)).
        Ok(code) => ExitCode::from((code & 0xff) as u8),
        Err(why) => {
            match why.downcast_ref::<Error>() {
                Some(refused) => {
                    cli::report(refused);
                }
                None => eprintln!("{}: {why:#}", S::NAME),
            }
            ExitCode::FAILURE
        }
    }
}

/// The command's half. One thread is enough to wait for one daemon.
#[tokio::main(flavor = "current_thread")]
async fn ask<S: Stage>(command: Command<S>) -> anyhow::Result<i32> {
    let daemon = cli::connect::<S>().await?;
    match command {
        Command::Run(args) => run::<S>(&daemon, &args).await,
        command => cli::simple(&daemon, command).await,
    }
}

// ANCHOR: run
/// `run` is not a request of its own: it is create, start, logs and wait.
async fn run<S: Stage>(
    daemon: &Client,
    args: &RunArgs<S::Flags>,
) -> anyhow::Result<i32> {
    let request = args.request()?;
    let made: serde_json::Value =
        daemon.post("/containers/create", &request).await?;
    let id = made["Id"].as_str().unwrap_or_default();
    let path = format!("/containers/{id}");
    if let Err(refused) = daemon.command(&format!("{path}/start")).await {
        let code = cli::report(&refused);
        if request.auto_remove {
            daemon.delete(&path).await?;
        }
        return Ok(code);
    }
    if args.detach {
        println!("{id}");
        return Ok(0);
    }
    // Ctrl-C sends a signal to the programs of this terminal, and the
    // process is the daemon's child: the signal has to be carried there.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let logs = format!("{path}/logs?follow=1");
    let mut output = std::pin::pin!(cli::show(daemon, &logs));
    loop {
        tokio::select! {
            shown = &mut output => { shown?; break }
            _ = interrupt.recv() => {
                daemon.command(&format!("{path}/kill?signal=2")).await?;
            }
        }
    }
    let code = cli::wait(daemon, "containers", id).await?;
    if request.auto_remove {
        daemon.delete(&path).await?;
    }
    Ok(code)
}
// ANCHOR_END: run

// ANCHOR: routes
/// The daemon's half: one handler per method and path. The paths are those
/// of Docker's API.
fn routes<S: Stage>(daemon: Arc<Daemon<S>>) -> Router {
    Router::new()
        .route("/_ping", get(async || "OK"))
        .route("/info", get(on::info::<S>))
        .route("/containers/create", post(on::create::<S>))
        .route("/containers/json", get(on::list::<S>))
        .route("/containers/{id}/start", post(on::start::<S>))
        .route("/containers/{id}/logs", get(on::logs::<S>))
        .route("/containers/{id}/wait", post(on::wait::<S>))
        .route("/containers/{id}/json", get(on::inspect::<S>))
        .route("/containers/{id}/stop", post(on::stop::<S>))
        .route("/containers/{id}/kill", post(on::kill::<S>))
        .route("/containers/{id}", delete(on::remove::<S>))
        .route("/containers/{id}/exec", post(on::exec::<S>))
        .route("/exec/{id}/logs", get(on::logs::<S>))
        .route("/exec/{id}/wait", post(on::wait::<S>))
        .route("/verbs", post(on::verb::<S>))
        .route("/shutdown", post(on::shutdown::<S>))
        .layer(axum::middleware::from_fn_with_state(
            daemon.clone(),
            on::busy::<S>,
        ))
        .with_state(daemon)
}
// ANCHOR_END: routes

/// The life of the daemon: open the state, listen, answer, and at the end
/// leave no process behind.
#[tokio::main]
async fn serve<S: Stage>(place: Place) -> anyhow::Result<()> {
    // Started as /proc/self/exe, it would be `exe` in ps(1).
    rustix::thread::set_name(&std::ffi::CString::new(S::NAME)?)?;
    let listener = server::bind_unix(&place.socket)?;
    let daemon = Daemon::<S>::open(place)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let identity = Identity {
        server: S::NAME.to_owned(),
        newest: ApiVersion(1, 51),
        oldest: ApiVersion(1, 24),
    };
    let serving = tokio::spawn(server::serve(
        listener,
        routes(daemon.clone()),
        identity,
        async { drop(stopped.await) },
    ));
    until_the_end(&daemon).await?;
    // The name goes first: from here on commands start another daemon.
    std::fs::remove_file(&daemon.place.socket)?;
    daemon.kill_all().await;
    let _ = stop.send(());
    // Readers of logs have seen the end by now; whoever hangs is left.
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    Ok(())
}

/// A signal, a request, or nothing to do for half a minute.
async fn until_the_end<S: Stage>(daemon: &Daemon<S>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = daemon.shutdown.notified() => {}
        () = daemon.until_idle(Duration::from_secs(30)) => {}
    }
    Ok(())
}
