//! `docker push`.

use std::sync::Arc;

use layers::Reference;
use layers::registry::{self, Progress as Step, PullOptions};
use serde_json::json;

use super::auth::Auth;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::{Kind, attributes};
use crate::engine::progress::Progress;

/// What `POST /images/NAME/push` asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The repository.
    pub name: String,
    /// Which tag; empty for all that are here.
    pub tag: String,
    /// Who asks.
    pub auth: Option<Auth>,
}

impl Engine {
    /// Pushes an image, telling how it goes.
    ///
    /// # Errors
    /// [`Error::NotFound`] in Docker's words when no image has the name;
    /// else the registry's words.
    pub fn push(
        self: &Arc<Self>,
        request: &Request,
        progress: &Progress,
    ) -> Result<()> {
        let uploads = self.config().dockerd.max_concurrent_uploads;
        let usual = PullOptions::default().concurrent;
        let options = PullOptions {
            cancel: progress.cancel(),
            concurrent: uploads.unwrap_or(usual),
            ..self.pull_options(None, request.auth.clone())
        };
        let report = |step: Step| super::pull::tell(progress, &step);
        for reference in self.push_targets(request, progress)? {
            let pushed =
                registry::push(&self.store, &reference, &options, &report)?;
            progress.send(&json!({
                "progressDetail": {},
                "aux": {
                    "Tag": pushed.tag,
                    "Digest": pushed.digest,
                    "Size": pushed.size,
                },
            }));
            let name = reference.familiar();
            let said =
                attributes([("name", reference.familiar_name().as_str())]);
            self.events.emit(Kind::Image, "push", &name, said);
        }
        Ok(())
    }

    /// One tag, or all tags of the repository.
    fn push_targets(
        &self,
        request: &Request,
        progress: &Progress,
    ) -> Result<Vec<Reference>> {
        let parse = |text: &str| {
            text.parse::<Reference>()
                .map_err(|error| Error::Invalid(error.to_string()))
        };
        let typed = parse(&request.name)?;
        let tag = match request.tag.as_str() {
            "" => typed.tag().map(str::to_owned),
            tag => Some(tag.to_owned()),
        };
        let mut targets = Vec::new();
        if let Some(tag) = tag {
            let reference =
                super::named(&typed.repository().to_string(), &tag)?;
            let image = self.store.resolve(&reference.to_string());
            image.map_err(|_| absent(&reference, progress))?;
            return Ok(vec![reference]);
        }
        for image in self.store.list()? {
            for name in self.store.names(&image.id)?.tags {
                let reference = parse(&name)?;
                if reference.repository() == typed.repository() {
                    targets.push(reference);
                }
            }
        }
        match targets.is_empty() {
            true => Err(absent(&typed, progress)),
            false => Ok(targets),
        }
    }
}

/// Docker says first where it would have pushed to.
fn absent(reference: &Reference, progress: &Progress) -> Error {
    let to = reference.name();
    progress.status(&format!("The push refers to repository [{to}]"));
    let name = reference.familiar_name();
    Error::NotFound(format!(
        "An image does not exist locally with the tag: {name}"
    ))
}
