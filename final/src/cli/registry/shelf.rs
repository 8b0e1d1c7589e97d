//! The images, as one archive and a list of what is where in it.
//!
//! `save` writes an OCI image layout into a tar. A tar stores files as they
//! are, so a blob is a range of the archive and needs no unpacking.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use anyhow::{Context, bail};
use layers::Reference;
use layers::manifest::{Descriptor, Index};

/// The annotation with the whole name of an image, as containerd writes it.
const FULL_NAME: &str = "io.containerd.image.name";

/// What can be had.
#[derive(Debug)]
pub(super) struct Shelf {
    archive: File,
    /// By digest.
    blobs: BTreeMap<String, Range>,
    /// Manifests by repository and then by tag.
    tags: BTreeMap<String, BTreeMap<String, Descriptor>>,
}

/// A part of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    start: u64,
    pub(super) size: u64,
}

impl Shelf {
    /// Reads an archive that `save` has written.
    pub(super) fn of(mut archive: File) -> anyhow::Result<Shelf> {
        archive.seek(SeekFrom::Start(0))?;
        let mut blobs = BTreeMap::new();
        let mut index = None;
        let mut tar = tar::Archive::new(BufReader::new(&archive));
        for entry in tar.entries_with_seek()? {
            let mut entry = entry.context("read the engine's archive")?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let (start, size) = (entry.raw_file_position(), entry.size());
            if let Some(hex) = path.strip_prefix("blobs/sha256/") {
                let digest = format!("sha256:{hex}");
                blobs.insert(digest, Range { start, size });
            } else if path == "index.json" {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                index = Some(text);
            }
        }
        drop(tar);
        let Some(index) = index else {
            bail!(
                "the engine saves images in an old form, without index.json; \
                 dockerd does since version 25"
            );
        };
        let index: Index = serde_json::from_str(&index)?;
        Ok(Shelf { archive, blobs, tags: tags(index) })
    }

    /// All names, as one would pull them.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.tags.iter().flat_map(|(repository, tags)| {
            tags.keys().map(move |tag| format!("{repository}:{tag}"))
        })
    }

    /// All repositories.
    pub(super) fn repositories(&self) -> Vec<&str> {
        self.tags.keys().map(String::as_str).collect()
    }

    /// The tags of a repository.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<&str>> {
        let tags = self.tags.get(official(repository))?;
        Some(tags.keys().map(String::as_str).collect())
    }

    /// A manifest by tag or digest, with its type.
    pub(super) fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Option<&Descriptor> {
        let tags = self.tags.get(official(repository))?;
        let has = |it: &&Descriptor| it.digest.to_string() == reference;
        tags.get(reference).or_else(|| tags.values().find(has))
    }

    /// A blob by digest.
    pub(super) fn blob(&self, digest: &str) -> Option<Range> {
        self.blobs.get(digest).copied()
    }

    /// The next piece of a range, and what is left of it.
    pub(super) fn read(&self, range: Range) -> io::Result<(Vec<u8>, Range)> {
        const PIECE: u64 = 256 << 10;
        let mut piece = vec![0; range.size.min(PIECE) as usize];
        self.archive.read_exact_at(&mut piece, range.start)?;
        let read = piece.len() as u64;
        let left = Range { start: range.start + read, size: range.size - read };
        Ok((piece, left))
    }
}

/// A mirror of docker.io is asked for `library/nginx`; a person types
/// `HOST/nginx`.
fn official(repository: &str) -> &str {
    repository.strip_prefix("library/").unwrap_or(repository)
}

/// Of two images that only differ in their registry the first counts:
/// clients name the path alone.
fn tags(index: Index) -> BTreeMap<String, BTreeMap<String, Descriptor>> {
    let mut tags: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for manifest in index.manifests {
        let name = manifest.annotations.as_ref();
        let name = name.and_then(|it| it.get(FULL_NAME));
        let name = name.and_then(|it| it.parse::<Reference>().ok());
        let Some(name) = name else { continue };
        let repository = official(name.path()).to_owned();
        let tag = name.tag().unwrap_or("latest").to_owned();
        tags.entry(repository).or_default().entry(tag).or_insert(manifest);
    }
    tags
}
