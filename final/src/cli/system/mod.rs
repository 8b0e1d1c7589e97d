//! Commands about the engine itself.

mod df;
mod df_verbose;
mod dial_stdio;
mod events;
mod info;

use clap::Subcommand;

use super::context::Context;
use super::prune::{self, SystemPruneArgs};

pub(crate) use events::{EventsArgs, events};
pub(crate) use info::{FormatArgs, info, version};

/// `skiff system …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Group {
    /// Show what takes how much room
    Df(df::DfArgs),
    /// Connect standard input and output to the daemon, for ssh
    #[command(hide = true)]
    DialStdio,
    Events(EventsArgs),
    /// Show what the engine and its host are like
    Info(FormatArgs),
    /// Remove everything that nobody uses
    Prune(SystemPruneArgs),
}

impl Group {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Group::Df(args) => df::df(context, args).await,
            Group::DialStdio => dial_stdio::dial_stdio(context).await,
            Group::Events(args) => events(context, args).await,
            Group::Info(args) => info(context, args).await,
            Group::Prune(args) => prune::system(context, args).await,
        }
    }
}
