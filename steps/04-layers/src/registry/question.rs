//! Questions that move no layer: is an account good, and what stands behind
//! a name.

use super::client::{Ask, Client};
use super::pull::{CONFIG_MAX, manifest};
use super::{PullOptions, RegistryError};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, media};
use crate::platform::Platform;
use crate::reference::Reference;

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Of the manifest, or of the index over several.
    pub descriptor: Descriptor,
    /// For which machines there is an image.
    pub platforms: Vec<Platform>,
}

/// Asks what stands behind a name (`docker manifest inspect`, and Swarm).
pub fn describe(
    reference: &Reference,
    options: &PullOptions,
) -> Result<Described> {
    let client = connect(reference, options)?;
    let name = reference.digest().map(Digest::as_str).or(reference.tag());
    let bytes = manifest(&client, name.unwrap_or("latest"))?
        .ok_or_else(|| RegistryError::ManifestUnknown(reference.familiar()))?;
    let what = || format!("manifest of {}", reference.familiar());
    let document = Document::parse(&bytes)
        .map_err(|problem| Error::Document { what: what(), problem })?;
    let (kind, platforms) = match document {
        Document::Index(index) => {
            let parts = index.manifests.into_iter();
            let platforms = parts.filter_map(|part| part.platform).collect();
            (index.media_type.unwrap_or(media::OCI_INDEX.into()), platforms)
        }
        Document::Manifest(manifest) => {
            let config =
                client.small_blob(&manifest.config, &what(), CONFIG_MAX)?;
            let config: Option<ImageConfig> =
                serde_json::from_slice(&config).ok();
            let platforms = config.iter().map(ImageConfig::platform).collect();
            let kind = manifest.media_type;
            (kind.unwrap_or(media::OCI_MANIFEST.into()), platforms)
        }
    };
    let size = bytes.len() as u64;
    let descriptor = Descriptor::new(&kind, Digest::of(&bytes), size);
    Ok(Described { descriptor, platforms })
}

/// Asks whether the account in `options` is good (`docker login`). A
/// registry that lets everybody in says yes to everybody. Some give an
/// identity token, to be kept in place of the password.
pub fn log_in(domain: &str, options: &PullOptions) -> Result<Option<String>> {
    // A token is for a repository, and this one need not exist: who may log
    // in gets a token without rights, who may not gets none.
    let reference: Reference = format!("{domain}/login/check").parse()?;
    let client = connect(&reference, options)?;
    client.pass.want_lasting();
    client.ask(Ask { method: "GET", path: "/v2/", headers: &[] })?;
    Ok(client.pass.lasting())
}

/// Mirrors answer for themselves only, so the registry proper is asked.
fn connect(reference: &Reference, options: &PullOptions) -> Result<Client> {
    let mut endpoints = options.config.endpoints(reference.domain());
    endpoints.retain(|endpoint| !endpoint.mirror);
    Client::connect(endpoints.remove(0), reference, options, "pull")
}
