//! The commands that this step adds to a stage: `diff` and `commit`.

use std::io::{Write, pipe};
use std::path::Path;
use std::thread;

use anyhow::{Context, bail};
use clap::Subcommand;
use cli_api::stage::{Record, find_record};
use layers::store::NewImage;
use layers::{ChangeKind, History, ImageId, Reference, Snapshots, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::OverlaySnapshots;

/// They parse from the command line and travel to the daemon as JSON.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum LayerVerbs {
    /// Show what a container changed against its image
    Diff {
        /// ID, name, or the beginning of an ID
        container: String,
    },
    /// Make an image of a container's changes
    Commit {
        /// ID, name, or the beginning of an ID
        container: String,
        /// The image's name
        name: Reference,
    },
}

impl LayerVerbs {
    /// Does it. `state` is where the stage keeps its records.
    ///
    /// # Errors
    /// Docker's sentence for a container that does not exist; what the store
    /// says.
    pub fn run(
        self,
        store: &Store,
        snapshots: &OverlaySnapshots,
        state: &Path,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        match self {
            Self::Diff { container } => {
                let container = find_record(state, &container)?;
                for change in snapshots.changes(&container.id)? {
                    let letter = match change.kind {
                        ChangeKind::Modified => 'C',
                        ChangeKind::Added => 'A',
                        ChangeKind::Deleted => 'D',
                    };
                    writeln!(out, "{letter} {}", change.path.display())?;
                }
            }
            Self::Commit { container, name } => {
                let container = find_record(state, &container)?;
                let image = commit(store, snapshots, &container)?;
                store.tag(&name, &image)?;
                writeln!(out, "{image}")?;
            }
        }
        Ok(())
    }
}

/// The upper directory becomes one more layer, and the config names it. The
/// image below is not touched: the new one only refers to its layers.
fn commit(
    store: &Store,
    snapshots: &OverlaySnapshots,
    container: &Record<Value>,
) -> anyhow::Result<ImageId> {
    let args = &container.config.args;
    let image = store.resolve(args.first().context("no image")?)?;
    // Until an image names the layer, a `prune` must not take it away.
    let lease = store.lease()?;
    let (tar, mut end) = pipe()?;
    // Reading and writing at once: no temporary file of the layer's size.
    let layer = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = snapshots.diff(&container.id, &mut end);
            drop(end);
            written
        });
        let layer = store.add_layer(&lease, tar, false);
        match writer.join() {
            // The writer's error is the cause, the reader's the consequence.
            Ok(written) => written.and(layer).map_err(anyhow::Error::from),
            Err(_) => bail!("commit: a thread panicked"),
        }
    })?;
    let now = jiff::Timestamp::now().to_string();
    let mut config = image.config.clone();
    config.rootfs.diff_ids.push(layer.diff_id);
    config.history.push(History {
        created: Some(now.clone()),
        created_by: Some(args[1..].join(" ")),
        ..History::default()
    });
    config.created = Some(now);
    if args.len() > 1 {
        config.config.cmd = Some(args[1..].to_vec());
    }
    let known = NewImage { parent: Some(image.id), manifest: None };
    Ok(store.put_image(&lease, &config.to_bytes(), known)?)
}
