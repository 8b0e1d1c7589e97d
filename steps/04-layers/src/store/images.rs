//! Images: a config blob, and a record of what the config does not say.

use std::fs;
use std::path::PathBuf;

use cli_api::state::{read_json, write_json};
use serde::{Deserialize, Serialize};

use super::settle::Thing;
use super::{Access, Lease, Store, lock};
use crate::Image;
use crate::config::ImageConfig;
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result, absent, io_at};

/// What the store knows of an image beyond its config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The image that this one was built upon, here: what the build cache
    /// and `history` follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ImageId>,
    /// The manifests that name this image, as pulled or loaded. They list
    /// the compressed layers, so a push can send the very same bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Digest>,
    /// When it last got a name; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_tagged: Option<String>,
    /// Bytes in the files of all its layers.
    #[serde(default)]
    pub size: u64,
}

/// What is known of an image when it comes in.
#[derive(Debug, Clone, Default)]
pub struct NewImage {
    /// See [`Record::parent`].
    pub parent: Option<ImageId>,
    /// See [`Record::manifests`]; must be a blob in the store.
    pub manifest: Option<Digest>,
}

impl Store {
    /// Keeps an image whose layers are in the store. Its ID is the digest of
    /// `config`; an image that is there already only gains what is new in
    /// `known`.
    pub fn put_image(
        &self,
        lease: &Lease,
        config: &[u8],
        known: NewImage,
    ) -> Result<ImageId> {
        let id = ImageId(self.put_blob(lease, config)?);
        let parsed = parse_config(config, &id)?;
        let mut size = 0;
        for diff_id in &parsed.rootfs.diff_ids {
            size += self.layer_record(diff_id)?.size;
        }
        let _lock = lock(self.root(), Access::Change)?;
        self.complete_parents(&parsed.rootfs.diff_ids)?;
        self.settle_soon();
        let mut record = match self.record(&id) {
            Ok(record) => record,
            Err(Error::NoSuchImage(_)) => Record::default(),
            Err(e) => return Err(e),
        };
        record.size = size;
        record.parent = known.parent.or(record.parent);
        let new = known.manifest.filter(|m| !record.manifests.contains(m));
        record.manifests.extend(new);
        self.write_record(&id, &record)?;
        Ok(id)
    }

    /// Remembers that a manifest, a blob in the store, names an image.
    pub(crate) fn know_manifest(
        &self,
        id: &ImageId,
        manifest: Digest,
    ) -> Result<()> {
        let _lock = lock(self.root(), Access::Change)?;
        let mut record = self.record(id)?;
        if !record.manifests.contains(&manifest) {
            record.manifests.push(manifest);
        }
        self.write_record(id, &record)
    }

    /// An image by its full ID.
    pub fn image(&self, id: &ImageId) -> Result<Image> {
        let record = self.record(id)?;
        let config = parse_config(&self.blob_bytes(&id.0)?, id)?;
        Ok(Image { id: id.clone(), config, record })
    }

    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for id in self.ids()? {
            match self.image(&id) {
                Ok(image) => images.push(image),
                // Removed while we looked.
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        images.sort_by(|a, b| {
            b.config.created.cmp(&a.config.created).then(a.id.cmp(&b.id))
        });
        Ok(images)
    }

    /// The images that were built upon `id`, here.
    pub fn children(&self, id: &ImageId) -> Result<Vec<ImageId>> {
        let mut children = Vec::new();
        for child in self.ids()? {
            let record = self.record(&child).unwrap_or_default();
            if record.parent.as_ref() == Some(id) {
                children.push(child);
            }
        }
        Ok(children)
    }

    /// The full IDs of all images, in order.
    pub fn ids(&self) -> Result<Vec<ImageId>> {
        let dir = self.images().join("records");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io_at("list", &dir))? {
            let name = entry.map_err(io_at("list", &dir))?.file_name();
            let name = name.to_string_lossy();
            let hex = name.strip_suffix(".json").unwrap_or(&name);
            ids.extend(Digest::from_hex(hex).map(ImageId));
        }
        ids.sort();
        Ok(ids)
    }

    pub(super) fn record(&self, id: &ImageId) -> Result<Record> {
        read_json(&self.record_path(id)).map_err(|e| match absent(&e) {
            true => Error::NoSuchImage(id.to_string()),
            false => e.into(),
        })
    }

    pub(super) fn write_record(
        &self,
        id: &ImageId,
        record: &Record,
    ) -> Result<()> {
        self.unsettled(Thing::Record(id))?;
        Ok(write_json(&self.record_path(id), record)?)
    }

    /// One small file an image: pulling one never touches what is known of
    /// another.
    pub(super) fn record_path(&self, id: &ImageId) -> PathBuf {
        self.images().join("records").join(format!("{}.json", id.hex()))
    }
}

/// The time now, as records keep it.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// The bytes had the right digest when they came; damage since then shows
/// here.
fn parse_config(bytes: &[u8], id: &ImageId) -> Result<ImageConfig> {
    serde_json::from_slice(bytes).map_err(|e| Error::Document {
        what: format!("config of image {id}"),
        problem: format!("not an image config: {e}"),
    })
}
