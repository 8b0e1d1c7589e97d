//! One step, from the cache or in earnest.

use super::cache::{CachedLayer, Inputs, Record};
use super::dockerfile::Instruction;
use super::options::{BuildError, BuildEvent, CacheReport};
use super::stage::{StageBuild, State};
use crate::{DiffId, History, ImageConfig, Layer};

type Result<T> = std::result::Result<T, BuildError>;

impl StageBuild<'_, '_> {
    /// Looks the step up in the cache, or carries it out, and extends the
    /// state by its result.
    pub(super) fn step_through(
        &mut self,
        state: &mut State,
        inputs: Inputs,
        created_by: &str,
        instruction: &Instruction,
        work: impl FnOnce(&mut Self, &State) -> Result<Option<Layer>>,
    ) -> Result<()> {
        let mut inputs = inputs;
        if let Some(epoch) = self.session.options.source_date_epoch {
            // Layers made for another epoch have other times in them.
            inputs.args.insert("SOURCE_DATE_EPOCH".into(), epoch.to_string());
        }
        let key = inputs.key();
        let _claim = match self.session.options.no_cache {
            true => None,
            false => Some(self.session.board.claim(&key)),
        };
        let changed = self.session.comparison.reason(
            self.at(),
            &inputs,
            &mut state.cause,
        );
        let (record, reason) = match self.look_up(state, &key, created_by)? {
            Lookup::Result(record) => (Some(record), String::new()),
            Lookup::Nothing => (None, changed),
            Lookup::Unusable(why) => (None, why.to_owned()),
        };
        self.report(&instruction.text, record.is_some(), reason);
        self.note(inputs);
        self.cached = record.is_some();
        let record = match record {
            Some(record) => {
                self.line(" ---> Using cache\n");
                record
            }
            None => {
                let layer = work(self, state)?;
                let record = Record {
                    instruction: instruction.text.clone(),
                    created: self.session.now(),
                    layer: layer.as_ref().map(CachedLayer::from),
                };
                self.session.cache.put(&key, &record)?;
                record
            }
        };
        state.key = key;
        extend(&mut state.image, &record, created_by);
        Ok(())
    }

    /// Finds an earlier result. A record whose layer is gone is as good as
    /// none, but deserves its own reason.
    fn look_up(
        &self,
        state: &State,
        key: &str,
        created_by: &str,
    ) -> Result<Lookup> {
        if self.session.options.no_cache {
            return Ok(Lookup::Unusable("the cache is off (--no-cache)"));
        }
        let only_images = !self.session.options.cache_from.is_empty();
        let known = match only_images {
            true => self.images_as_cache(
                &self.session.options.cache_from,
                state,
                created_by,
            ),
            false => self.session.cache.get(key).or_else(|| {
                let images = &self.session.options.cache_also_from;
                self.images_as_cache(images, state, created_by)
            }),
        };
        Ok(match known {
            None if only_images => {
                Lookup::Unusable("no image of --cache-from has this step")
            }
            None => Lookup::Nothing,
            Some(record) => match &record.layer {
                Some(layer) if !self.has(&Layer::from(layer).diff_id)? => {
                    Lookup::Unusable("its layer was removed from the store")
                }
                _ => Lookup::Result(record),
            },
        })
    }

    /// Pinned first and looked for then, or it could go in between.
    fn has(&self, layer: &DiffId) -> Result<bool> {
        self.session.lease.pin(&layer.0)?;
        Ok(self.session.builder.store.has_layer(layer))
    }

    /// `--cache-from` stands for the cache and not beside it, as in Docker's
    /// classic builder: an image whose history begins like ours and goes on
    /// with this very step. COPY's history lines hold the fingerprint of
    /// the files, so equal lines mean equal results.
    fn images_as_cache(
        &self,
        images: &[String],
        state: &State,
        created_by: &str,
    ) -> Option<Record> {
        let ours = &state.image;
        let said = |h: &History| h.created_by.clone();
        let mine: Vec<_> = ours.history.iter().map(said).collect();
        images.iter().find_map(|name| {
            let image = self.session.builder.store.resolve(name).ok()?;
            let theirs = &image.config;
            let same = theirs.history.len() > mine.len()
                && theirs.rootfs.diff_ids.starts_with(&ours.rootfs.diff_ids)
                && theirs
                    .history
                    .iter()
                    .map(said)
                    .zip(&mine)
                    .all(|(their, mine)| their == *mine);
            let next = theirs.history.get(mine.len()).filter(|_| same)?;
            if next.created_by.as_deref() != Some(created_by) {
                return None;
            }
            let count = ours.rootfs.diff_ids.len();
            let layer = match next.empty_layer {
                true => None,
                false => theirs.rootfs.diff_ids.get(count).map(|diff_id| {
                    let diff_id = diff_id.clone();
                    CachedLayer::from(&Layer { diff_id, size: 0 })
                }),
            };
            let created = next.created.clone().unwrap_or_default();
            let instruction = created_by.to_owned();
            Some(Record { instruction, created, layer })
        })
    }

    /// For `build --explain`.
    pub(super) fn report(&self, text: &str, hit: bool, reason: String) {
        let (step, trigger) = (self.step, self.trigger.is_some());
        let instruction = text.to_owned();
        let report = CacheReport { step, instruction, trigger, hit, reason };
        self.tell(BuildEvent::Cache(report));
    }
}

/// What the cache has of a step.
enum Lookup {
    Result(Record),
    Nothing,
    /// There may be something, but it is of no use.
    Unusable(&'static str),
}

/// Puts a step's result on top.
fn extend(image: &mut ImageConfig, record: &Record, created_by: &str) {
    if let Some(layer) = &record.layer {
        image.rootfs.diff_ids.push(Layer::from(layer).diff_id);
    }
    image.created = Some(record.created.clone());
    image.history.push(History {
        created: Some(record.created.clone()),
        created_by: Some(created_by.to_owned()),
        author: image.author.clone(),
        empty_layer: record.layer.is_none(),
        ..History::default()
    });
}
