//! `COPY --link`: a layer that was made without the layers below it.
//!
//! An ordinary COPY looks at what it copies into: a link in the destination
//! leads elsewhere, a directory that is there keeps its owner. So its result
//! depends on every step before. With `--link` the files go into an empty
//! directory, which becomes a layer that fits on any other: when the base
//! image changes, it is found in the cache and put on top again. The price is
//! that links in the destination are not followed; they are replaced.

use super::cache::Inputs;
use super::copy_step::Job;
use super::options::BuildError;
use super::stage::{StageBuild, State};
use crate::copy::attributes;
use crate::diff::{DiffError, LayerWriter};
use crate::error::io_at;
use crate::store::{Parent, is_usual};
use crate::{DiffId, Digest, Layer};
use std::fs::{self, Metadata};
use std::io::{self, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, BuildError>;

/// Names of owners are known in the image below, which must not count.
pub(super) fn check_owner(
    chown: Option<&str>,
) -> std::result::Result<(), String> {
    let number = |part: &str| part.parse::<u32>().is_ok();
    match chown.filter(|text| !text.split(':').all(number)) {
        None => Ok(()),
        Some(text) => Err(format!(
            "--chown={text} with --link: the layer is made without the image \
             below, which alone knows that name; give numbers, as in \
             --chown=1000:1000, or leave --link out"
        )),
    }
}

/// The one thing that counts of the layers below: directories on the way to
/// the destination that are closed, or open, in another way than usual. The
/// layer has to say that again, since a directory of the topmost layer hides
/// those below.
pub(super) struct Way(Vec<Parent>);

impl Way {
    /// As part of the step's key; empty where nothing is special.
    pub(super) fn key(&self) -> String {
        let one = |it: &Parent| {
            let (path, mode) = (it.path.display(), it.meta.mode() & 0o7777);
            format!("{path} {}:{} {mode:o}", it.meta.uid(), it.meta.gid())
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Makes the directories so that were made only on the way.
    fn take_over(&self, root: &Path) -> crate::Result<()> {
        for parent in &self.0 {
            let to = root.join(&parent.path);
            let found = fs::symlink_metadata(&to).ok();
            if found.is_some_and(|meta| is_only_a_way(&to, &meta)) {
                attributes(&parent.from, &to, &parent.meta)?;
            }
        }
        Ok(())
    }
}

impl StageBuild<'_, '_> {
    /// What the layers below are like on the way to the destination.
    pub(super) fn way(&self, state: &State, job: &Job<'_>) -> Result<Way> {
        let layers = &state.image.rootfs.diff_ids;
        let store = self.session.builder.store;
        Ok(Way(store.special_parents(layers, &job.destination())?))
    }

    /// What comes next stands on both: the step's own key, which does not
    /// depend on the step below, and that step's.
    pub(super) fn put_on(&self, below: &str, state: &mut State) -> Result<()> {
        let (parent, instruction) = (below.to_owned(), state.key.clone());
        state.key = Inputs { parent, instruction, ..Inputs::default() }.key();
        let store = self.session.builder.store;
        Ok(store.complete_stack(&state.image.rootfs.diff_ids)?)
    }

    /// The layer's tar is kept: it leaves directories out that its files
    /// have, so it could not be written again from them.
    pub(super) fn linked(
        &self,
        job: &mut Job<'_>,
        way: &Way,
        failed: &dyn Fn(String) -> BuildError,
    ) -> Result<Option<Layer>> {
        let session = self.session;
        let (store, scratch) =
            (session.builder.store, session.builder.store.scratch());
        let room = tempfile::tempdir_in(scratch)
            .map_err(io_at("make a directory in", scratch))?;
        // Kept mounted until the files are copied.
        let _other = self.mount_other(job, failed)?;
        job.carry_out(room.path()).map_err(failed)?;
        way.take_over(room.path())?;
        let mut tar = tempfile::tempfile_in(scratch)
            .map_err(io_at("make a file in", scratch))?;
        let clamp = session.options.source_date_epoch;
        let mut out = io::BufWriter::new(&mut tar);
        write(room.path(), &job.destination(), clamp, &mut out)
            .map_err(crate::Error::from)?;
        let written = out.into_inner().map_err(io::IntoInnerError::into_error);
        written
            .and_then(Seek::rewind)
            .map_err(io_at("write a file in", scratch))?;
        let layer = store.add_layer(&session.lease, tar, true)?;
        let nothing = DiffId(Digest::of(&[0; 1024]));
        Ok(Some(layer).filter(|layer| layer.diff_id != nothing))
    }
}

/// Writes a tree that was made for one destination. The directories on the
/// way there are left out where nothing is to be said about them.
fn write(
    root: &Path,
    destination: &Path,
    clamp: Option<u64>,
    out: &mut dyn io::Write,
) -> std::result::Result<(), DiffError> {
    let mut layer = LayerWriter::new(out, clamp);
    let mut here = PathBuf::new();
    for part in destination {
        let next = here.join(part);
        let source = root.join(&next);
        let found = fs::symlink_metadata(&source).ok();
        let Some(meta) = found.filter(Metadata::is_dir) else { break };
        if !is_only_a_way(&source, &meta) {
            layer.entry(&source, &next)?;
        }
        here = next;
    }
    layer.tree(root, &here)?;
    layer.finish()
}

/// As [`super::copying::Copier`] makes directories on its way, with something
/// in it.
fn is_only_a_way(path: &Path, meta: &Metadata) -> bool {
    let empty = fs::read_dir(path).is_ok_and(|mut list| list.next().is_none());
    is_usual(meta) && !empty
}
