//! Reading archives.
//!
//! An archive comes from anywhere, and its tables of contents are only
//! claims. What is believed is what has been hashed: a config is named by
//! the digest of its bytes whatever the archive calls it, and each layer
//! must unpack to the diff ID that the config gives. So a load can bring a
//! wrong image under a wrong name, but never a wrong image under an ID.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use super::spool::{Files, Opened};
use super::{Contents, FULL_NAME, INDEX, Item, LAYOUT, MANIFEST, REF_NAME};
use crate::apply::{self, Options, Unpacked};
use crate::config::ImageConfig;
use crate::digest::{DiffId, Digest, ImageId};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, Index, Manifest};
use crate::parallel::parallel;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{LayerRecord, Lease, NewImage, Store};

/// Layers unpacked at the same time.
const CONCURRENT: usize = 3;

/// An image that an archive held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub image: ImageId,
    /// The names it has now; may be empty.
    pub names: Vec<String>,
}

/// Loads all images of a tar, compressed or not, of either layout. If one
/// is bad, nothing of the archive stays.
pub fn load(store: &Store, tar: impl Read + Send) -> Result<Vec<Loaded>> {
    load_tar(store, tar, None)
}

/// As [`load`], but of the images only those for a platform, which need not
/// be this machine's.
pub fn load_for(
    store: &Store,
    tar: impl Read + Send,
    platform: &Platform,
) -> Result<Vec<Loaded>> {
    load_tar(store, tar, Some(platform))
}

fn load_tar(
    store: &Store,
    tar: impl Read + Send,
    wanted: Option<&Platform>,
) -> Result<Vec<Loaded>> {
    let added = Mutex::default();
    in_lease(store, &added, |lease| {
        let files = Files::spool(store, lease, tar, &added)?;
        Load { store, lease, files, wanted, added: &added }.run()
    })
}

/// Loads all images of an OCI image layout directory.
pub fn load_dir(store: &Store, dir: &Path) -> Result<Vec<Loaded>> {
    let added = Mutex::default();
    in_lease(store, &added, |lease| {
        let files = Files::Dir(dir.to_owned());
        let wanted = None;
        Load { store, lease, files, wanted, added: &added }.run()
    })
}

/// Afterwards, of what was added only what an image names stays: neither
/// the archive's own documents nor the parts of a bad image.
fn in_lease(
    store: &Store,
    added: &Mutex<HashSet<Digest>>,
    work: impl FnOnce(&Lease) -> Result<Vec<Loaded>>,
) -> Result<Vec<Loaded>> {
    let lease = store.lease()?;
    let result = work(&lease);
    drop(lease);
    if let Ok(added) = added.lock() {
        store.discard(&added)?;
    }
    result
}

struct Load<'a> {
    store: &'a Store,
    lease: &'a Lease,
    files: Files<'a>,
    /// Only images for this platform.
    wanted: Option<&'a Platform>,
    /// What was not in the store before.
    added: &'a Mutex<HashSet<Digest>>,
}

/// An image as an archive describes it.
struct Found {
    /// Path of the config in the archive.
    config: String,
    /// Paths of the layers, lowest first.
    layers: Vec<String>,
    /// The bytes of its OCI manifest, if there is one.
    manifest: Option<Vec<u8>>,
    names: Vec<String>,
}

impl Found {
    /// An image of an index. Where the archive also has Docker's
    /// `manifest.json`, the names that this gives to the same config count.
    fn of(
        manifest: &Manifest,
        bytes: Vec<u8>,
        mut names: Vec<String>,
        items: &[Item],
    ) -> Found {
        let config = path(&manifest.config.digest);
        let same = items.iter().filter(|item| item.config == config);
        names.extend(same.flat_map(|item| item.repo_tags.clone()).flatten());
        names.sort();
        names.dedup();
        let layers = manifest.layers.iter().map(|l| path(&l.digest)).collect();
        Found { config, layers, manifest: Some(bytes), names }
    }
}

impl Load<'_> {
    /// The index comes first: it has the manifests, so that a later push
    /// gives the same digest as before.
    fn run(&self) -> Result<Vec<Loaded>> {
        let contents = self.contents()?;
        let mut found = Vec::new();
        if let Some(index) = &contents.index {
            self.index(index, &contents.items, &[], &mut found)?;
        }
        if found.is_empty() {
            let items = contents.items.into_iter();
            found.extend(items.map(|item| Found {
                config: item.config,
                layers: item.layers,
                manifest: None,
                names: item.repo_tags.unwrap_or_default(),
            }));
        }
        if found.is_empty() {
            return Err(Error::Document {
                what: "the archive".into(),
                problem: "it holds no image: neither manifest.json nor \
                          index.json is in it. The tar of a file system \
                          becomes an image by import"
                    .into(),
            });
        }
        let mut loaded: Vec<Loaded> = Vec::new();
        for image in found {
            let Some(new) = self.image(image)? else { continue };
            match loaded.iter_mut().find(|l| l.image == new.image) {
                Some(known) => {
                    known.names.extend(new.names);
                    known.names.sort();
                    known.names.dedup();
                }
                None => loaded.push(new),
            }
        }
        match self.wanted {
            Some(wanted) if loaded.is_empty() => Err(Error::Document {
                what: "the archive".into(),
                problem: format!("it holds no image for {wanted}"),
            }),
            _ => Ok(loaded),
        }
    }

    /// Both tables of contents, if they are there.
    fn contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        let bad = |what: &str| {
            let what = format!("{what} in the archive");
            move |e: serde_json::Error| Error::Document {
                what,
                problem: e.to_string(),
            }
        };
        if let Some(bytes) = self.files.document(MANIFEST)? {
            contents.items =
                serde_json::from_slice(&bytes).map_err(bad(MANIFEST))?;
        }
        if self.files.open(LAYOUT)?.is_some()
            && let Some(bytes) = self.files.document(INDEX)?
        {
            let index = serde_json::from_slice(&bytes).map_err(bad(INDEX))?;
            contents.index = Some(index);
        }
        Ok(contents)
    }

    /// The images of an index. One that is made of platforms gives the one
    /// for this machine, or for the platform that is wanted; the names of
    /// what is around it count for it.
    fn index(
        &self,
        index: &Index,
        items: &[Item],
        names: &[String],
        found: &mut Vec<Found>,
    ) -> Result<()> {
        for entry in &index.manifests {
            let mut own = names_of(entry);
            own.extend(names.iter().cloned());
            let path = path(&entry.digest);
            let Some(bytes) = self.files.document(&path)? else {
                // `skopeo copy` of one platform leaves the others out.
                continue;
            };
            super::check(&path, &bytes, entry)?;
            let fail = |problem| Error::Document { what: path, problem };
            match Document::parse(&bytes).map_err(fail)? {
                Document::Index(inner) => {
                    let host = Platform::host();
                    let platform = self.wanted.unwrap_or(&host);
                    if let Some(chosen) = inner.choose(platform) {
                        let manifests = vec![chosen.clone()];
                        let one = Index { manifests, ..inner };
                        self.index(&one, items, &own, found)?;
                    }
                }
                Document::Manifest(manifest) => {
                    found.push(Found::of(&manifest, bytes, own, items));
                }
            }
        }
        Ok(())
    }

    /// Layers, then the image, then its names: as with a pull, nothing is
    /// named before it is whole. `None` if it is for another platform.
    fn image(&self, found: Found) -> Result<Option<Loaded>> {
        let bytes = self.files.document(&found.config)?;
        let bytes = bytes.ok_or_else(|| missing(&found.config))?;
        let fail = |problem: String| Error::Document {
            what: format!("{} in the archive", found.config),
            problem,
        };
        let config: ImageConfig = serde_json::from_slice(&bytes)
            .map_err(|e| fail(format!("not an image config: {e}")))?;
        let other = |it: &&Platform| config.platform().suits(it).is_none();
        if self.wanted.filter(other).is_some() {
            return Ok(None);
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != found.layers.len() {
            return Err(fail(format!(
                "it names {} layers, the archive has {}",
                diff_ids.len(),
                found.layers.len()
            )));
        }
        self.layers(&found.layers, diff_ids)?;
        let manifest = match &found.manifest {
            Some(bytes) => Some(self.store.put_blob(self.lease, bytes)?),
            None => None,
        };
        let known = NewImage { parent: None, manifest };
        let image = self.store.put_image(self.lease, &bytes, known)?;
        let mut names = Vec::new();
        for name in found.names {
            let reference = name.parse::<Reference>()?.or_latest();
            self.store.tag(&reference, &image)?;
            if !names.contains(&reference.familiar()) {
                names.push(reference.familiar());
            }
        }
        Ok(Some(Loaded { image, names }))
    }

    /// Unpacks the layers, several at a time.
    fn layers(&self, paths: &[String], diff_ids: &[DiffId]) -> Result<()> {
        let all: Vec<_> = paths.iter().zip(diff_ids).collect();
        parallel(CONCURRENT, &all, |(path, diff_id)| self.layer(path, diff_id))
    }

    /// Unpacks one layer, unless the store has it. A spooled one is a blob
    /// of the store already; one from a directory becomes one on the way.
    fn layer(&self, path: &str, diff_id: &DiffId) -> Result<()> {
        self.lease.pin(&diff_id.0)?;
        if self.store.has_layer(diff_id) {
            return Ok(());
        }
        let opened = self.files.open(path)?.ok_or_else(|| missing(path))?;
        let Opened { file, size, blob } = opened;
        let writer = self.store.layer_writer()?;
        // A file of a directory becomes a blob on the way.
        let mut copy = match &blob {
            Some(_) => None,
            None => Some(self.store.blob_writer(&diff_id.0)?),
        };
        let options = Options::for_this_user();
        let unpacked =
            apply::unpack(file, &writer.files(), copy.as_mut(), &options)?;
        // Only the config is trusted, and it only as far as its own digest,
        // the image ID, goes.
        if unpacked.diff_id != *diff_id {
            return Err(Error::Mismatch {
                what: format!("layer {path} of the archive"),
                expected: diff_id.0.clone(),
                got: unpacked.diff_id.0,
            });
        }
        self.adding(&diff_id.0);
        let digest = match (blob, copy) {
            (Some(digest), _) => digest,
            (None, Some(copy)) => {
                self.adding(&copy.digest());
                copy.commit(self.store, self.lease, path, None)?.0
            }
            (None, None) => return Err(missing(path)),
        };
        let kind = unpacked.compression.media_type();
        let blobs = vec![Descriptor::new(kind, digest, size)];
        let Unpacked { diff_id, size, implied, .. } = unpacked;
        let record = LayerRecord { size, blobs, implied };
        writer.commit(self.store, self.lease, diff_id, record)?;
        Ok(())
    }

    /// For taking it out again, should the load fail.
    fn adding(&self, digest: &Digest) {
        if let Ok(mut added) = self.added.lock()
            && !self.store.has_blob(digest)
        {
            added.insert(digest.clone());
        }
    }
}

/// The names in an entry's annotations. Other tools write only a tag, which
/// is no name by itself.
fn names_of(entry: &Descriptor) -> Vec<String> {
    let Some(annotations) = &entry.annotations else { return Vec::new() };
    let full = annotations.get(FULL_NAME);
    let short = annotations.get(REF_NAME);
    let short = short.filter(|name| name.contains(['/', ':']));
    let name = full.or(short);
    let good = name.filter(|name| name.parse::<Reference>().is_ok());
    good.cloned().into_iter().collect()
}

/// Where a layout keeps a blob.
fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn missing(path: &str) -> Error {
    Error::Document {
        what: "the archive".to_owned(),
        problem: format!(
            "{path} is not in it, though it names it: the file is cut off or \
             was made with only some of the layers"
        ),
    }
}
