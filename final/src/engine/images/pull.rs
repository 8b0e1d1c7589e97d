//! `docker pull`: from a registry, or else from this machine.

use std::sync::Arc;

use layers::registry::{
    self, Account, Cancel, Progress as Step, PullOptions, Pulled,
    RegistryConfig,
};
use layers::{ImageId, ImageSource, Platform, Reference};

use super::auth::{Auth, Logins};
use crate::engine::Engine;
use crate::engine::build::{RunLimits, Runner};
use crate::engine::catalogue::{self, Kitchen, Recipe};
use crate::engine::config::Settings;
use crate::engine::error::{Error, Result};
use crate::engine::events::{Kind, attributes};
use crate::engine::progress::Progress;

/// What `POST /images/create?fromImage=` asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The repository, perhaps with a tag.
    pub image: String,
    /// Tag or digest; empty and no tag in `image` means all tags.
    pub tag: String,
    /// Which image of an index.
    pub platform: Option<Platform>,
    /// Who asks.
    pub auth: Option<Auth>,
    /// Whether the offline catalogue may step in.
    pub offline: bool,
}

impl Engine {
    /// Pulls an image, telling how it goes.
    ///
    /// # Errors
    /// In the registry's words.
    pub fn pull(
        self: &Arc<Self>,
        request: &Request,
        progress: &Progress,
    ) -> Result<()> {
        let named = super::named(&request.image, &request.tag)?;
        let typed: Reference = request.image.parse().map_err(
            |error: layers::reference::ReferenceError| {
                Error::Invalid(error.to_string())
            },
        )?;
        let every = request.tag.is_empty()
            && typed.tag().is_none()
            && typed.digest().is_none();
        let options = PullOptions {
            cancel: progress.cancel(),
            ..self.pull_options(request.platform.clone(), request.auth.clone())
        };
        let report = |step: Step| tell(progress, &step);
        if every {
            let repository = typed.repository();
            let pulled = registry::pull_all_tags(
                &self.store,
                &repository,
                &options,
                &report,
            )?;
            for image in pulled {
                self.pulled(&image.image, &repository.familiar());
            }
            return Ok(());
        }
        let id = self.obtain(&named, &options, request.offline, &report)?;
        self.pulled(&id, &named.familiar());
        Ok(())
    }

    fn pulled(&self, id: &ImageId, name: &str) {
        let labels = self.store.image(id).ok();
        let mut all = labels
            .and_then(|image| image.config.config.labels)
            .unwrap_or_default();
        all.extend(attributes([("name", name)]));
        self.events.emit(Kind::Image, "pull", name, all);
    }

    /// From the registry; when nobody answers there, or nobody has patience
    /// with us any more, from the offline catalogue.
    fn obtain(
        self: &Arc<Self>,
        reference: &Reference,
        options: &PullOptions,
        offline: bool,
        report: &(dyn Fn(Step) + Sync),
    ) -> Result<ImageId> {
        let recipe = match offline && self.config().offline_allowed() {
            true => recipe_for(reference, options),
            false => None,
        };
        let mut options = options.clone();
        if recipe.is_some() {
            // With another way at hand, patience is wasted.
            options.attempts = options.attempts.min(2);
        }
        let error =
            match registry::pull(&self.store, reference, &options, report) {
                Ok(Pulled { image, .. }) => return Ok(image),
                Err(error) => error,
            };
        let outage = matches!(
            &error, layers::Error::Registry(error) if error.is_outage()
        );
        // An ordinary user's network may be the one that is cut off, and
        // not the machine's.
        let config = self.config();
        let rootless = config.rootless.as_ref().filter(|_| outage);
        if let Some(why) = rootless.and_then(|it| it.isolated()) {
            report(Step::line(why));
        }
        let Some(recipe) = recipe.filter(|_| outage) else {
            // The catalogue stands in for Docker Hub's images only.
            let hopeless = outage
                && offline
                && self.config().offline_allowed()
                && reference.domain() == "docker.io";
            return Err(match hopeless {
                true => without_recipe(&error),
                false => error.into(),
            });
        };
        self.cook(&recipe, reference, &options, &error, report)
    }

    /// Makes an image by the catalogue's recipe, and says so.
    fn cook(
        self: &Arc<Self>,
        recipe: &Recipe,
        reference: &Reference,
        options: &PullOptions,
        why: &layers::Error,
        report: &(dyn Fn(Step) + Sync),
    ) -> Result<ImageId> {
        let name = reference.familiar();
        report(Step::line(why.to_string()));
        report(Step::line(format!(
            "Making {name} from this machine's own packages instead (offline \
             catalogue; --offline=never forbids it)"
        )));
        let gone = || options.cancel.check().is_err();
        let runner = Runner::new(self, RunLimits::default(), &gone);
        let snapshots = overlay_cow::Volatile(&self.snapshots);
        let kitchen = Kitchen {
            store: &self.store,
            snapshots: &snapshots,
            runner: &runner,
        };
        let id = recipe
            .build(&kitchen, reference, &mut |line| report(Step::line(line)))
            .map_err(Error::internal)?;
        report(Step::line(format!("Status: Made {name} offline")));
        Ok(id)
    }

    /// How this daemon pulls and pushes for a client.
    pub(crate) fn pull_options(
        &self,
        platform: Option<Platform>,
        auth: Option<Auth>,
    ) -> PullOptions {
        let usual = PullOptions::default();
        let settings = self.config();
        let concurrent = settings.max_concurrent_downloads;
        PullOptions {
            platform,
            account: Account::Client(auth),
            config: settings.registries(),
            concurrent: concurrent.unwrap_or(usual.concurrent),
            ..usual
        }
    }
}

impl Settings {
    /// Mirrors, and who may be spoken to without TLS.
    fn registries(&self) -> RegistryConfig {
        RegistryConfig {
            mirrors: self.registry_mirrors.clone(),
            insecure: self.insecure_registries.clone(),
            ..RegistryConfig::default()
        }
    }

    /// Whether the offline catalogue may step in.
    fn offline_allowed(&self) -> bool {
        self.offline.as_deref() != Some("never")
    }
}

/// There is no registry and no recipe either: says what there are recipes
/// for.
fn without_recipe(error: &layers::Error) -> Error {
    let names: Vec<_> =
        catalogue::all().into_iter().map(|it| it.name).collect();
    Error::Internal(format!(
        "{error}; without a registry this engine can make {}, and any image \
         comes in as a file (load)",
        names.join(", ")
    ))
}

/// The recipe that may stand in for an image, if it is for this machine.
fn recipe_for(reference: &Reference, options: &PullOptions) -> Option<Recipe> {
    let here = Platform::host();
    let fits = |wanted: &Platform| here.suits(wanted).is_some();
    let recipe = catalogue::find(reference);
    recipe.filter(|_| options.platform.as_ref().is_none_or(fits))
}

/// One step as a line.
pub fn tell(progress: &Progress, step: &Step) {
    match step.bytes {
        Some((current, total)) => {
            progress.bar(&step.id, &step.status, current, total);
        }
        None => progress.about(&step.id, &step.status),
    }
}

/// Where a build gets its base images.
#[derive(Debug)]
pub struct Source<'a> {
    /// Pulls.
    pub engine: &'a Arc<Engine>,
    /// Who asks, by registry.
    pub logins: &'a Logins,
    /// Ends the wait when who asks has gone away.
    pub cancel: Cancel,
}

impl ImageSource for Source<'_> {
    fn fetch(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        always: bool,
        progress: &(dyn Fn(Step) + Sync),
    ) -> layers::Result<ImageId> {
        if !always && let Ok(image) = self.here(reference, platform) {
            return Ok(image);
        }
        let auth = self.logins.of(reference.domain());
        let options = PullOptions {
            cancel: self.cancel.clone(),
            ..self.engine.pull_options(platform.cloned(), auth)
        };
        self.engine
            .obtain(reference, &options, !always, progress)
            .map_err(|error| layers::Error::Outside(Box::new(error)))
    }
}

impl Source<'_> {
    /// An image that is here, if it is for the right machine.
    fn here(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> layers::Result<ImageId> {
        let name = reference.to_string();
        let image = self.engine.store.resolve(&name)?;
        match image.suits(platform) {
            true => Ok(image.id),
            false => Err(layers::Error::NoSuchImage(name)),
        }
    }
}
