//! Writing archives.
//!
//! Each blob is written once, however many of the images share it. Nothing
//! in the output depends on when or where it is written: the same images
//! give the same bytes, so that two archives can be compared by checksum.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::{FULL_NAME, INDEX, Item, LAYOUT, LAYOUT_TEXT, MANIFEST, REF_NAME};
use crate::Image;
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result, io_at};
use crate::manifest::{Descriptor, Document, Index, Manifest, media};
use crate::reference::Reference;
use crate::store::{Lease, Store};

/// Writes images, by name or ID, as one tar. The same images always give
/// the same bytes.
pub fn save(store: &Store, names: &[&str], out: &mut dyn Write) -> Result<()> {
    // Layers are copied in large pieces and headers in small ones.
    let out = BufWriter::with_capacity(1 << 20, out);
    let mut sink = TarSink { tar: Builder::new(out), dirs: HashSet::new() };
    write_images(store, names, &mut sink)?;
    let finished = sink.tar.into_inner().and_then(|mut out| out.flush());
    finished.map_err(io_at("write", Path::new("the archive")))
}

/// Writes images as an OCI image layout directory, which is made.
pub fn save_dir(store: &Store, names: &[&str], dir: &Path) -> Result<()> {
    write_images(store, names, &mut DirSink(dir.to_owned()))
}

/// Where files of an archive go.
trait Sink {
    fn put(&mut self, path: &str, size: u64, from: &mut dyn Read)
    -> Result<()>;
}

/// The index and `manifest.json` come last, because only then is known what
/// they must say; readers look at the end first or read all.
fn write_images(
    store: &Store,
    names: &[&str],
    sink: &mut dyn Sink,
) -> Result<()> {
    let lease = store.lease()?;
    let mut writer =
        Writer { store, lease: &lease, sink, done: HashSet::new() };
    let (mut index, mut items) = (Vec::new(), Vec::new());
    for (image, tags) in chosen(store, &lease, names)? {
        let (manifest, item) = writer.image(&image, &tags)?;
        index.extend(entries(&manifest, &tags));
        items.push(item);
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests: index,
        annotations: None,
    };
    writer.json(INDEX, &index)?;
    writer.json(MANIFEST, &items)?;
    writer.put(LAYOUT, LAYOUT_TEXT)
}

/// The images behind the names, each once, with the tags that were asked
/// for. A name without tag means all of the repository's, as in Docker.
fn chosen(
    store: &Store,
    lease: &Lease,
    names: &[&str],
) -> Result<Vec<(Image, Vec<String>)>> {
    let mut found: Vec<(Image, Vec<String>)> = Vec::new();
    for name in names {
        let image = store.resolve(name)?;
        lease.pin(&image.id.0)?;
        let reference = name.parse::<Reference>().ok();
        let reference = reference.map(Reference::or_latest);
        let tags = store.names(&image.id)?.tags;
        let asked = |tag: &String| {
            reference.as_ref().is_some_and(|r| r.familiar() == *tag)
        };
        let tags: Vec<String> = tags.into_iter().filter(asked).collect();
        match found.iter_mut().find(|(known, _)| known.id == image.id) {
            Some((_, known)) => known.extend(tags),
            None => found.push((image, tags)),
        }
    }
    Ok(found)
}

/// An index entry for every name, or one without.
fn entries(manifest: &Descriptor, tags: &[String]) -> Vec<Descriptor> {
    if tags.is_empty() {
        return vec![manifest.clone()];
    }
    let named = |tag: &String| {
        let reference = tag.parse::<Reference>().ok()?;
        let annotations = BTreeMap::from([
            (FULL_NAME.to_owned(), reference.to_string()),
            (REF_NAME.to_owned(), reference.tag()?.to_owned()),
        ]);
        let annotations = Some(annotations);
        Some(Descriptor { annotations, ..manifest.clone() })
    };
    tags.iter().filter_map(named).collect()
}

struct Writer<'a> {
    store: &'a Store,
    lease: &'a Lease,
    sink: &'a mut dyn Sink,
    /// Blobs already written: images share layers.
    done: HashSet<Digest>,
}

impl Writer<'_> {
    /// Layers, config and manifest of one image.
    fn image(
        &mut self,
        image: &Image,
        tags: &[String],
    ) -> Result<(Descriptor, Item)> {
        let mut layers = Vec::new();
        for diff_id in image.layers() {
            layers.push(self.layer(diff_id)?);
        }
        let config = self.store.blob_bytes(&image.id.0)?;
        self.small_blob(&image.id.0, &config)?;
        let bytes = match self.original(image, &layers) {
            Some(bytes) => bytes,
            None => new_manifest(image, &config, layers.clone()),
        };
        let digest = Digest::of(&bytes);
        self.small_blob(&digest, &bytes)?;
        let kind = match Document::parse(&bytes) {
            Ok(Document::Manifest(m)) => m.media_type,
            _ => None,
        };
        let kind = kind.unwrap_or_else(|| media::OCI_MANIFEST.to_owned());
        let mut manifest = Descriptor::new(&kind, digest, bytes.len() as u64);
        manifest.platform = Some(image.config.platform());
        let item = Item {
            config: path(&image.id.0),
            repo_tags: Some(tags.to_vec()),
            layers: layers.iter().map(|l| path(&l.digest)).collect(),
        };
        Ok((manifest, item))
    }

    /// The manifest the image came with, if it names the blobs that were
    /// written.
    fn original(
        &self,
        image: &Image,
        layers: &[Descriptor],
    ) -> Option<Vec<u8>> {
        let manifests = image.record.manifests.iter();
        let bytes = manifests.map(|m| self.store.blob_bytes(m));
        bytes.filter_map(Result::ok).find(|bytes| {
            let Ok(Document::Manifest(m)) = Document::parse(bytes) else {
                return false;
            };
            let named = m.layers.iter().map(|l| &l.digest);
            named.eq(layers.iter().map(|l| &l.digest))
        })
    }

    /// The blob that is kept, or else the tar, not compressed.
    fn layer(&mut self, diff_id: &DiffId) -> Result<Descriptor> {
        let record = self.store.layer_record(diff_id)?;
        let mut blobs = record.blobs.into_iter();
        if let Some(blob) = blobs.find(|b| self.store.has_blob(&b.digest)) {
            self.lease.pin(&blob.digest)?;
            if self.done.insert(blob.digest.clone()) {
                let mut file = self.store.blob(&blob.digest)?;
                let path = path(&blob.digest);
                self.sink.put(&path, blob.size, &mut file)?;
            }
            return Ok(blob);
        }
        let mut file = self.store.layer_tar_file(diff_id)?;
        let end = file.seek(io::SeekFrom::End(0));
        let size = end.and_then(|size| file.rewind().map(|()| size));
        let size =
            size.map_err(io_at("measure a file in", self.store.scratch()))?;
        let digest = diff_id.0.clone();
        if self.done.insert(digest.clone()) {
            self.sink.put(&path(&digest), size, &mut file)?;
        }
        Ok(Descriptor::new(media::OCI_LAYER, digest, size))
    }

    /// Configs and manifests, each once.
    fn small_blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        match self.done.insert(digest.clone()) {
            true => self.put(&path(digest), bytes),
            false => Ok(()),
        }
    }

    fn json(
        &mut self,
        path: &str,
        value: &impl serde::Serialize,
    ) -> Result<()> {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        self.put(path, &bytes)
    }

    fn put(&mut self, path: &str, mut bytes: &[u8]) -> Result<()> {
        self.sink.put(path, bytes.len() as u64, &mut bytes)
    }
}

/// Where both layouts look for a blob.
fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// For an image that never had one, or whose blobs are not those any more.
fn new_manifest(
    image: &Image,
    config: &[u8],
    layers: Vec<Descriptor>,
) -> Vec<u8> {
    let id = image.id.0.clone();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        config: Descriptor::new(media::OCI_CONFIG, id, config.len() as u64),
        layers,
        annotations: None,
    };
    serde_json::to_vec(&manifest).unwrap_or_default()
}

/// An archive as one stream.
struct TarSink<W: Write> {
    tar: Builder<W>,
    /// Those already announced.
    dirs: HashSet<PathBuf>,
}

impl<W: Write> TarSink<W> {
    /// Some readers (GNU tar among them) want directories announced.
    fn parents(&mut self, path: &Path) -> io::Result<()> {
        let Some(dir) = path.parent() else { return Ok(()) };
        if dir.as_os_str().is_empty() || self.dirs.contains(dir) {
            return Ok(());
        }
        self.parents(dir)?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        self.dirs.insert(dir.to_owned());
        self.tar.append_data(&mut header, dir, io::empty())
    }
}

impl<W: Write> Sink for TarSink<W> {
    fn put(
        &mut self,
        path: &str,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<()> {
        let path = Path::new(path);
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(size);
        // Owner root and time 0, which is what an empty header says.
        self.parents(path)
            .and_then(|()| self.tar.append_data(&mut header, path, from))
            .map_err(io_at("write", path))
    }
}

/// An archive as a directory.
struct DirSink(PathBuf);

impl Sink for DirSink {
    fn put(
        &mut self,
        path: &str,
        _size: u64,
        from: &mut dyn Read,
    ) -> Result<()> {
        let path = self.0.join(path);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(io_at("make", dir))?;
        }
        let mut file = File::create(&path).map_err(io_at("make", &path))?;
        match io::copy(from, &mut file) {
            Ok(_) => Ok(()),
            Err(e) => Err::<(), Error>(io_at("write", &path)(e)),
        }
    }
}
