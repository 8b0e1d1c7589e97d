//! From what a person types to an image.

use super::Store;
use crate::Image;
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::reference::Reference;

impl Store {
    /// Finds an image by name, tag, digest, ID or the beginning of an ID.
    ///
    /// A name comes before an ID prefix, as in Docker: who tags an image
    /// `cafe` means it.
    pub fn resolve(&self, text: &str) -> Result<Image> {
        if let Some(id) = self.by_digest(text)? {
            return self.image(&id);
        }
        let reference = text.parse::<Reference>();
        if let Ok(reference) = &reference {
            let reference = reference.clone().or_latest();
            if let Some(id) = self.repositories()?.get(&reference) {
                return self.image(id);
            }
        }
        if let Some(id) = self.by_prefix(text)? {
            return self.image(&id);
        }
        match reference {
            Ok(r) => Err(Error::NoSuchImage(r.or_latest().familiar())),
            Err(e) if text.is_empty() => Err(e.into()),
            // Not a name, and too long or too short for an ID: the grammar's
            // sentence helps more than "no such image".
            Err(e) if !is_hex(text) => Err(e.into()),
            Err(_) => Err(Error::NoSuchImage(text.to_owned())),
        }
    }

    /// Says whether a text is the ID of an image or the beginning of one,
    /// rather than a name: `rmi` treats the two differently.
    pub(super) fn is_id(id: &ImageId, text: &str) -> bool {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        !hex.is_empty() && id.hex().starts_with(hex)
    }

    /// A whole digest, with or without `sha256:`, of a config or a manifest.
    fn by_digest(&self, text: &str) -> Result<Option<ImageId>> {
        let digest = match text.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => match Digest::from_hex(text) {
                Ok(digest) => digest,
                Err(_) => return Ok(None),
            },
        };
        let id = ImageId(digest);
        if self.record_path(&id).exists() {
            return Ok(Some(id));
        }
        for other in self.ids()? {
            let record = self.record(&other).unwrap_or_default();
            if record.manifests.contains(&id.0) {
                return Ok(Some(other));
            }
        }
        Err(Error::NoSuchImage(id.to_string()))
    }

    /// All IDs are looked at, which is quick: they are file names.
    fn by_prefix(&self, text: &str) -> Result<Option<ImageId>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if !is_hex(hex) {
            return Ok(None);
        }
        let mut found: Vec<ImageId> = self.ids()?;
        found.retain(|id| id.hex().starts_with(hex));
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(Error::Ambiguous {
                prefix: text.to_owned(),
                matches: found,
            }),
        }
    }
}

/// Upper case is no ID: Docker prints lower case only.
fn is_hex(text: &str) -> bool {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    !text.is_empty() && text.bytes().all(digit)
}
