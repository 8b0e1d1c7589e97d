//! Root file systems that live for one step: of the stage being built, and of
//! the stages and images it takes files from.

use super::add;
use super::dockerfile::Instruction;
use super::options::BuildError;
use super::plan::{Origin, origin};
use super::session::Session;
use crate::{DiffId, Digest, Layer};
use std::path::PathBuf;

type Result<T> = std::result::Result<T, BuildError>;

/// A root file system that exists as long as this value.
pub(super) struct Mounted<'a> {
    snapshots: &'a dyn crate::Snapshots,
    id: String,
    /// Where it is.
    pub(super) path: PathBuf,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // The step has already succeeded or failed; a directory that stays
        // behind is swept with the scratch space.
        let _ = self.snapshots.remove(&self.id);
    }
}

impl<'a> Session<'a> {
    /// Mounts these layers under a name of their own.
    pub(super) fn mount(&self, layers: &[DiffId]) -> Result<Mounted<'a>> {
        let id = format!("build-{}", cli_api::id::hex64());
        let snapshots = self.builder.snapshots;
        let path = snapshots.prepare(&id, layers)?;
        Ok(Mounted { snapshots, id, path })
    }

    /// Turns what changed in a mounted root file system into a layer; `None`
    /// when nothing did. Docker leaves such a layer out as well.
    pub(super) fn commit(
        &self,
        mounted: &Mounted<'_>,
    ) -> Result<Option<Layer>> {
        let (reader, writer) = std::io::pipe().map_err(|error| {
            crate::error::io_at("make a pipe for", &mounted.path)(error)
        })?;
        let epoch = self.options.source_date_epoch;
        std::thread::scope(|scope| {
            // The tar is unpacked while it is being written; it never is on
            // disk.
            let source = scope.spawn(move || {
                let mut out = std::io::BufWriter::new(writer);
                mounted.snapshots.diff(&mounted.id, &mut out)
            });
            let store = self.builder.store;
            let layer = match epoch {
                None => store.add_layer(&self.lease, reader, false),
                Some(epoch) => add::clamped(reader, epoch, store.scratch())
                    .and_then(|tar| store.add_layer(&self.lease, tar, false)),
            };
            // The writer's error first: it is the cause of a short tar.
            match source.join() {
                Ok(written) => written?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            let layer = layer?;
            // A tar without entries is two blocks of zeros.
            let nothing = Digest::of(&[0; 1024]);
            Ok(Some(layer).filter(|layer| layer.diff_id.0 != nothing))
        })
    }

    /// The layers of another stage or image.
    pub(super) fn layers_of(
        &mut self,
        name: &str,
        instruction: &Instruction,
    ) -> Result<Vec<DiffId>> {
        let found = origin(name, self.file, self.stage)
            .map_err(|m| BuildError::step(m, &instruction.excerpt))?;
        match found {
            Origin::Stage(index) => {
                let state = self.done[index].as_ref();
                let image = state.map(|state| &state.image);
                Ok(image.map_or_else(Vec::new, |i| i.rootfs.diff_ids.clone()))
            }
            Origin::Image(name) => {
                let platform = Some(self.platform());
                let id = self.fetch(&name, platform.as_ref(), false)?;
                let image = self.builder.store.image(&id)?;
                Ok(image.layers().to_vec())
            }
        }
    }
}
