//! The commands that this step adds to a stage: `volume create`, `ls`,
//! `inspect`, `rm`, `prune`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Subcommand;
use cli_api::human;
use cli_api::table::Table;
use serde::{Deserialize, Serialize};

use crate::{CreateVolume, VolumeStore};

/// They parse from the command line and travel to the daemon as JSON.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum VolumeVerbs {
    /// Make, show and remove volumes
    Volume {
        /// What to do
        #[command(subcommand)]
        verb: VolumeVerb,
    },
}

/// What comes after `volume`.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum VolumeVerb {
    /// Make a volume
    Create {
        /// A label to find it by
        #[arg(long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
        /// type, device and o, as for mount(8)
        #[arg(short, long = "opt", value_name = "NAME=VALUE")]
        options: Vec<String>,
        /// Its name, else a random one
        #[arg(default_value = "")]
        name: String,
    },
    /// List volumes
    Ls,
    /// Show all that is known, as JSON
    Inspect {
        /// Which ones
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes and the data in them
    Rm {
        /// Which ones
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes that no container refers to
    Prune {
        /// Those with a name too
        #[arg(short, long)]
        all: bool,
    },
}

impl VolumeVerbs {
    /// Does it.
    ///
    /// # Errors
    /// What the store says, in Docker's words.
    pub fn run(
        self,
        store: &VolumeStore,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let Self::Volume { verb } = self;
        match verb {
            VolumeVerb::Create { labels, options, name } => {
                let wanted = CreateVolume {
                    name,
                    driver: String::new(),
                    driver_opts: pairs(&options),
                    labels: pairs(&labels),
                };
                writeln!(out, "{}", store.create(&wanted)?.name)?;
            }
            VolumeVerb::Ls => list(store, out)?,
            VolumeVerb::Inspect { names } => {
                let all: Vec<_> = names
                    .iter()
                    .map(|name| store.get(name))
                    .collect::<Result<_, _>>()?;
                serde_json::to_writer_pretty(&mut *out, &all)?;
                writeln!(out)?;
            }
            VolumeVerb::Rm { names } => {
                for name in names {
                    store.remove(&name)?;
                    writeln!(out, "{name}")?;
                }
            }
            VolumeVerb::Prune { all } => prune(store, all, out)?,
        }
        Ok(())
    }
}

fn list(store: &VolumeStore, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = Table::new(["DRIVER", "VOLUME NAME"]);
    for volume in store.list()? {
        table.row([volume.driver, volume.name]);
    }
    Ok(write!(out, "{table}")?)
}

/// Without `all` only volumes that nobody gave a name go: a name means that
/// somebody wants to come back.
fn prune(
    store: &VolumeStore,
    all: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let pruned = store
        .prune(|volume| all || volume.labels.contains_key(crate::ANONYMOUS))?;
    if !pruned.volumes_deleted.is_empty() {
        writeln!(out, "Deleted Volumes:")?;
    }
    for name in &pruned.volumes_deleted {
        writeln!(out, "{name}")?;
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let space = human::size(pruned.space_reclaimed as f64, 4);
    Ok(writeln!(out, "\nTotal reclaimed space: {space}")?)
}

/// `NAME` alone is a name with nothing behind it, as in Docker.
fn pairs(list: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    list.iter().map(pair).collect()
}
