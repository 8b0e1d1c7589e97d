//! Images, as the API talks about them. How they are kept, fetched and
//! removed is step 4's; here are Docker's views and words for it.

pub mod auth;
pub mod inspect;
pub mod list;
pub mod pull;
pub mod push;
pub mod transfer;

use std::collections::HashMap;

use layers::reference::ReferenceError;
use layers::store::{RemoveOptions, Removed, User};
use layers::{Image, ImageId, Lease, Platform, Reference};
use serde::Serialize;

use super::Engine;
use super::error::{Error, Result};
use super::events::{Attributes, Kind, attributes};
use super::filters::Filters;

impl From<layers::Error> for Error {
    fn from(error: layers::Error) -> Error {
        use layers::Error as E;
        let text = error.to_string();
        match error {
            E::NoSuchImage(_) | E::NoSuchBlob(_) => Error::NotFound(text),
            E::Reference(_)
            | E::Digest(_)
            | E::Platform(_)
            | E::Ambiguous { .. } => Error::Invalid(text),
            E::Conflict(_) => Error::Conflict(text),
            E::Registry(error) => auth::refusal(&error),
            _ => Error::Internal(text),
        }
    }
}

/// One line of the answer to `rmi` and `image prune`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Gone {
    /// A name was taken away.
    Untagged(String),
    /// An image or a layer was removed.
    Deleted(String),
}

/// What `image prune` freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pruned {
    /// Names and images that are gone; `null` for none, as in Docker.
    pub images_deleted: Option<Vec<Gone>>,
    /// In bytes.
    pub space_reclaimed: u64,
}

impl Engine {
    /// Refuses an image that is for another machine than was asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] in Docker's words.
    pub fn check_platform(&self, name: &str, wanted: &Platform) -> Result<()> {
        let image = self.store.resolve(name)?;
        let own = image.config.platform();
        if own.suits(wanted).is_some() {
            return Ok(());
        }
        Err(Error::NotFound(format!(
            "image with reference {name} was found but its platform ({own}) \
             does not match the specified platform ({wanted})"
        )))
    }

    /// Finds an image by name or ID.
    ///
    /// # Errors
    /// [`Error::NotFound`] in the words that the docker command looks for.
    pub fn image(&self, name: &str) -> Result<Image> {
        Ok(self.store.resolve(name)?)
    }

    /// `docker tag`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `repo` and `tag` make no name.
    pub fn tag(&self, image: &str, repo: &str, tag: &str) -> Result<()> {
        let image = self.image(image)?;
        let reference = named(repo, tag)?;
        self.store.tag(&reference, &image.id)?;
        self.tell_image("tag", &image.id, &reference.familiar());
        Ok(())
    }

    /// `docker rmi`.
    ///
    /// # Errors
    /// [`Error::Conflict`] with Docker's reason, such as a container that
    /// uses the image.
    pub fn remove_image(
        &self,
        name: &str,
        force: bool,
        prune: bool,
    ) -> Result<Vec<Gone>> {
        self.image(name)?;
        let known = self.known_names()?;
        let options = RemoveOptions { force, parents: prune };
        let lines = self.store.remove(name, options, &|| self.image_users())?;
        Ok(self.tell_gone(&known, lines))
    }

    /// `docker image prune`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter that makes no sense.
    pub fn prune_images(&self, filters: &Filters) -> Result<Pruned> {
        let all = filters.flag("dangling")? == Some(false);
        let until = list::until(filters)?;
        let chosen = |image: &Image| {
            let labels = image.config.config.labels.clone();
            let old = until
                .is_none_or(|until| list::created(image) < until.as_second());
            old && filters.labels(&labels.unwrap_or_default())
        };
        let users = || self.image_users();
        let known = self.known_names()?;
        let (lines, bytes) = self.store.prune(all, &chosen, &users)?;
        let gone = self.tell_gone(&known, lines);
        self.tell_pruned(Kind::Image, bytes);
        Ok(Pruned {
            images_deleted: Some(gone).filter(|gone| !gone.is_empty()),
            space_reclaimed: bytes,
        })
    }

    /// What the containers need of the store, whether they run or not.
    pub fn image_users(&self) -> Vec<User> {
        let user = |container: std::sync::Arc<super::containers::Container>| {
            container.with(|record| {
                Some(User {
                    container: record.id.clone(),
                    running: record.state.status.is_up(),
                    image: record.image.parse().ok()?,
                    layers: record.own.layers.clone(),
                })
            })
        };
        self.containers.all().into_iter().filter_map(user).collect()
    }

    /// Keeps an image's layers while a container of it is being made, until
    /// the container is in the list and counts by itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] if they have just been removed.
    pub(crate) fn hold(&self, image: &Image) -> Result<Lease> {
        let lease = self.store.lease()?;
        // Pinned first and looked for then, or they could go in between.
        for layer in image.layers() {
            lease.pin(&layer.0)?;
        }
        for layer in image.layers() {
            self.store.layer(layer)?;
        }
        Ok(lease)
    }

    /// How many containers were made from an image; −1 is "not counted".
    pub(crate) fn containers_of(&self, id: &ImageId) -> i64 {
        let users = self.image_users();
        let count = users.iter().filter(|user| user.image == *id).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// The image behind every name and ID, for events about what is gone.
    fn known_names(&self) -> Result<HashMap<String, ImageId>> {
        let mut known = HashMap::new();
        for id in self.store.ids()? {
            let names = self.store.names(&id)?;
            for name in names.tags.into_iter().chain(names.digests) {
                known.insert(name, id.clone());
            }
            known.insert(id.to_string(), id);
        }
        Ok(known)
    }

    /// Layers are in the answer too, but nothing happens to them that a
    /// client could have heard of before.
    fn tell_gone(
        &self,
        known: &HashMap<String, ImageId>,
        lines: Vec<Removed>,
    ) -> Vec<Gone> {
        let tell = |action: &str, name: &str| {
            if let Some(id) = known.get(name) {
                let said = attributes([("name", id.as_str())]);
                self.events.emit(Kind::Image, action, id.as_str(), said);
            }
        };
        lines
            .into_iter()
            .map(|line| match line {
                Removed::Untagged(name) => {
                    tell("untag", &name);
                    Gone::Untagged(name)
                }
                Removed::Deleted(name) => {
                    tell("delete", &name);
                    Gone::Deleted(name)
                }
            })
            .collect()
    }

    /// An event about an image, with its labels, as Docker does it.
    pub(crate) fn tell_image(&self, action: &str, id: &ImageId, name: &str) {
        let image = self.store.image(id).ok();
        let labels = image.and_then(|image| image.config.config.labels);
        let mut said: Attributes = labels.unwrap_or_default();
        said.insert("name".to_owned(), name.to_owned());
        self.events.emit(Kind::Image, action, id.as_str(), said);
    }
}

/// A name from the two parameters that clients send. A tag of its own wins
/// over one in `repo`, a digest in `repo` over both; a digest may also come
/// as the tag.
pub(crate) fn named(repo: &str, tag: &str) -> Result<Reference> {
    let parse = || -> Result<Reference, ReferenceError> {
        let reference: Reference = repo.parse()?;
        if reference.digest().is_some() || tag.is_empty() {
            return Ok(reference.or_latest());
        }
        match tag.contains(':') {
            true => Ok(reference.with_digest(tag.parse()?)),
            false => reference.with_tag(tag),
        }
    };
    parse().map_err(|error| Error::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_its_own_wins_and_a_digest_over_both() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let by_digest = format!("nginx@{digest}");
        for (repo, tag, name) in [
            ("nginx", "", "nginx:latest"),
            ("nginx:1.25", "", "nginx:1.25"),
            ("nginx:1.25", "1.26", "nginx:1.26"),
            ("nginx", digest.as_str(), by_digest.as_str()),
            (by_digest.as_str(), "1", by_digest.as_str()),
        ] {
            assert_eq!(named(repo, tag).unwrap().familiar(), name);
        }
        assert!(named("UPPER", "").is_err() && named("a", "-").is_err());
    }
}
