//! Names: which image a tag or a manifest digest stands for.
//!
//! `images/repositories.json` has Docker's own shape, so that who has looked
//! into `/var/lib/docker` knows it:
//!
//! ```json
//! {"Repositories": {"nginx": {"nginx:latest": "sha256:…",
//!                             "nginx@sha256:…": "sha256:…"}}}
//! ```

use std::collections::BTreeMap;

use cli_api::state::{read_json, write_json_durable};
use serde::{Deserialize, Serialize};

use super::{Access, Store, lock};
use crate::digest::ImageId;
use crate::error::{Error, Result, absent};
use crate::reference::Reference;

/// In `images/`.
const FILE: &str = "repositories.json";

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Repositories {
    /// Sorted, so that a person finds things and a diff is short.
    #[serde(rename = "Repositories", default)]
    map: BTreeMap<String, BTreeMap<String, ImageId>>,
}

/// What an image is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `nginx:latest`: Docker's `RepoTags`.
    pub tags: Vec<String>,
    /// `nginx@sha256:…`, by the manifest: Docker's `RepoDigests`.
    pub digests: Vec<String>,
}

impl Repositories {
    /// By digest if the reference has one, else by tag.
    pub(super) fn get(&self, reference: &Reference) -> Option<&ImageId> {
        let repository = self.map.get(&reference.familiar_name())?;
        repository.get(&key(reference))
    }

    /// A name has one image; an older one loses it.
    fn set(&mut self, reference: &Reference, id: &ImageId) {
        let repository = self.map.entry(reference.familiar_name());
        repository.or_default().insert(key(reference), id.clone());
    }

    /// A repository without names goes too.
    pub(super) fn remove(&mut self, reference: &str) {
        self.map.retain(|_, names| {
            names.remove(reference);
            !names.is_empty()
        });
    }

    /// Forgets the names of all other images, and returns them.
    pub(super) fn keep_only(&mut self, ids: &[ImageId]) -> Vec<String> {
        let mut gone = Vec::new();
        for names in self.map.values_mut() {
            let other = names.extract_if(.., |_, id| !ids.contains(id));
            gone.extend(other.map(|(name, _)| name));
        }
        self.map.retain(|_, names| !names.is_empty());
        gone
    }

    /// Every name of an image, with the repository it belongs to.
    pub(super) fn of(&self, id: &ImageId) -> Vec<(&str, &str)> {
        let all = self.map.iter().flat_map(|(repository, names)| {
            names.iter().map(move |(name, id)| (repository, name, id))
        });
        all.filter(|(_, _, of)| *of == id)
            .map(|(repository, name, _)| (repository.as_str(), name.as_str()))
            .collect()
    }
}

impl Store {
    /// Gives an image a name. A tag that another image had moves here; that
    /// image stays, nameless. The reference must have a tag or a digest.
    pub fn tag(&self, reference: &Reference, id: &ImageId) -> Result<()> {
        if reference.familiar_name() == "sha256" {
            return Err(Error::Document {
                what: reference.familiar(),
                problem: "refusing to create an ambiguous tag using digest \
                          algorithm as name"
                    .to_owned(),
            });
        }
        let _lock = lock(self.root(), Access::Change)?;
        let mut record = self.record(id)?;
        let mut names = self.repositories()?;
        let reference = reference.clone().or_latest();
        if names.get(&reference) != Some(id) {
            names.set(&reference, id);
            self.write_repositories(&names)?;
        }
        record.last_tagged = Some(super::images::now());
        self.write_record(id, &record)
    }

    /// Takes a name away and leaves the image, even if it was the last name.
    pub fn untag(&self, reference: &Reference) -> Result<ImageId> {
        let _lock = lock(self.root(), Access::Change)?;
        let mut names = self.repositories()?;
        let reference = reference.clone().or_latest();
        let Some(id) = names.get(&reference).cloned() else {
            return Err(Error::NoSuchImage(reference.familiar()));
        };
        names.remove(&key(&reference));
        self.write_repositories(&names)?;
        Ok(id)
    }

    /// What an image is called.
    pub fn names(&self, id: &ImageId) -> Result<Names> {
        let repositories = self.repositories()?;
        let mut names = Names::default();
        for (_, name) in repositories.of(id) {
            let list = match name.contains('@') {
                true => &mut names.digests,
                false => &mut names.tags,
            };
            list.push(name.to_owned());
        }
        Ok(names)
    }

    pub(super) fn repositories(&self) -> Result<Repositories> {
        match read_json(&self.images().join(FILE)) {
            Err(e) if absent(&e) => Ok(Repositories::default()),
            other => Ok(other?),
        }
    }

    /// On the disk at once: one file has the names of all images, and which
    /// they were cannot be found out again.
    pub(super) fn write_repositories(
        &self,
        names: &Repositories,
    ) -> Result<()> {
        Ok(write_json_durable(&self.images().join(FILE), names)?)
    }
}

/// The digest counts before the tag: `a:1@sha256:…` is what the digest says,
/// whatever the tag has come to mean since.
pub(super) fn key(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => format!("{}@{digest}", reference.familiar_name()),
        None => reference.familiar(),
    }
}
