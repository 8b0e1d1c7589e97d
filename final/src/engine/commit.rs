//! `docker commit`: what a container has written becomes one more layer;
//! and `diff` and `export`, which only look at it.

use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use layers::config::ContainerConfig;
use layers::diff::ChangeKind;
use layers::store::NewImage;
use layers::{History, ImageConfig, ImageId, Layer, Lease, Platform};
use serde::Serialize;
use serde_json::json;

use super::Engine;
use super::containers::Container;
use super::containers::record::Record;
use super::containers::state::Status;
use super::error::{Error, Result};
use super::images::named;

/// What `POST /commit` asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name of the image, or empty.
    pub repo: String,
    /// Tag, or empty.
    pub tag: String,
    /// Who.
    pub author: String,
    /// Why.
    pub comment: String,
    /// Edits of the config, each a line of a Dockerfile.
    pub changes: Vec<String>,
    /// Hold the container still meanwhile.
    pub pause: bool,
    /// A config that replaces the container's own.
    pub config: Option<ContainerConfig>,
    /// `SOURCE_DATE_EPOCH`: no time in the image is later, and its own is
    /// this one.
    pub epoch: Option<Timestamp>,
}

/// One line of `docker diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// 0 is changed, 1 added, 2 deleted.
    pub kind: u8,
}

impl Engine {
    /// What a container has changed against its image.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a container.
    pub fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let container = self.containers.find(name)?;
        let changes = match self.snapshots.list_changes(&container.id) {
            // Created and never started: there is nothing to look at yet.
            Err(overlay_cow::Error::NoSuchLayer { .. }) => Vec::new(),
            other => other.map_err(Error::internal)?,
        };
        let kind = |kind| match kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        };
        Ok(changes
            .into_iter()
            .map(|it| Change { path: it.path, kind: kind(it.kind) })
            .collect())
    }

    /// A container's whole root file system as one tar.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a container.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<()> {
        let container = self.containers.find(name)?;
        let root = self.snapshots.merged(&container.id);
        let root = root.map_err(Error::internal)?;
        // The merged view has neither whiteouts nor marks in it, so what
        // packs an upper directory packs the whole.
        let mut pack = || {
            let written = layers::diff::write_upper(&root, None, out);
            written.map(drop).map_err(Error::internal)
        };
        if container.status().has_process() {
            // Not held up, not even for a long export.
            pack()?;
        } else {
            let _verb = container.begin();
            self.mount_for(&container, pack)?;
        }
        self.tell(&container, "export", super::events::Attributes::new());
        Ok(())
    }

    /// Mounts a container that does not run, for as long as `work` takes.
    fn mount_for(
        &self,
        container: &Container,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let layers = container.with(|record| record.own.layers.clone());
        self.snapshots
            .mount(&container.id, &layers)
            .map_err(Error::internal)?;
        let worked = work();
        self.snapshots.release(&container.id).map_err(Error::internal)?;
        worked
    }

    /// Makes an image of a container.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a container, [`Error::Invalid`] for
    /// a name or a change that makes no sense.
    pub fn commit(&self, name: &str, request: &Request) -> Result<ImageId> {
        let container = self.containers.find(name)?;
        let target = match request.repo.as_str() {
            "" => None,
            repo => Some(named(repo, &request.tag)?),
        };
        let record = container.record();
        let config = edited(&record, request)?;
        let lease = self.store.lease()?;
        let layer = self.held_still(&container, request.pause, || {
            self.layer_of(&container.id, request.epoch, &lease)
        })?;
        let image = self.committed(&record, request, config, &layer)?;
        let parent = record.image.parse().ok();
        let known = NewImage { parent, ..NewImage::default() };
        let id = self.store.put_image(&lease, &image.to_bytes(), known)?;
        if let Some(target) = &target {
            self.store.tag(target, &id)?;
        }
        let comment = target.map_or(String::new(), |it| it.familiar());
        let mut attributes = super::events::Attributes::new();
        attributes.insert("comment".to_owned(), request.comment.clone());
        attributes.insert("imageID".to_owned(), id.to_string());
        attributes.insert("imageRef".to_owned(), comment);
        self.tell(&container, "commit", attributes);
        Ok(id)
    }

    /// Works on a container's files while nothing changes them.
    fn held_still<T>(
        &self,
        container: &Container,
        pause: bool,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mut paused = pause && container.status() == Status::Running;
        if paused {
            unless_ended(container, self.pause(&container.id))?;
            paused = container.status() == Status::Paused;
        }
        if !container.status().has_process() {
            let _verb = container.begin();
            // One that never ran has no writable layer yet.
            self.mount_for(container, || Ok(()))?;
            return work();
        }
        let worked = work();
        if paused {
            unless_ended(container, self.unpause(&container.id))?;
        }
        worked
    }

    /// The container's changes as a layer in the store. The tar is written
    /// and read at the same time and never lies on the disk.
    fn layer_of(
        &self,
        id: &str,
        epoch: Option<Timestamp>,
        lease: &Lease,
    ) -> Result<Layer> {
        let clamp = epoch.and_then(|it| u64::try_from(it.as_second()).ok());
        let (reader, writer) = std::io::pipe().map_err(Error::internal)?;
        std::thread::scope(|scope| {
            let packing = scope.spawn(move || {
                let mut writer = BufWriter::with_capacity(1 << 16, writer);
                let packed = self.snapshots.pack(id, clamp, &mut writer);
                packed.map_err(|error| error.to_string()).and_then(|()| {
                    writer.flush().map_err(|error| error.to_string())
                })
            });
            let reader = BufReader::with_capacity(1 << 16, reader);
            let added = self.store.add_layer(lease, reader, false);
            let packed = packing
                .join()
                .unwrap_or_else(|_| Err("the packing died".to_owned()));
            match (packed, added) {
                (Ok(()), added) => Ok(added?),
                (Err(why), Ok(_)) => Err(Error::Internal(why)),
                // Each end of a pipe fails when the other one does, so one
                // of the two is only a consequence.
                (Err(one), Err(other)) => {
                    Err(Error::Internal(format!("{one}; {other}")))
                }
            }
        })
    }

    fn committed(
        &self,
        record: &Record,
        request: &Request,
        config: ContainerConfig,
        layer: &Layer,
    ) -> Result<ImageConfig> {
        let base = record.image.parse::<ImageId>().ok();
        let mut image = match base.map(|id| self.store.image(&id)) {
            Some(Ok(image)) => image.config,
            // The image was forced away; its layers are still here.
            _ => {
                let mut image = ImageConfig::scratch(&Platform::host());
                image.rootfs.diff_ids.clone_from(&record.own.layers);
                image
            }
        };
        let now = request.epoch.unwrap_or_else(Timestamp::now).to_string();
        let text = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
        image.rootfs.diff_ids.push(layer.diff_id.clone());
        image.config = config;
        // Of which container it is, for clients of before API 1.45. Whoever
        // wants the same image again will have another container.
        if request.epoch.is_none() {
            let config = json!(record.config);
            image.extra.insert("container".to_owned(), json!(record.id));
            image.extra.insert("container_config".to_owned(), config);
        }
        image.created = Some(now.clone());
        image.author = text(&request.author).or(image.author);
        image.history.push(History {
            created: Some(now),
            created_by: Some(record.config.argv().join(" ")),
            author: text(&request.author),
            comment: text(&request.comment),
            ..History::default()
        });
        Ok(image)
    }
}

/// A process that has ended just now can be neither paused nor unpaused, and
/// need not be: it changes nothing any more.
fn unless_ended(container: &Container, result: Result<()>) -> Result<()> {
    match result {
        Err(_) if !container.status().has_process() => Ok(()),
        other => other,
    }
}

/// The container's config, as an image has it, with the changes made.
fn edited(record: &Record, request: &Request) -> Result<ContainerConfig> {
    let own = || record.config.to_image();
    let mut config = request.config.clone().unwrap_or_else(own);
    for change in &request.changes {
        layers::build::change(&mut config, change).map_err(Error::Invalid)?;
    }
    Ok(config)
}
