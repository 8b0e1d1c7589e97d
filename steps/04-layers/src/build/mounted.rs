//! Root file systems that live for one step: of the stage being built, and of
//! the stages and images it takes files from.

use super::add;
use super::dockerfile::Instruction;
use super::options::BuildError;
use super::plan::{Origin, origin};
use super::stage::StageBuild;
use crate::digest::Hasher;
use crate::store::LayerRecord;
use crate::{DiffId, Digest, Layer};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, BuildError>;

/// How much is hashed at a time.
const CHUNK: usize = 128 << 10;

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

impl<'a> StageBuild<'_, 'a> {
    /// Mounts these layers under a name of their own.
    pub(super) fn mount(&self, layers: &[DiffId]) -> Result<Mounted<'a>> {
        let id = format!("build-{}", cli_api::id::hex64());
        let snapshots = self.session.builder.snapshots;
        let path = snapshots.prepare(&id, layers)?;
        Ok(Mounted { snapshots, id, path })
    }

    /// Mounts what files are to be taken from.
    pub(super) fn mount_source(
        &self,
        layers: &[DiffId],
    ) -> Result<Mounted<'a>> {
        let id = format!("build-{}", cli_api::id::hex64());
        let snapshots = self.session.builder.snapshots;
        let path = snapshots.show(&id, layers)?;
        Ok(Mounted { snapshots, id, path })
    }

    /// Turns what changed in a mounted root file system into a layer; `None`
    /// when nothing did. Docker leaves such a layer out as well.
    ///
    /// An overlay's upper directory is the layer already, so it is hashed and
    /// moved. Times that must be changed, and changes that must be looked for,
    /// need a tar in between.
    pub(super) fn commit(
        &self,
        mounted: &Mounted<'_>,
    ) -> Result<Option<Layer>> {
        let epoch = self.session.options.source_date_epoch;
        if epoch.is_none()
            && let Some(upper) = mounted.snapshots.take(&mounted.id)?
        {
            return self.adopted(&upper);
        }
        let layer = self.copied(mounted, epoch)?;
        Ok(Some(layer).filter(|layer| layer.diff_id != nothing()))
    }

    /// The digest is that of the tar that the files make; the tar itself is
    /// written when somebody asks for it.
    fn adopted(&self, upper: &Path) -> Result<Option<Layer>> {
        let session = self.session;
        let mut hash = BufWriter::with_capacity(CHUNK, Hasher::sha256());
        let size = crate::diff::write_upper(upper, None, &mut hash)
            .map_err(crate::Error::from)?;
        let hash = hash.into_inner().map_err(io::IntoInnerError::into_error);
        let hash = hash.map_err(crate::error::io_at("hash", upper))?;
        let diff_id = DiffId(hash.finish());
        if diff_id == nothing() {
            return Ok(None);
        }
        let (store, lease) = (session.builder.store, &session.lease);
        let writer = store.layer_writer()?;
        writer.adopt(upper)?;
        let record = LayerRecord { size, ..LayerRecord::default() };
        let layer = writer.commit(store, lease, diff_id, record)?;
        Ok(Some(layer))
    }

    /// The tar is unpacked while it is being written; it never is on disk.
    fn copied(
        &self,
        mounted: &Mounted<'_>,
        epoch: Option<u64>,
    ) -> Result<Layer> {
        let (reader, writer) = std::io::pipe().map_err(|error| {
            crate::error::io_at("make a pipe for", &mounted.path)(error)
        })?;
        let (store, lease) = (self.session.builder.store, &self.session.lease);
        std::thread::scope(|scope| {
            let source = scope.spawn(move || {
                let mut out = BufWriter::new(writer);
                mounted.snapshots.diff(&mounted.id, &mut out)
            });
            let layer = match epoch {
                None => store.add_layer(lease, reader, false),
                Some(epoch) => add::clamped(reader, epoch, store.scratch())
                    .and_then(|tar| store.add_layer(lease, tar, false)),
            };
            // The writer's error first: it is the cause of a short tar.
            match source.join() {
                Ok(written) => written?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            Ok(layer?)
        })
    }

    /// The layers of another stage or image.
    pub(super) fn layers_of(
        &mut self,
        name: &str,
        instruction: &Instruction,
    ) -> Result<Vec<DiffId>> {
        let contexts = &self.session.options.contexts;
        let found = origin(name, self.session.file, self.index, contexts)
            .map_err(|m| BuildError::step(m, &instruction.excerpt))?;
        match found {
            Origin::Stage(index) => match self.session.board.wait(index)? {
                Some(state) => Ok(state.image.rootfs.diff_ids),
                // Only a trigger can name a stage that the plan has not
                // seen.
                None => Err(BuildError::step(
                    format!(
                        "the build trigger needs stage {name}, which no \
                         other instruction needs: COPY --from={name} in the \
                         Dockerfile itself"
                    ),
                    &instruction.excerpt,
                )),
            },
            Origin::Image(name) => {
                let platform = self.session.options.platform.as_ref();
                let id = self.fetch(&name, platform, false)?;
                Ok(self.session.keep(&id)?.layers().to_vec())
            }
        }
    }
}

/// A tar without entries is two blocks of zeros.
fn nothing() -> DiffId {
    DiffId(Digest::of(&[0; 1024]))
}
