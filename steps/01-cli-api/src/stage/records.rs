//! The records of a stage, for its own verbs: they name containers as a
//! person does and run in the daemon, but know only the stage's state.

use std::path::Path;

use serde_json::Value;

use super::{Record, Status};
use crate::{id, state};

/// All containers of the stage whose state is in the directory `state`, with
/// the flags left as JSON. A record that is just being made or removed may
/// be missing.
pub fn records(state: &Path) -> Vec<Record<Value>> {
    let dirs = std::fs::read_dir(state.join("containers"));
    let dirs = dirs.into_iter().flatten().flatten();
    dirs.filter_map(|dir| {
        state::read_json(&dir.path().join("config.json")).ok()
    })
    .collect()
}

/// The container that `typed` means: by ID, name, or beginning of an ID.
///
/// # Errors
/// Docker's sentence if there is none, or more than one.
pub fn find_record(state: &Path, typed: &str) -> anyhow::Result<Record<Value>> {
    let mut all = records(state);
    let known = all.iter().enumerate();
    let known = known.map(|(at, it)| (it.id.as_str(), it.name.as_str(), at));
    match id::resolve(typed, known)? {
        Some(at) => Ok(all.swap_remove(at)),
        None => anyhow::bail!("No such container: {typed}"),
    }
}

impl<F> Record<F> {
    /// Whether its process runs, as far as the record knows.
    pub fn is_running(&self) -> bool {
        self.state.status == Status::Running
    }
}
