//! Commands about containers.

mod cidfile;
mod copy;
mod explain;
mod export;
mod flags;
mod lifecycle;
mod logs;
mod look;
mod ports;
pub(crate) mod ps;
mod run;
mod start;
mod stats;

use clap::Subcommand;

use super::context::Context;
use super::inspect;
use super::prune::{self, PruneArgs};

pub(crate) use flags::{Ulimit, labels};
pub(crate) use run::{RunArgs, run};

/// The verbs that also stand alone: `skiff run` is `skiff container run`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Verb {
    // -h is the host name here, as in docker; --help stays.
    #[command(disable_help_flag = true)]
    #[command(override_usage = "skiff run [OPTIONS] <IMAGE> [COMMAND]...")]
    Run(Box<run::RunArgs>),
    #[command(disable_help_flag = true)]
    #[command(override_usage = "skiff create [OPTIONS] <IMAGE> [COMMAND]...")]
    Create(Box<run::CreateArgs>),
    Start(start::StartArgs),
    Stop(lifecycle::StopArgs),
    /// Stop containers and start them again
    Restart(lifecycle::StopArgs),
    Kill(lifecycle::KillArgs),
    /// Freeze all processes of containers
    Pause(lifecycle::Names),
    /// Let frozen processes go on
    Unpause(lifecycle::Names),
    /// Wait until containers have exited, and print their exit codes
    Wait(lifecycle::Names),
    Rm(lifecycle::RmArgs),
    Logs(logs::LogsArgs),
    Exec(start::ExecArgs),
    Attach(start::AttachArgs),
    Top(look::TopArgs),
    Port(ports::PortArgs),
    Rename(lifecycle::RenameArgs),
    Update(lifecycle::UpdateArgs),
    Cp(copy::CpArgs),
    Stats(stats::StatsArgs),
    Diff(look::DiffArgs),
    Explain(explain::ExplainArgs),
    Commit(export::CommitArgs),
    Export(export::ExportArgs),
}

/// `skiff container …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Group {
    #[command(flatten)]
    Verb(Verb),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::PsArgs),
    /// As rm
    #[command(hide = true)]
    Remove(lifecycle::RmArgs),
    /// Show all that is known about containers
    Inspect(inspect::ContainerArgs),
    /// Remove all containers that do not run
    Prune(PruneArgs),
}

impl Verb {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Verb::Run(args) => run::run(context, *args).await,
            Verb::Create(args) => run::create(context, *args).await,
            Verb::Start(args) => start::start(context, args).await,
            Verb::Stop(args) => lifecycle::stop(context, args, "stop").await,
            Verb::Restart(args) => {
                lifecycle::stop(context, args, "restart").await
            }
            Verb::Kill(args) => lifecycle::kill(context, args).await,
            Verb::Pause(names) => {
                lifecycle::pause(context, names, "pause").await
            }
            Verb::Unpause(names) => {
                lifecycle::pause(context, names, "unpause").await
            }
            Verb::Wait(names) => lifecycle::wait(context, names).await,
            Verb::Rm(args) => lifecycle::rm(context, args).await,
            Verb::Logs(args) => logs::logs(context, args).await,
            Verb::Exec(args) => start::exec(context, args).await,
            Verb::Attach(args) => start::attach(context, args).await,
            Verb::Top(args) => look::top(context, args).await,
            Verb::Port(args) => ports::port(context, args).await,
            Verb::Rename(args) => lifecycle::rename(context, args).await,
            Verb::Update(args) => lifecycle::update(context, args).await,
            Verb::Cp(args) => copy::cp(context, args).await,
            Verb::Stats(args) => stats::stats(context, args).await,
            Verb::Diff(args) => look::diff(context, args).await,
            Verb::Explain(args) => explain::explain(context, args).await,
            Verb::Commit(args) => export::commit(context, args).await,
            Verb::Export(args) => export::export(context, args).await,
        }
    }
}

#[cfg(test)]
impl Verb {
    /// The request that `create` would send.
    pub(crate) fn create_body(
        &self,
    ) -> Option<anyhow::Result<serde_json::Value>> {
        match self {
            Verb::Create(args) => Some(args.body()),
            _ => None,
        }
    }
}

impl Group {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Group::Verb(verb) => verb.run(context).await,
            Group::Ls(args) => ps::ps(context, args).await,
            Group::Remove(args) => lifecycle::rm(context, args).await,
            Group::Inspect(args) => inspect::container(context, args).await,
            Group::Prune(args) => {
                prune::one(context, args, &prune::CONTAINERS).await
            }
        }
    }
}
