//! Pull: name → manifest → config → layers → image.
//!
//! What `pull nginx` asks of a registry, and what comes back:
//!
//! ```text
//! GET /v2/library/nginx/manifests/latest
//!   ◀ an index: amd64 → sha256:aaa…, arm64 → sha256:bbb…, …
//! GET /v2/library/nginx/manifests/sha256:aaa…
//!   ◀ a manifest: config sha256:ccc…, layers sha256:ddd…, sha256:eee…
//! GET /v2/library/nginx/blobs/sha256:ccc…
//!   ◀ the config: Cmd, Env…, diff_ids [ sha256:111…, sha256:222… ]
//! GET /v2/library/nginx/blobs/sha256:ddd…    (those not here yet,
//! GET /v2/library/nginx/blobs/sha256:eee…     several at a time)
//! ```
//!
//! Each arrow is a digest that the next answer must have. Only the first
//! request, by tag, has nothing to hold on to: whoever answers it decides
//! what `latest` is. Pulling by digest closes that gap too.
//!
//! The same layer has two names here: `ddd…` in the manifest is the digest
//! of the compressed blob, `111…` in the config that of the tar inside.

use std::collections::HashSet;
use std::sync::Mutex;

use serde::Deserialize;
use ureq::http::header;

use super::client::{Ask, Client};
use super::layer::{self, Job};
use super::{Progress, PullOptions, RegistryError, Report};
use crate::config::ImageConfig;
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, Manifest, media};
use crate::parallel::parallel;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Lease, NewImage, Store};

/// Larger manifests than this are refused by registries too.
const MANIFEST_MAX: u64 = 4 << 20;
pub(super) const CONFIG_MAX: u64 = 16 << 20;
/// An index may name an index; more than so deep is a loop.
const NESTED_MAX: usize = 4;

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Of the manifest or index that the tag stands for.
    pub digest: Digest,
    /// Whether the tag stands for another image than before.
    pub newer: bool,
}

/// Pulls one image. `report` hears Docker's lines, the final `Digest:` and
/// `Status:` included.
pub fn pull(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    report: Report<'_>,
) -> Result<Pulled> {
    let pulled = from_first(store, reference, options, report);
    options.cancel.settle(pulled)
}

/// From the first server that has it.
fn from_first(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    report: Report<'_>,
) -> Result<Pulled> {
    let reference = reference.clone().or_latest();
    let endpoints = options.config.endpoints(reference.domain());
    let mut problem = None;
    for endpoint in endpoints {
        let mirror = endpoint.mirror;
        let host = endpoint.host.clone();
        let client = Client::connect(endpoint, &reference, options, "pull");
        let found = client.and_then(|client| {
            let top = Top::fetch(&client, &reference)?;
            Ok((client, top))
        });
        match found {
            Ok((client, top)) => {
                let (client, added) = (&client, Mutex::default());
                let pull = Pull { store, client, options, report, added };
                return pull.run(&reference, top);
            }
            Err(_) if options.cancel.check().is_err() => break,
            // A mirror that fails is passed over, but not in silence.
            Err(e) if mirror => {
                let text = format!("Mirror {host} is passed over: {e}");
                report(Progress::line(text));
            }
            Err(e) => problem = Some(e),
        }
    }
    Err(problem.unwrap_or(Error::NoSuchImage(reference.familiar())))
}

/// Pulls every tag of a repository (`docker pull -a`).
pub fn pull_all_tags(
    store: &Store,
    repository: &Reference,
    options: &PullOptions,
    report: Report<'_>,
) -> Result<Vec<Pulled>> {
    let mut endpoints = options.config.endpoints(repository.domain());
    // A mirror need not know all tags.
    endpoints.retain(|endpoint| !endpoint.mirror);
    let endpoint = endpoints.remove(0);
    let client = Client::connect(endpoint, repository, options, "pull")?;
    let mut pulled = Vec::new();
    for tag in tags(&client)? {
        let reference = repository.with_tag(&tag)?;
        pulled.push(pull(store, &reference, options, report)?);
    }
    Ok(pulled)
}

/// `{"name": "…", "tags": ["…"]}`; some registries say `null` for none.
#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// All tags, page by page: `Link: </v2/…?last=x>; rel="next"`.
fn tags(client: &Client) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut path = "/tags/list".to_owned();
    loop {
        let ask = Ask { method: "GET", path: &path, headers: &[] };
        let mut answer = client.ask(ask)?;
        if answer.status() == 404 {
            return Err(denied(client, "name unknown"));
        }
        let link = answer.headers().get(header::LINK);
        let next = link.and_then(|l| l.to_str().ok()).and_then(|link| {
            let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
            rest.contains("next").then(|| target.to_owned())
        });
        let page: Tags = answer
            .body_mut()
            .read_json()
            .map_err(|e| protocol(client, &path, e))?;
        found.extend(page.tags.unwrap_or_default());
        match next {
            Some(next) if next != path => path = next,
            _ => return Ok(found),
        }
    }
}

/// The document that a tag or digest stands for.
struct Top {
    /// As they came: another encoding of the same JSON would have another
    /// digest.
    bytes: Vec<u8>,
    digest: Digest,
}

impl Top {
    /// By digest, the answer must have just that; by tag, there is nothing to
    /// compare with, and what it has becomes the pull's digest.
    fn fetch(client: &Client, reference: &Reference) -> Result<Top> {
        let wanted = reference.digest().map(Digest::as_str);
        let wanted = wanted.or(reference.tag()).unwrap_or("latest");
        let bytes = manifest(client, wanted)?.ok_or_else(|| {
            RegistryError::ManifestUnknown(reference.familiar())
        })?;
        let digest = match reference.digest() {
            Some(expected) => {
                let what = format!("manifest of {}", reference.familiar());
                layer::check_digest(&what, &bytes, expected)?;
                expected.clone()
            }
            None => Digest::of(&bytes),
        };
        Ok(Top { bytes, digest })
    }
}

/// A manifest's bytes, or `None` when there is none of that name.
pub(super) fn manifest(client: &Client, name: &str) -> Result<Option<Vec<u8>>> {
    let accept = media::ACCEPT.join(", ");
    let path = format!("/manifests/{name}");
    let headers = [("Accept", accept.as_str())];
    let ask = Ask { method: "GET", path: &path, headers: &headers };
    let mut answer = client.ask(ask)?;
    if answer.status() == 404 {
        return Ok(None);
    }
    // Who asks by a tag has no digest to compare with, but the registry says
    // which one it means: enough against accidents, if not against lies.
    let meant = answer.headers().get("docker-content-digest");
    let meant = meant.and_then(|it| it.to_str().ok()?.parse::<Digest>().ok());
    let body = answer.body_mut().with_config().limit(MANIFEST_MAX);
    let bytes = body.read_to_vec().map_err(|e| protocol(client, &path, e))?;
    if let Some(meant) = meant {
        let what = format!("manifest of {}", client.reference.familiar());
        layer::check_digest(&what, &bytes, &meant)?;
    }
    Ok(Some(bytes))
}

/// The state of one pull.
struct Pull<'a> {
    store: &'a Store,
    client: &'a Client,
    /// Platform and how many at once; the rest is in the client.
    options: &'a PullOptions,
    report: Report<'a>,
    /// See [`Job::added`].
    added: Mutex<HashSet<Digest>>,
}

impl Pull<'_> {
    /// A pull that fails takes what it brought out of the store again.
    fn run(&self, reference: &Reference, top: Top) -> Result<Pulled> {
        let lease = self.store.lease()?;
        let result = self.bring(&lease, reference, top);
        drop(lease);
        if result.is_err()
            && let Ok(added) = self.added.lock()
        {
            self.store.discard(&added)?;
        }
        result
    }

    /// The order matters: nothing gets a name before everything it names is
    /// in the store.
    fn bring(
        &self,
        lease: &Lease,
        reference: &Reference,
        top: Top,
    ) -> Result<Pulled> {
        let from = format!("Pulling from {}", reference.path());
        let wanted = reference.tag().unwrap_or(top.digest.as_str());
        (self.report)(Progress::of(wanted, &from));
        let digest = top.digest.clone();
        let (manifest, documents) = self.image_manifest(reference, top)?;
        let config_bytes = self.config(reference, &manifest)?;
        let config = self.check(reference, &manifest, &config_bytes)?;
        self.layers(lease, &manifest, &config)?;
        let mut image = None;
        for document in documents {
            let manifest = self.store.put_blob(lease, &document)?;
            let known = NewImage { parent: None, manifest: Some(manifest) };
            let put = self.store.put_image(lease, &config_bytes, known)?;
            image = Some(put);
        }
        let image = image.ok_or(Error::Cancelled)?;
        let newer = self.name(reference, &digest, &image)?;
        (self.report)(Progress::line(format!("Digest: {digest}")));
        let status = match newer {
            true => "Downloaded newer image",
            false => "Image is up to date",
        };
        let name = reference.familiar();
        (self.report)(Progress::line(format!("Status: {status} for {name}")));
        Ok(Pulled { image, digest, newer })
    }

    /// From an index to the manifest for our platform. Returns it, and the
    /// bytes of all documents on the way.
    fn image_manifest(
        &self,
        reference: &Reference,
        top: Top,
    ) -> Result<(Manifest, Vec<Vec<u8>>)> {
        let host = Platform::host();
        let wanted = self.options.platform.as_ref().unwrap_or(&host);
        let mut documents = vec![top.bytes];
        while documents.len() <= NESTED_MAX {
            let bytes = &documents[documents.len() - 1];
            let parsed = Document::parse(bytes).map_err(|problem| {
                let what = format!("manifest of {}", reference.familiar());
                Error::Document { what, problem }
            })?;
            let index = match parsed {
                Document::Manifest(manifest) => {
                    return Ok((*manifest, documents));
                }
                Document::Index(index) => index,
            };
            let Some(chosen) = index.choose(wanted) else {
                return Err(RegistryError::NoPlatform {
                    reference: reference.familiar(),
                    wanted: wanted.to_string(),
                    offered: index.platforms(),
                }
                .into());
            };
            documents.push(self.part(reference, chosen)?);
        }
        Err(Error::Document {
            what: format!("index of {}", reference.familiar()),
            problem: "indexes within indexes without end".to_owned(),
        })
    }

    /// One step down from an index, checked against the index.
    fn part(
        &self,
        reference: &Reference,
        chosen: &Descriptor,
    ) -> Result<Vec<u8>> {
        let name = chosen.digest.as_str();
        let bytes = manifest(self.client, name)?.ok_or_else(|| {
            let name = reference.with_digest(chosen.digest.clone());
            RegistryError::ManifestUnknown(name.familiar())
        })?;
        let what = format!("manifest of {}", reference.familiar());
        layer::check(&what, &bytes, chosen)?;
        Ok(bytes)
    }

    /// The config is needed before the layers: it tells their diff IDs, and
    /// so which of them are here already.
    fn config(
        &self,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<Vec<u8>> {
        let kind = manifest.config.media_type.as_str();
        let known = [media::OCI_CONFIG, media::DOCKER_CONFIG];
        let layers = manifest.layers.iter();
        let odd = layers.clone().find(|l| !media::is_layer(&l.media_type));
        if !known.contains(&kind) || odd.is_some() {
            let kind = odd.map_or(kind, |layer| &layer.media_type);
            return Err(RegistryError::Unsupported {
                what: reference.familiar(),
                why: format!(
                    "it is no container image but something else that \
                     registries keep ({kind})"
                ),
            }
            .into());
        }
        if self.store.has_blob(&manifest.config.digest) {
            return self.store.blob_bytes(&manifest.config.digest);
        }
        let what = format!("config of {}", reference.familiar());
        self.client.small_blob(&manifest.config, &what, CONFIG_MAX)
    }

    /// Manifest and config come from the same place but are two documents;
    /// they must agree.
    fn check(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        bytes: &[u8],
    ) -> Result<ImageConfig> {
        let fail = |problem: String| Error::Document {
            what: format!("config of {}", reference.familiar()),
            problem,
        };
        let config: ImageConfig = serde_json::from_slice(bytes)
            .map_err(|e| fail(format!("not an image config: {e}")))?;
        let (layers, diffs) =
            (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diffs {
            return Err(fail(format!(
                "it names {diffs} layers, the manifest {layers}"
            )));
        }
        if let Some(wanted) = &self.options.platform {
            let actual = config.platform();
            if actual.suits(wanted).is_none() {
                return Err(fail(format!(
                    "image with reference {} was found but does not match \
                     the specified platform: wanted {wanted}, actual: {actual}",
                    reference.familiar()
                )));
            }
        }
        Ok(config)
    }

    /// All layers, several at a time: each is unpacked into a directory of
    /// its own, so none has to wait for the one below it.
    fn layers(
        &self,
        lease: &Lease,
        manifest: &Manifest,
        config: &ImageConfig,
    ) -> Result<()> {
        let diff_ids = &config.rootfs.diff_ids;
        let say = |blob: &Descriptor, status| {
            (self.report)(Progress::of(blob.digest.short(), status));
        };
        let mut missing = Vec::new();
        for (blob, diff_id) in manifest.layers.iter().zip(diff_ids) {
            // Pinned before looking: what is here now must stay.
            lease.pin(&diff_id.0)?;
            lease.pin(&blob.digest)?;
            match self.store.has_layer(diff_id) {
                true => say(blob, "Already exists"),
                false => {
                    say(blob, "Pulling fs layer");
                    missing.push((blob, diff_id));
                }
            }
        }
        let threads = self.options.concurrent;
        let waiting = missing.iter().skip(threads);
        waiting.for_each(|(blob, _)| say(blob, "Waiting"));
        let job = Job {
            store: self.store,
            lease,
            client: self.client,
            report: self.report,
            added: &self.added,
        };
        parallel(threads, &missing, |(blob, id)| job.layer(blob, id))
    }

    /// Names the image; true when the tag meant another one before.
    ///
    /// The digest is a name too: `nginx@sha256:…` stays true when the tag has
    /// moved on.
    fn name(
        &self,
        reference: &Reference,
        digest: &Digest,
        image: &ImageId,
    ) -> Result<bool> {
        let by_digest = reference.with_digest(digest.clone());
        let name = match reference.digest() {
            Some(_) => by_digest.clone(),
            None => reference.clone(),
        };
        let before = self.store.resolve(&name.to_string());
        let same = before.is_ok_and(|before| before.id == *image);
        self.store.tag(&by_digest, image)?;
        if reference.digest().is_none() {
            self.store.tag(reference, image)?;
        }
        Ok(!same)
    }
}

/// An answer that broke off or is not what it should be.
fn protocol(client: &Client, path: &str, error: ureq::Error) -> Error {
    let problem = match error {
        ureq::Error::BodyExceedsLimit(limit) => {
            format!("more than {limit} bytes, which no manifest has")
        }
        other => format!("cannot read the answer: {other}"),
    };
    RegistryError::Protocol { url: client.url(path), problem }.into()
}

/// A repository that does not exist is answered like one that is private.
fn denied(client: &Client, detail: &str) -> Error {
    RegistryError::Denied {
        repository: client.reference.familiar_name(),
        detail: detail.to_owned(),
    }
    .into()
}
