//! `docker builder prune`: the build cache, or a part of it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use layers::DiffId;
use layers::build::{CachedStep, cached_steps};
use serde::Serialize;

use crate::engine::Engine;
use crate::engine::error::Result;
use crate::engine::events::Kind;
use crate::engine::filters::Filters;
use crate::engine::images::list::time;
use crate::engine::system::disk_usage;

/// What may be filtered by: BuildKit's names.
pub const FILTERS: &[&str] = &[
    "until",
    "unused-for",
    "id",
    "type",
    "inuse",
    "shared",
    "private",
    "label",
    "label!",
];

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Only these steps.
    pub filters: Filters,
    /// Bytes that may stay in any case.
    pub reserved_space: Option<u64>,
    /// Bytes that may stay at most.
    pub max_used_space: Option<u64>,
    /// Bytes that shall be free on the disk.
    pub min_free_space: Option<u64>,
}

/// What `builder prune` freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CachePruned {
    /// Keys of the steps that are forgotten.
    pub caches_deleted: Vec<String>,
    /// In bytes.
    pub space_reclaimed: u64,
}

impl Prune {
    /// Whether nothing is to stay, and so nothing of what belongs to it.
    fn is_all(&self) -> bool {
        !self.is_bounded() && self.filters == Filters::default()
    }

    /// Whether it is told how much may stay.
    fn is_bounded(&self) -> bool {
        let sizes =
            [self.reserved_space, self.max_used_space, self.min_free_space];
        sizes != [None; 3]
    }

    /// How much may stay of `total` bytes where `free` are free.
    fn may_stay(&self, total: u64, free: u64) -> u64 {
        let lacking = self.min_free_space.map(|want| want.saturating_sub(free));
        let by_disk = lacking.map(|it| total.saturating_sub(it));
        let most = [self.max_used_space, by_disk].into_iter().flatten().min();
        let reserved = self.reserved_space.unwrap_or(0);
        most.unwrap_or(0).max(reserved)
    }
}

impl Engine {
    /// Forgets the build cache, or what is picked of it.
    ///
    /// # Errors
    /// A file that cannot be removed, or a filter's value that is none.
    pub fn prune_build_cache(&self, prune: &Prune) -> Result<CachePruned> {
        let root = self.store.root();
        let mounts = mount_bytes(root);
        let caches_deleted = if prune.is_all() {
            layers::build::prune_cache(root)?
        } else {
            let keys = self.picked(prune)?;
            layers::build::forget_steps(root, &keys)?;
            keys
        };
        let swept = self.store.sweep(&|| self.image_users())?;
        let mounts = mounts.saturating_sub(mount_bytes(root));
        let space_reclaimed = swept.bytes + mounts;
        self.tell_pruned(Kind::Builder, space_reclaimed);
        Ok(CachePruned { caches_deleted, space_reclaimed })
    }

    /// The steps that shall go, the one first that nobody has used for the
    /// longest time.
    fn picked(&self, prune: &Prune) -> Result<Vec<String>> {
        let images = self.store.list()?;
        let shared: HashSet<&DiffId> =
            images.iter().flat_map(layers::Image::layers).collect();
        let choice = Choice::new(&prune.filters)?;
        let mut steps = cached_steps(self.store.root());
        steps.sort_by(|a, b| (a.used, &a.key).cmp(&(b.used, &b.key)));
        // A layer goes with the last step that has it.
        let mut users: BTreeMap<&DiffId, usize> = BTreeMap::new();
        for layer in steps.iter().filter_map(|step| step.layer.as_ref()) {
            *users.entry(layer).or_default() += 1;
        }
        // What an image holds stays on the disk, and is no part of the cache's
        // bytes.
        let size = |layer: &DiffId| match shared.contains(layer) {
            true => 0,
            false => self.store.layer_bytes(layer),
        };
        let mut total: u64 = users.keys().map(|layer| size(layer)).sum();
        let goal = prune.may_stay(total, free_space(self.store.root()));
        let bounded = prune.is_bounded();
        let mut keys = Vec::new();
        for step in &steps {
            // Without a bound all that match go, also those without a layer.
            if bounded && total <= goal {
                break;
            }
            let used =
                step.layer.as_ref().is_some_and(|it| shared.contains(it));
            if !choice.takes(step, used) {
                continue;
            }
            keys.push(step.key.clone());
            if let Some(layer) = &step.layer
                && let Some(left) = users.get_mut(layer)
            {
                *left -= 1;
                if *left == 0 {
                    total -= size(layer);
                }
            }
        }
        keys.sort();
        Ok(keys)
    }
}

/// The filters of one request, made ready.
struct Choice<'a> {
    filters: &'a Filters,
    /// Used before this moment.
    until: Option<Timestamp>,
    inuse: Option<bool>,
    shared: Option<bool>,
    private: Option<bool>,
}

impl Choice<'_> {
    fn new(filters: &Filters) -> Result<Choice<'_>> {
        Ok(Choice {
            filters,
            until: time(filters, "until")?.or(time(filters, "unused-for")?),
            inuse: filters.flag("inuse")?,
            shared: filters.flag("shared")?,
            private: filters.flag("private")?,
        })
    }

    fn takes(&self, step: &CachedStep, shared: bool) -> bool {
        let used = Timestamp::try_from(step.used).unwrap_or_default();
        let id = |it: &str| {
            // `system df` shows the layer's.
            let layer = step.layer.as_ref().map(DiffId::short);
            !it.is_empty() && (step.key.starts_with(it) || layer == Some(it))
        };
        // Steps have no labels, so a filter by one picks none of them; and a
        // build does not hold on to them.
        !self.filters.has("label")
            && self.inuse != Some(true)
            && self.until.is_none_or(|until| used < until)
            && self.shared.is_none_or(|wanted| wanted == shared)
            && self.private.is_none_or(|wanted| wanted != shared)
            && self.filters.any("type", |it| it == "regular")
            && self.filters.any("id", id)
    }
}

/// Bytes in the cache mounts of RUN steps.
fn mount_bytes(root: &std::path::Path) -> u64 {
    let mounts = layers::build::cache_mounts(root);
    mounts.iter().map(|path| disk_usage(path)).sum()
}

/// What is free for us on the disk of `path`; where that cannot be told,
/// nothing is asked of it.
fn free_space(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path)
        .map_or(u64::MAX, |it| it.f_bavail.saturating_mul(it.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stay_is_the_least_that_is_allowed_and_at_least_the_reserve() {
        let stays = |reserved_space, max_used_space, min_free_space| {
            let filters = Filters::default();
            let prune = Prune {
                filters,
                reserved_space,
                max_used_space,
                min_free_space,
            };
            prune.may_stay(1000, 100)
        };
        assert_eq!(stays(None, None, None), 0);
        assert_eq!(stays(Some(300), None, None), 300);
        assert_eq!(stays(None, Some(700), None), 700);
        assert_eq!(stays(Some(800), Some(700), None), 800);
        assert_eq!(stays(None, None, Some(600)), 500);
        assert_eq!(stays(None, Some(200), Some(600)), 200);
        assert_eq!(stays(None, None, Some(50)), 1000);
    }

    #[test]
    fn filters_pick_steps() {
        let step = CachedStep {
            key: "abc".to_owned(),
            used: std::time::SystemTime::UNIX_EPOCH,
            layer: None,
        };
        let takes = |text: &str, shared| {
            let filters = Filters::parse(text, FILTERS).unwrap();
            Choice::new(&filters).unwrap().takes(&step, shared)
        };
        for text in [
            r#"{"until":["24h"]}"#,
            r#"{"unused-for":["24h"]}"#,
            r#"{"id":["x","ab"]}"#,
            r#"{"type":["regular"]}"#,
            r#"{"inuse":["false"]}"#,
            r#"{"private":["true"]}"#,
        ] {
            assert!(takes(text, false), "{text}");
        }
        for text in [
            r#"{"until":["0"]}"#,
            r#"{"id":["bc"]}"#,
            r#"{"type":["frontend"]}"#,
            r#"{"inuse":["true"]}"#,
            r#"{"shared":["true"]}"#,
            r#"{"label":["a"]}"#,
        ] {
            assert!(!takes(text, false), "{text}");
        }
        assert!(takes(r#"{"shared":["true"]}"#, true));
    }
}
