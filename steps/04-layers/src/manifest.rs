//! Manifests: the small JSON documents that registries keep.
//!
//! ```text
//! tag ──▶ index (one image per platform)        optional
//!           └─▶ manifest                         "application/vnd.…manifest…"
//!                 ├─ config   ──▶ the image's config JSON
//!                 └─ layers[] ──▶ the compressed layer tars
//! ```
//!
//! Every arrow is a [`Descriptor`]: media type, digest, size. Docker wrote
//! the format first ("schema 2"), the OCI image specification renamed its
//! media types; the fields are the same, so one set of types reads both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// The media types, which decide how a document or blob is read.
pub mod media {
    /// An OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index: one manifest per platform.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An OCI layer, not compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str =
        "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str =
        "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's index, the "manifest list".
    pub const DOCKER_INDEX: &str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image config.
    pub const DOCKER_CONFIG: &str =
        "application/vnd.docker.container.image.v1+json";
    /// Docker's layer, gzip (in practice zstd and plain occur as well).
    pub const DOCKER_LAYER_GZIP: &str =
        "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer, not compressed.
    pub const DOCKER_LAYER: &str =
        "application/vnd.docker.image.rootfs.diff.tar";
    /// A layer that may only be fetched from its maker (Windows).
    pub const DOCKER_FOREIGN: &str =
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// Schema 1, which Docker has stopped to support.
    pub const DOCKER_SCHEMA1: &str =
        "application/vnd.docker.distribution.manifest.v1";

    /// What a pull asks for, best first.
    pub const ACCEPT: [&str; 4] =
        [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];

    /// Says whether a layer of this type lies elsewhere than in the registry.
    pub fn is_foreign(media_type: &str) -> bool {
        media_type.contains(".foreign.")
            || media_type.contains(".nondistributable.")
    }

    /// Says whether a blob of this type is a file-system layer. Artifacts
    /// (signatures, attestations, Helm charts) travel in manifests too.
    pub fn is_layer(media_type: &str) -> bool {
        media_type.starts_with("application/vnd.oci.image.layer.")
            || media_type.starts_with("application/vnd.docker.image.rootfs.")
    }
}

/// A pointer to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// One of [`media`].
    pub media_type: String,
    /// The blob's name.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Other places to fetch it from; foreign layers only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// In an index: the machine that the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// A descriptor without extras.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: None,
            platform: None,
        }
    }
}

/// What names an image's config and its layers, lowest layer first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Optional in OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The config blob; its digest is the image ID.
    pub config: Descriptor,
    /// The layer blobs, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What names one manifest per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Optional in OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests; nested indexes are allowed, and followed.
    pub manifests: Vec<Descriptor>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Index {
    /// The manifest that suits a machine best, or `None`.
    pub fn choose(&self, wanted: &Platform) -> Option<&Descriptor> {
        let rated = self.manifests.iter().filter_map(|descriptor| {
            // An entry without platform is taken when nothing fits better:
            // single-platform indexes made by hand often lack it.
            let rating = match &descriptor.platform {
                Some(platform) => platform.suits(wanted)?,
                None => u8::MAX,
            };
            Some((rating, descriptor))
        });
        // min_by_key keeps the first of equals, as the specification wants.
        rated.min_by_key(|(rating, _)| *rating).map(|(_, found)| found)
    }

    /// The platforms on offer, for the error that names them.
    pub fn platforms(&self) -> Vec<String> {
        let platforms = self.manifests.iter().filter_map(|m| {
            let platform = m.platform.as_ref()?;
            (platform.os != "unknown").then(|| platform.to_string())
        });
        platforms.collect()
    }
}

/// Either document that a tag may stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// One image per platform.
    Index(Index),
}

impl Document {
    /// Reads a document. Its kind comes from the fields and not from the
    /// Content-Type: a document that is read as a manifest by one program
    /// and as an index by another is an attack (CVE-2021-41190), so one that
    /// has the fields of both is refused.
    pub fn parse(bytes: &[u8]) -> Result<Document, String> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| {
                format!(
                    "no JSON, so it is damaged or somebody else's answer: {e}"
                )
            })?;
        let has = |key: &str| value.get(key).is_some();
        let kind = value.get("mediaType").and_then(|v| v.as_str());
        if has("fsLayers") || has("history") {
            return Err("a schema 1 manifest, which is no longer supported \
                        anywhere; push the image again with a newer tool"
                .to_owned());
        }
        let (index, image) = (has("manifests"), has("layers"));
        let both = index && (image || has("config"));
        let contradicts = match kind {
            Some(media::OCI_INDEX | media::DOCKER_INDEX) => image,
            Some(media::OCI_MANIFEST | media::DOCKER_MANIFEST) => index,
            _ => false,
        };
        if both || contradicts {
            return Err("a document that is a manifest and an index at once \
                        (CVE-2021-41190)"
                .to_owned());
        }
        let parsed = if index {
            serde_json::from_value(value).map(Document::Index)
        } else {
            serde_json::from_value(value)
                .map(|manifest| Document::Manifest(Box::new(manifest)))
        };
        parsed
            .map_err(|e| format!("neither an image manifest nor an index: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[Option<&str>]) -> Index {
        let entry = |(n, platform): (usize, &Option<&str>)| {
            let digest = Digest::of(&[u8::try_from(n).unwrap()]);
            let mut it = Descriptor::new(media::OCI_MANIFEST, digest, 1);
            it.platform = platform.map(|p| p.parse().unwrap());
            it
        };
        Index {
            schema_version: 2,
            media_type: None,
            manifests: platforms.iter().enumerate().map(entry).collect(),
            annotations: None,
        }
    }

    #[test]
    fn the_best_platform_of_an_index_is_chosen() {
        let arm = "linux/arm/v7".parse().unwrap();
        let all = index(&[
            Some("linux/amd64"),
            Some("linux/arm/v6"),
            Some("linux/arm/v7"),
            None,
        ]);
        let digest = |n: u8| Digest::of(&[n]);
        assert_eq!(all.choose(&arm).unwrap().digest, digest(2));
        let amd64 = "linux/amd64".parse().unwrap();
        assert_eq!(all.choose(&amd64).unwrap().digest, digest(0));
        let none = index(&[Some("linux/s390x")]);
        assert!(none.choose(&amd64).is_none());
        assert_eq!(none.platforms(), ["linux/s390x"]);
    }

    #[test]
    fn a_document_of_two_kinds_is_refused() {
        let text = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        let error = Document::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("CVE-2021-41190"), "{error}");
        let error = Document::parse(b"[1]").unwrap_err();
        assert!(error.contains("neither"), "{error}");
    }
}
