//! Mounts of a stage's containers: what was claimed is written beside the
//! container's record, so that the daemon after the next finds it.

use std::path::{Path, PathBuf};

use cli_api::stage::Run;
use cli_api::state;
use namespaces::Mount;
use serde::{Deserialize, Serialize};

use crate::{Claim, MountArgs, VolumeStore, add_anonymous};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Claims {
    all: Vec<Claim>,
    /// `run --rm` takes volumes without a name with it, `rm` does not.
    anonymous_go: bool,
}

impl VolumeStore {
    /// All that the flags and the image's VOLUME (`targets`) ask for, as
    /// mounts over `rootfs`. `state` is the directory of the stage.
    ///
    /// # Errors
    /// Docker's sentences; [`VolumeStore::give_back`] cleans up.
    pub fn mounts<'a, F>(
        &self,
        state: &Path,
        run: &Run<F>,
        flags: &MountArgs,
        targets: impl IntoIterator<Item = &'a str>,
        rootfs: &Path,
    ) -> anyhow::Result<Vec<Mount>> {
        let mut specs = flags.specs(&run.cwd)?;
        add_anonymous(&mut specs, targets);
        let all = self.claim(&run.id, &specs)?;
        let claims = Claims { all, anonymous_go: run.auto_remove };
        state::write_json(&file(state, &run.id), &claims)?;
        let mut mounts = self.prepare(&run.id, &claims.all, rootfs)?;
        mounts.extend(flags.tmpfs_mounts()?);
        Ok(mounts)
    }

    /// The opposite, for a container that is being removed.
    ///
    /// # Errors
    /// What could not be unmounted or removed.
    pub fn give_back(&self, state: &Path, id: &str) -> anyhow::Result<()> {
        // A container that failed before it had any has none to give back.
        let claims: Claims =
            state::read_json(&file(state, id)).unwrap_or_default();
        Ok(self.release(id, &claims.all, claims.anonymous_go)?)
    }
}

fn file(state: &Path, id: &str) -> PathBuf {
    state.join("containers").join(id).join("mounts.json")
}
