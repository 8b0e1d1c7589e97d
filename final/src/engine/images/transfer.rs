//! Images as files: `save`, `load` and `import`.

use std::io::{Read, Write};

use jiff::Timestamp;
use layers::store::NewImage;
use layers::{History, ImageConfig, Platform, archive};

use super::named;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::{Kind, attributes};
use crate::engine::progress::Progress;
use crate::engine::remote;

/// What `docker import` asks for.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// `-` for the body of the request, or a URL.
    pub source: String,
    /// Name of the image, or empty.
    pub repo: String,
    /// Tag, or empty.
    pub tag: String,
    /// A note.
    pub message: String,
    /// Edits of the config, each a line of a Dockerfile.
    pub changes: Vec<String>,
    /// What the files are for; by default this machine.
    pub platform: Option<Platform>,
    /// `SOURCE_DATE_EPOCH`: the time that the image says it is of.
    pub epoch: Option<Timestamp>,
}

impl Import {
    /// The image, but for its layer.
    fn image(&self) -> Result<ImageConfig> {
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let mut image = ImageConfig::scratch(&platform);
        for change in &self.changes {
            layers::build::change(&mut image.config, change)
                .map_err(Error::Invalid)?;
        }
        let now = self.epoch.unwrap_or_else(Timestamp::now).to_string();
        let comment = match self.message.as_str() {
            "" => format!("Imported from {}", self.source),
            message => message.to_owned(),
        };
        image.created = Some(now.clone());
        image.history.push(History {
            created: Some(now),
            comment: Some(comment),
            ..History::default()
        });
        Ok(image)
    }
}

impl Engine {
    /// Writes images as a tar that `docker load` and every OCI tool reads.
    ///
    /// # Errors
    /// [`Error::NotFound`] before anything is written.
    pub fn save(&self, names: &[String], out: &mut dyn Write) -> Result<()> {
        if names.is_empty() {
            return Err(Error::Invalid("no images given to save".to_owned()));
        }
        let mut ids = Vec::new();
        for name in names {
            ids.push((self.image(name)?.id, name));
        }
        let list: Vec<&str> = names.iter().map(String::as_str).collect();
        archive::save(&self.store, &list, out)?;
        for (id, name) in ids {
            self.tell_image("save", &id, name);
        }
        Ok(())
    }

    /// An image's files as one tar: what `export` gives of a container,
    /// without making one.
    ///
    /// # Errors
    /// [`Error::NotFound`] before anything is written.
    pub fn export_image(&self, name: &str, out: &mut dyn Write) -> Result<()> {
        self.image(name)?;
        Ok(archive::files(&self.store, name, out)?)
    }

    /// Takes images in from such a tar, perhaps only those for a platform.
    ///
    /// # Errors
    /// What is wrong with the tar; images before the bad one stay.
    pub fn load(
        &self,
        tar: impl Read + Send,
        platform: Option<&Platform>,
        progress: &Progress,
    ) -> Result<()> {
        let all = match platform {
            Some(platform) => archive::load_for(&self.store, tar, platform)?,
            None => archive::load(&self.store, tar)?,
        };
        for loaded in all {
            let id = &loaded.image;
            for name in &loaded.names {
                progress.stream(&format!("Loaded image: {name}\n"));
                self.tell_image("load", id, &name.to_string());
            }
            if loaded.names.is_empty() {
                progress.stream(&format!("Loaded image ID: {id}\n"));
                self.tell_image("load", id, id.as_str());
            }
        }
        Ok(())
    }

    /// As [`Engine::import`], of a tar that somebody else serves.
    ///
    /// # Errors
    /// As there, and what that server says.
    pub fn import_url(
        &self,
        request: &Import,
        progress: &Progress,
    ) -> Result<()> {
        // As dockerd completes it.
        let url = match request.source.contains("://") {
            true => request.source.clone(),
            false => format!("http://{}", request.source),
        };
        progress.status(&format!("Downloading from {url}"));
        let tar = remote::get(&url, &progress.cancel())?;
        self.import(&Import { source: url, ..request.clone() }, tar, progress)
    }

    /// Makes an image of one layer from a tar of a root file system.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or a change that makes no sense.
    pub fn import(
        &self,
        request: &Import,
        tar: impl Read + Send,
        progress: &Progress,
    ) -> Result<()> {
        let target = match request.repo.as_str() {
            "" => None,
            repo => Some(named(repo, &request.tag)?),
        };
        let mut image = request.image()?;
        let lease = self.store.lease()?;
        // Foreign bytes: kept, because nothing here would write the same.
        let layer = self.store.add_layer(&lease, tar, true)?;
        image.rootfs.diff_ids.push(layer.diff_id);
        let bytes = image.to_bytes();
        let known = NewImage::default();
        let id = self.store.put_image(&lease, &bytes, known)?;
        if let Some(target) = &target {
            self.store.tag(target, &id)?;
        }
        let name = target.map_or(id.to_string(), |it| it.familiar());
        let said = attributes([("name", name.as_str())]);
        self.events.emit(Kind::Image, "import", id.as_str(), said);
        progress.status(id.as_str());
        Ok(())
    }
}
