//! Push: the blobs first, the manifest last.
//!
//! ```text
//! HEAD  /v2/app/blobs/sha256:ddd…                     is it there?
//! POST  /v2/app/blobs/uploads/?mount=sha256:ddd…&from=other
//!                                                     or elsewhere with you?
//! POST, PATCH…, PUT                                   then I send it: `upload`
//! PUT   /v2/app/manifests/latest                      now it is an image
//! ```
//!
//! A registry refuses a manifest whose blobs it has not got, so nobody ever
//! sees half an image. An image that was pulled is pushed with the very
//! bytes it came with, and keeps its digest; one that was made here is
//! compressed, always in the same way.

use std::collections::BTreeSet;
use std::io;

use flate2::{Compression, GzBuilder};

use super::client::{Ask, Client, Payload};
use super::{Progress, PullOptions, RegistryError, Report, upload};
use crate::Image;
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result, io_at};
use crate::manifest::{Descriptor, Document, Manifest, media};
use crate::parallel::parallel;
use crate::reference::Reference;
use crate::store::{Lease, Store};

/// What a push made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The tag.
    pub tag: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's length.
    pub size: u64,
}

/// Pushes the image that `reference` names, here, to where `reference` says.
pub fn push(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    report: Report<'_>,
) -> Result<Pushed> {
    let reference = reference.clone().or_latest();
    let image = store.resolve(&reference.to_string())?;
    let name = reference.name();
    report(Progress::line(format!("The push refers to repository [{name}]")));
    // Mirrors are for pulling.
    let mut endpoints = options.config.endpoints(reference.domain());
    endpoints.retain(|endpoint| !endpoint.mirror);
    let endpoint = endpoints.remove(0);
    let client = Client::connect(endpoint, &reference, options, "pull,push")?;
    let lease = store.lease()?;
    lease.pin(&image.id.0)?;
    let push = Push { store, lease, client, image, report };
    options.cancel.settle(push.run(&reference, options.concurrent))
}

/// The state of one push.
struct Push<'a> {
    store: &'a Store,
    /// Blobs that are made for the push must outlive a prune meanwhile.
    lease: Lease,
    client: Client,
    /// What is pushed.
    image: Image,
    report: Report<'a>,
}

impl Push<'_> {
    /// Config and layers in any order, the manifest last.
    fn run(&self, reference: &Reference, concurrent: usize) -> Result<Pushed> {
        for diff_id in self.image.layers() {
            (self.report)(Progress::of(diff_id.short(), "Preparing"));
        }
        let manifest = match self.original()? {
            Some(bytes) => bytes,
            None => self.new_manifest()?,
        };
        let parsed = match Document::parse(&manifest) {
            Ok(Document::Manifest(parsed)) => parsed,
            _ => return Err(Error::NoSuchImage(reference.familiar())),
        };
        self.layers(&parsed, concurrent)?;
        let id = self.image.id.short();
        self.blob(&parsed.config, id, &[])?;
        self.finish(reference, &manifest, &parsed)
    }

    /// The manifest that the image was pulled with, if all its blobs are
    /// still here. One of an archive may list layers that are not compressed,
    /// which is no way to send them.
    fn original(&self) -> Result<Option<Vec<u8>>> {
        for digest in &self.image.record.manifests {
            let bytes = self.store.blob_bytes(digest)?;
            let Ok(Document::Manifest(parsed)) = Document::parse(&bytes) else {
                continue;
            };
            let mut blobs = parsed.layers.iter();
            if blobs.all(|blob| {
                blob.media_type != media::OCI_LAYER
                    && self.store.has_blob(&blob.digest)
            }) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// For an image that was made here. The OCI form is understood by every
    /// registry of the last years; Docker's own adds nothing to it.
    fn new_manifest(&self) -> Result<Vec<u8>> {
        let mut layers = Vec::new();
        for diff_id in self.image.layers() {
            self.client.cancel.check()?;
            layers.push(compressed(self.store, &self.lease, diff_id)?);
        }
        let config = self.store.blob_bytes(&self.image.id.0)?;
        let id = self.image.id.0.clone();
        let size = config.len() as u64;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: Descriptor::new(media::OCI_CONFIG, id, size),
            layers,
            annotations: None,
        };
        Ok(serde_json::to_vec(&manifest).unwrap_or_default())
    }

    fn layers(&self, manifest: &Manifest, concurrent: usize) -> Result<()> {
        let layers = manifest.layers.iter().zip(self.image.layers());
        let all: Vec<_> = layers.collect();
        parallel(concurrent, &all, |(blob, diff_id)| {
            self.blob(blob, diff_id.short(), &self.relatives(diff_id)?)
        })
    }

    /// Other repositories on the same registry that have a layer: it can
    /// then be *mounted* into ours without sending a byte.
    fn relatives(&self, diff_id: &DiffId) -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        for image in self.store.list()? {
            if !image.layers().contains(diff_id) {
                continue;
            }
            for name in self.store.names(&image.id)?.digests {
                let Ok(other) = name.parse::<Reference>() else { continue };
                let here = &self.client.reference;
                if other.domain() == here.domain()
                    && other.path() != here.path()
                {
                    found.insert(other.path().to_owned());
                }
            }
        }
        Ok(found.into_iter().take(3).collect())
    }

    /// Makes sure that the registry has a blob.
    ///
    /// Three ways, the cheapest first: it is there; another repository of the
    /// same registry has it; it must be sent.
    fn blob(&self, blob: &Descriptor, id: &str, from: &[String]) -> Result<()> {
        if upload::is_there(&self.client, blob)? {
            (self.report)(Progress::of(id, "Layer already exists"));
            return Ok(());
        }
        for repository in from {
            if upload::mount(&self.client, blob, repository)? {
                let text = format!("Mounted from {repository}");
                (self.report)(Progress::of(id, &text));
                return Ok(());
            }
        }
        let report = |done: u64| {
            (self.report)(Progress {
                bytes: Some((done, blob.size)),
                ..Progress::of(id, "Pushing")
            });
        };
        let open = || self.store.blob(&blob.digest);
        upload::send(&self.client, blob, &open, &report)?;
        (self.report)(Progress::of(id, "Pushed"));
        Ok(())
    }

    /// From here on others see it. What was pushed is remembered, so that a
    /// second push finds the same manifest, and the image has a `RepoDigest`.
    fn finish(
        &self,
        reference: &Reference,
        bytes: &[u8],
        manifest: &Manifest,
    ) -> Result<Pushed> {
        let digest = Digest::of(bytes);
        let tag = reference.tag().unwrap_or(digest.as_str()).to_owned();
        let kind = manifest.media_type.as_deref();
        let kind = kind.unwrap_or(media::OCI_MANIFEST);
        let path = format!("/manifests/{tag}");
        let headers = [("Content-Type", kind)];
        let ask = Ask { method: "PUT", path: &path, headers: &headers };
        let mut body = || Ok(Payload::Bytes(bytes.to_vec()));
        let answer = self.client.send(ask, &mut body)?;
        if !answer.status().is_success() {
            return Err(RegistryError::Status {
                method: "PUT",
                url: self.client.url(&path),
                status: answer.status().as_u16(),
                detail: "the registry did not take the manifest".to_owned(),
            }
            .into());
        }
        let stored = self.store.put_blob(&self.lease, bytes)?;
        self.store.know_manifest(&self.image.id, stored)?;
        let by_digest = reference.with_digest(digest.clone());
        self.store.tag(&by_digest, &self.image.id)?;
        let size = bytes.len() as u64;
        let text = format!("{tag}: digest: {digest} size: {size}");
        (self.report)(Progress::line(text));
        Ok(Pushed { tag, digest, size })
    }
}

/// A layer's tar as a compressed blob, made if there is none yet.
pub(crate) fn compressed(
    store: &Store,
    lease: &Lease,
    diff_id: &DiffId,
) -> Result<Descriptor> {
    let record = store.layer_record(diff_id)?;
    let kept = record.blobs.into_iter().find(|blob| {
        blob.media_type != media::OCI_LAYER && store.has_blob(&blob.digest)
    });
    if let Some(blob) = kept {
        lease.pin(&blob.digest)?;
        return Ok(blob);
    }
    let writer = store.blob_writer(&diff_id.0)?;
    let path = store.layer_dir(diff_id);
    let fail = io_at("compress the layer in", &path);
    let mut tar = store.layer_tar(diff_id)?;
    // No name, no time, a fixed level: the same tar gives the same blob.
    let level = Compression::new(6);
    let mut gzip = GzBuilder::new().mtime(0).write(writer, level);
    io::copy(&mut tar, &mut gzip)
        .and_then(|_| gzip.finish())
        .map_err(fail)
        .and_then(|writer| {
            let (digest, size) = writer.commit(store, lease, "layer", None)?;
            let blob = Descriptor::new(media::OCI_LAYER_GZIP, digest, size);
            store.add_layer_blob(diff_id, blob.clone())?;
            Ok(blob)
        })
}
