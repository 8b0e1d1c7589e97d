//! Removing images: `rmi`, with Docker's rules and sentences.
//!
//! | in the way | `rmi` | `rmi -f` |
//! |---|---|---|
//! | a running container of it | conflict | conflict |
//! | an image built upon it | conflict | conflict |
//! | a pull, build or start of it, just now | conflict | conflict |
//! | a stopped container | conflict | goes; the layers stay |
//! | names in several repositories (by ID) | conflict | all go |
//!
//! By name, only the name goes, and the image with its last name. By ID, all
//! names go. What a container uses, or another image is built upon, stays;
//! `force` overrides that only where nothing would break.

use std::collections::HashSet;
use std::fs;

use super::names::{Repositories, key};
use super::{Access, Store, Swept, lock};
use crate::Image;
use crate::digest::{DiffId, Digest, ImageId};
use crate::error::{Error, Result, io_at};
use crate::reference::Reference;

/// A container, as far as images are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its ID, for the message.
    pub container: String,
    /// Whether it runs now.
    pub running: bool,
    /// The image it was made from.
    pub image: ImageId,
    /// The layers below it. They stay even when the image is forced away.
    pub layers: Vec<DiffId>,
}

/// How to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Also when several names or stopped containers refer to it.
    pub force: bool,
    /// Also the nameless images it was built upon (`noprune` is the inverse).
    pub parents: bool,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(String),
}

impl Store {
    /// Removes an image, or a name of it. `users` is asked under the lock,
    /// so a container that is being made has to hold a [`super::Lease`] on
    /// its image until `users` knows of it.
    pub fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        users: &dyn Fn() -> Vec<User>,
    ) -> Result<Vec<Removed>> {
        let removed = self.remove_unless(name, options, users, &|_| false);
        removed.map(|(lines, _)| lines)
    }

    /// The same for who wants only what nobody needs, and the bytes that this
    /// frees. It is asked under the lock: a moment ago the image may have had
    /// no name, because its pull was just about to give it one.
    pub(super) fn remove_unless(
        &self,
        name: &str,
        options: RemoveOptions,
        users: &dyn Fn() -> Vec<User>,
        spared: &dyn Fn(Standing) -> bool,
    ) -> Result<(Vec<Removed>, u64)> {
        // Under the lock: somebody else may be removing the same.
        let guard = lock(self.root(), Access::Change)?;
        let image = self.resolve(name)?;
        let mut job = Job {
            store: self,
            names: self.repositories()?,
            users: users(),
            leased: self.leased()?,
            removed: Vec::new(),
            swept: Swept::default(),
        };
        let names = job.names.of(&image.id);
        let standing = Standing {
            tagged: names.iter().any(|(_, name)| !name.contains('@')),
            used: job.users.iter().any(|user| user.image == image.id),
        };
        if spared(standing) {
            return Ok((Vec::new(), 0));
        }
        let by_name = !Store::is_id(&image.id, name);
        let gone = match by_name {
            true => job.untag_one(&image, name, options.force)?,
            false => job.untag_all(&image, options.force)?,
        };
        if gone {
            job.delete(&image, options, by_name)?;
        }
        let untagged = |it: &Removed| matches!(it, Removed::Untagged(_));
        if job.removed.iter().any(untagged) {
            self.write_repositories(&job.names)?;
        }
        job.sweep()?;
        // Deleting many files takes time, and needs no lock any more.
        drop(guard);
        job.swept.erase()?;
        Ok((job.removed, job.swept.bytes))
    }
}

/// What speaks for an image at the moment of its removal.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// Somebody has given it a name.
    pub(super) tagged: bool,
    /// A container is made from it, running or not.
    pub(super) used: bool,
}

/// One removal, under the lock from beginning to end: between looking at who
/// uses an image and removing it, nobody may begin to.
struct Job<'a> {
    store: &'a Store,
    /// Changed here in memory, written once at the end: a crash on the way
    /// leaves an image without a name, never a name without an image.
    names: Repositories,
    /// The containers at this moment.
    users: Vec<User>,
    /// What pulls, builds and containers in the making hold.
    leased: HashSet<Digest>,
    /// The answer's lines, in the order of the deeds.
    removed: Vec<Removed>,
    swept: Swept,
}

impl Job<'_> {
    /// Takes one name away; true when that was the last.
    fn untag_one(
        &mut self,
        image: &Image,
        name: &str,
        force: bool,
    ) -> Result<bool> {
        let reference = name.parse::<Reference>()?.or_latest();
        let user = self.users.iter().find(|u| u.image == image.id);
        if let (Some(user), false) = (user, force)
            && self.single_name(&image.id)
        {
            return Err(Error::Conflict(format!(
                "unable to remove repository reference {name:?} (must force) \
                 - container {} is using its referenced image {}",
                short(&user.container),
                image.id.short()
            )));
        }
        self.untag(&key(&reference));
        // A manifest digest without any tag in its repository names nothing
        // that a person asked to keep.
        let repository = reference.familiar_name();
        let rest: Vec<(String, String)> = self.all_names(&image.id);
        let mut here = rest.iter().filter(|(r, _)| *r == repository);
        if here.clone().all(|(_, name)| name.contains('@')) {
            let names: Vec<String> =
                here.by_ref().map(|n| n.1.clone()).collect();
            names.iter().for_each(|name| self.untag(name));
        }
        Ok(self.names.of(&image.id).is_empty())
    }

    /// Takes all names away, if nothing speaks against removing the image.
    fn untag_all(&mut self, image: &Image, force: bool) -> Result<bool> {
        let many = !self.single_name(&image.id);
        self.check(&image.id, force, many)?;
        for (_, name) in self.all_names(&image.id) {
            self.untag(&name);
        }
        Ok(true)
    }

    /// Removes an image without names, then perhaps those below it. With
    /// `quiet`, an image that is in use just stays.
    fn delete(
        &mut self,
        image: &Image,
        options: RemoveOptions,
        quiet: bool,
    ) -> Result<()> {
        match self.check(&image.id, options.force, false) {
            Err(_) if quiet => return Ok(()),
            other => other?,
        }
        let path = self.store.record_path(&image.id);
        fs::remove_file(&path).map_err(io_at("remove", &path))?;
        self.removed.push(Removed::Deleted(image.id.to_string()));
        let Some(parent) = &image.record.parent else { return Ok(()) };
        if !options.parents || !self.names.of(parent).is_empty() {
            return Ok(());
        }
        let soft = RemoveOptions { force: false, ..options };
        match self.store.image(parent) {
            Ok(parent) => self.delete(&parent, soft, true),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Says whether anything speaks against removing an image.
    fn check(&self, id: &ImageId, force: bool, names: bool) -> Result<()> {
        let refuse = |hard: bool, why: String| {
            let how = if hard { "cannot be forced" } else { "must be forced" };
            Err(Error::Conflict(format!(
                "unable to delete {} ({how}) - {why}",
                id.short()
            )))
        };
        if !self.store.children(id)?.is_empty() {
            return refuse(true, "image has dependent child images".into());
        }
        if self.leased.contains(&id.0) {
            let why = "image is being pulled, built upon or started just now";
            return refuse(true, why.into());
        }
        let users = || self.users.iter().filter(|u| u.image == *id);
        if let Some(user) = users().find(|u| u.running) {
            let id = short(&user.container);
            return refuse(
                true,
                format!("image is being used by running container {id}"),
            );
        }
        if force {
            return Ok(());
        }
        if names {
            let why = "image is referenced in multiple repositories";
            return refuse(false, why.into());
        }
        if let Some(user) = users().next() {
            let id = short(&user.container);
            return refuse(
                false,
                format!("image is being used by stopped container {id}"),
            );
        }
        Ok(())
    }

    /// One name, or one tag and one digest of the same repository.
    fn single_name(&self, id: &ImageId) -> bool {
        let names = self.names.of(id);
        match names[..] {
            [] | [_] => true,
            [(a, x), (b, y)] => a == b && x.contains('@') != y.contains('@'),
            _ => false,
        }
    }

    /// Copies, because the list changes while it is walked.
    fn all_names(&self, id: &ImageId) -> Vec<(String, String)> {
        let names = self.names.of(id).into_iter();
        names.map(|(r, n)| (r.to_owned(), n.to_owned())).collect()
    }

    /// Docker prints a line for each name, digests included.
    fn untag(&mut self, name: &str) {
        self.names.remove(name);
        self.removed.push(Removed::Untagged(name.to_owned()));
    }

    /// What only this image had.
    fn sweep(&mut self) -> Result<()> {
        self.swept = self.store.sweep_locked(&self.users, None)?;
        let layers = self.swept.layers.iter();
        let lines = layers.map(|id| Removed::Deleted(id.to_string()));
        self.removed.extend(lines);
        Ok(())
    }
}

/// Twelve digits, or less if a test made up the ID.
fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}
