//! The command: what is typed becomes requests to the engine.
//!
//! ```text
//! container/  run, exec, logs, ps …    one file per group of verbs
//! image/      pull, build, images …
//! volume, network, system, login …
//! ─────────── what they share ───────────
//! context     finding the daemon, or starting it; endpoint: others' daemons
//! query       paths and parameters        format   --format templates
//! streams     terminals, raw and framed   list     tables
//! failure     messages and exit codes     progress bars of pulls
//! ```
//!
//! Names, flags, columns, messages and exit codes are those of the docker
//! command, so that what fingers and scripts know goes on working. Nothing
//! here knows how the engine does anything: all goes through its API, and
//! `-H` may as well lead to another machine, or to dockerd.

mod auth;
mod container;
mod context;
mod docs;
mod download;
mod endpoint;
mod explain;
mod failure;
pub(crate) mod format;
mod image;
mod inspect;
mod interrupt;
mod list;
mod login;
mod network;
mod pflag;
mod progress;
mod prune;
mod query;
mod registry;
mod search;
mod signals;
mod streams;
mod system;
mod terminal;
mod units;
mod usage;
mod volume;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use context::{Context, Global};

/// A container engine in small steps
// As with docker, a flag may be said again, and the last one counts.
#[derive(Debug, Parser)]
#[command(
    name = "skiff",
    version,
    args_override_self = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Container(container::Verb),
    Ps(container::ps::PsArgs),
    #[command(flatten)]
    Image(image::Verb),
    Images(image::ImagesArgs),
    Rmi(image::RmiArgs),
    Search(search::SearchArgs),
    Inspect(inspect::InspectArgs),
    Events(system::EventsArgs),
    /// Show what the engine and its host are like
    Info(system::FormatArgs),
    /// Show versions of this command and of the engine
    Version(system::FormatArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    /// Commands about containers
    #[command(name = "container", subcommand)]
    Containers(container::Group),
    /// Commands about images
    #[command(name = "image", subcommand)]
    ImageGroup(image::Group),
    /// Commands about volumes
    #[command(subcommand)]
    Volume(volume::Group),
    /// Commands about networks
    #[command(subcommand)]
    Network(network::Group),
    /// Commands about giving images to others
    #[command(subcommand)]
    Registry(registry::Group),
    /// Commands about the engine
    #[command(subcommand)]
    System(system::Group),
    /// Commands about the builder
    #[command(subcommand)]
    Builder(Builder),
    /// Be the engine, in the foreground (see skiff daemon --help)
    Daemon {
        /// dockerd's flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Show what a command takes
    #[command(hide = true)]
    Help {
        /// The command
        words: Vec<String>,
    },
    Completion(docs::CompletionArgs),
    #[command(hide = true)]
    Man(docs::ManArgs),
}

/// `skiff builder …`.
#[derive(Debug, Clone, Subcommand)]
enum Builder {
    Build(Box<image::build::BuildArgs>),
    /// Remove the build cache
    Prune(prune::PruneCacheArgs),
}

/// Runs the command that the program was called with.
pub fn main() -> ExitCode {
    end_with_our_reader();
    let cli = match pflag::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(wrong) => {
            let words = std::env::args_os().skip(1);
            let words = words.map(|it| it.to_string_lossy().into_owned());
            return usage::report(&wrong, &words.collect::<Vec<_>>());
        }
    };
    match cli.global.check().and_then(|()| run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(why) => failure::report(&why),
    }
}

/// `skiff ps | head -1` ends quietly, as other programs do. Rust's start-up
/// code has SIGPIPE ignored, and printing then panics.
fn end_with_our_reader() {
    // SAFETY: no other thread exists yet, and the default action runs no
    // code of ours. Sockets are written to with MSG_NOSIGNAL.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// One thread: a command waits for one daemon.
#[tokio::main(flavor = "current_thread")]
async fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        // Those that need no daemon.
        Command::Completion(args) => {
            docs::completion(&args, Cli::command());
            Ok(0)
        }
        Command::Man(args) => {
            docs::man(&args, Cli::command())?;
            Ok(0)
        }
        Command::Help { words } => usage::help(Cli::command(), &words),
        Command::Logout(args) => login::logout(&cli.global, args),
        Command::Daemon { .. } => {
            anyhow::bail!("daemon must be the first word: skiff daemon …")
        }
        command => {
            let context = Context::connect(&cli.global).await?;
            // The future of `run` is large; on the heap it does not weigh
            // on the stack of the others.
            Box::pin(ask(&context, command)).await
        }
    }
}

async fn ask(context: &Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Container(verb) => verb.run(context).await,
        Command::Ps(args) => container::ps::ps(context, args).await,
        Command::Image(verb) => verb.run(context).await,
        Command::Images(args) => image::images(context, args).await,
        Command::Rmi(args) => image::rmi(context, args).await,
        Command::Search(args) => search::search(context, args).await,
        Command::Inspect(args) => inspect::inspect(context, args).await,
        Command::Events(args) => system::events(context, args).await,
        Command::Info(args) => system::info(context, args).await,
        Command::Version(args) => system::version(context, args).await,
        Command::Login(args) => login::login(context, args).await,
        Command::Containers(group) => group.run(context).await,
        Command::ImageGroup(group) => group.run(context).await,
        Command::Volume(group) => group.run(context).await,
        Command::Network(group) => group.run(context).await,
        Command::Registry(group) => group.run(context).await,
        Command::System(group) => group.run(context).await,
        Command::Builder(Builder::Build(args)) => {
            image::build::build(context, *args).await
        }
        Command::Builder(Builder::Prune(args)) => {
            prune::cache(context, args).await
        }
        Command::Completion(_)
        | Command::Help { .. }
        | Command::Man(_)
        | Command::Logout(_)
        | Command::Daemon { .. } => {
            unreachable!("these need no daemon")
        }
    }
}

#[cfg(test)]
mod tests;
