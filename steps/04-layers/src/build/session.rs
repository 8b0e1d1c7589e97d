//! One build as a whole: what is known before the first step, the stages side
//! by side, and the image in the end.

use super::Builder;
use super::board::Board;
use super::cache::Cache;
use super::dockerfile::{Command, Dockerfile};
use super::entitlement;
use super::explain::{Comparison, Step, Trace};
use super::options::{BuildError, BuildEvent, BuildOptions};
use super::output::{Events, Output};
use super::plan::Plan;
use super::scope::{BuildArgs, Scope};
use super::stage::{StageBuild, State, label, say};
use super::tree::Tree;
use crate::store::NewImage;
use crate::{Image, ImageId, Lease, Platform};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Result<T> = std::result::Result<T, BuildError>;

/// What the stages of a build share.
pub(super) struct Session<'a> {
    pub(super) builder: &'a Builder<'a>,
    pub(super) options: &'a BuildOptions,
    pub(super) file: &'a Dockerfile,
    pub(super) context: Tree,
    pub(super) cache: Cache,
    /// Keeps the layers of this build while no image names them.
    pub(super) lease: Lease,
    pub(super) output: Output<'a>,
    pub(super) args: BuildArgs,
    /// The global ARGs.
    pub(super) globals: Scope,
    pub(super) plan: Plan,
    pub(super) board: Board,
    /// This build beside the last one of the same thing.
    pub(super) comparison: Comparison,
    /// What its steps depended on, by their numbers.
    done: Mutex<BTreeMap<usize, Step>>,
}

impl<'a> Session<'a> {
    /// Everything that can be wrong before the first step is found here: a
    /// Dockerfile whose last stage names a stage that does not exist should
    /// not first compile for ten minutes.
    pub(super) fn new(
        builder: &'a Builder<'a>,
        options: &'a BuildOptions,
        file: &'a Dockerfile,
        context: Tree,
        events: Events<'a>,
    ) -> Result<Self> {
        let cache = Cache::open(builder.store.root())?;
        let args = BuildArgs::new(&options.args);
        let globals = globals(file, options, &args)?;
        let plan = Plan::new(
            file,
            options.target.as_deref(),
            &globals,
            &options.contexts,
        )
        .map_err(|(message, excerpt)| BuildError::Step { message, excerpt })?;
        check_entitlements(file, &plan, options)?;
        let mut known = identities(options).into_iter();
        let last = known.find_map(|it| cache.trace(&it));
        let comparison = Comparison::new(texts(file, &plan, options), last);
        Ok(Self {
            builder,
            options,
            file,
            context,
            cache,
            lease: builder.store.lease()?,
            output: Output::new(events, plan.order.len()),
            args,
            globals,
            board: Board::new(file.stages.len(), &plan.order),
            plan,
            comparison,
            done: Mutex::default(),
        })
    }

    /// Builds what the target needs and stores the image.
    pub(super) fn run(self) -> Result<ImageId> {
        self.warn_of_missing_caches();
        // Docker counts them among the steps.
        for (index, global) in self.file.globals.iter().enumerate() {
            let text = self.step(index + 1, &global.text);
            self.output.tell(0, BuildEvent::Line(text));
        }
        std::thread::scope(|scope| {
            for (place, &index) in self.plan.order.iter().enumerate() {
                let session = &self;
                scope.spawn(move || session.build_stage(place, index));
            }
        });
        let failure = self.board.failure();
        // A failed build is compared with as well: its steps up to the
        // failure are what the next attempt starts from.
        let done = std::mem::take(&mut *self.done());
        self.remember(&self.comparison.trace(done));
        if let Some(error) = failure {
            return Err(error);
        }
        let target = self.plan.target();
        // Nothing failed, so all that was planned is done.
        let Some(state) = self.board.wait(target)? else { unreachable!() };
        self.warn_of_unused();
        self.store(&state)
    }

    /// What cannot be written costs the next build an explanation, and not
    /// this one its image or its error.
    fn remember(&self, trace: &Trace) {
        for identity in identities(self.options) {
            if let Err(error) = self.cache.put_trace(&identity, trace) {
                self.line(format!(
                    "[Warning] the next build cannot say what has changed: \
                     {error}\n"
                ));
            }
        }
    }

    /// One stage, on a thread of its own.
    fn build_stage(&self, place: usize, index: usize) {
        let seat = self.board.seat(index);
        let mut stage = StageBuild::new(self, place, index);
        let result = stage.run();
        self.done().extend(stage.done);
        seat.finish(result);
        self.output.close(place);
    }

    /// Whole at any moment, whoever panicked.
    fn done(&self) -> MutexGuard<'_, BTreeMap<usize, Step>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Docker says it only in the daemon's log.
    fn warn_of_missing_caches(&self) {
        for name in &self.options.cache_from {
            if self.builder.store.resolve(name).is_err() {
                let text = format!(
                    "[Warning] --cache-from {name}: there is no such image \
                     here, pull it to use its layers\n"
                );
                self.output.tell(0, BuildEvent::Line(text));
            }
        }
    }

    /// A mistyped `--build-arg` is otherwise without any effect, and nobody
    /// notices.
    fn warn_of_unused(&self) {
        let unused = self.args.unused();
        if !unused.is_empty() {
            let names = unused.join(" ");
            self.line(format!(
                "[Warning] One or more build-args [{names}] were not \
                 consumed\n"
            ));
        }
    }

    /// An image that the build needs. Its layers stay until the end, whoever
    /// removes its names meanwhile.
    pub(super) fn keep(&self, id: &ImageId) -> Result<Image> {
        let store = self.builder.store;
        let image = store.image(id)?;
        // Pinned first and looked for then, or they could go in between.
        for layer in image.layers() {
            self.lease.pin(&layer.0)?;
        }
        for layer in image.layers() {
            store.layer(layer)?;
        }
        Ok(image)
    }

    /// Only now does an image exist. Until here nothing but the lease held the
    /// layers, so a build that fails leaves no image behind.
    fn store(&self, state: &State) -> Result<ImageId> {
        if state.image.history.is_empty() {
            let message = "No image was generated. Is your Dockerfile empty?";
            let excerpt = None;
            return Err(BuildError::Step { message: message.into(), excerpt });
        }
        let store = self.builder.store;
        let id = match self.unchanged(state)? {
            Some(id) => id,
            None => {
                let bytes = state.image.to_bytes();
                let there = |it: &ImageId| store.image(it).is_ok();
                let parent = state.base.clone().filter(there);
                let known = NewImage { parent, ..NewImage::default() };
                store.put_image(&self.lease, &bytes, known)?
            }
        };
        let end = self.output.end();
        self.output.tell(end, BuildEvent::Image(id.clone()));
        self.line(format!("Successfully built {}\n", id.short()));
        for tag in &self.options.tags {
            let tag = tag.clone().or_latest();
            store.tag(&tag, &id)?;
            let name = tag.familiar();
            self.line(format!("Successfully tagged {name}\n"));
        }
        Ok(id)
    }

    /// The base image, if no instruction has come after FROM: in Docker that
    /// very image gets the new name.
    fn unchanged(&self, state: &State) -> Result<Option<ImageId>> {
        let Some(base) = &state.base else { return Ok(None) };
        // One that was removed meanwhile is made again.
        let Ok(image) = self.builder.store.image(base) else {
            return Ok(None);
        };
        let same = image.config.history.len() == state.image.history.len();
        Ok(same.then(|| base.clone()))
    }

    /// `Step 3/7 : COPY . .`; each `--label` is a step without a line in the
    /// file.
    pub(super) fn step(&self, number: usize, text: &str) -> String {
        let total = self.plan.steps + self.options.labels.len();
        format!("Step {number}/{total} : {text}\n")
    }

    /// A line after those of the stages.
    fn line(&self, text: String) {
        self.output.tell(self.output.end(), BuildEvent::Line(text));
    }

    /// The time of a step.
    pub(super) fn now(&self) -> String {
        let epoch = self.options.source_date_epoch;
        let fixed = epoch.and_then(|seconds| {
            let seconds = i64::try_from(seconds).ok()?;
            jiff::Timestamp::from_second(seconds).ok()
        });
        fixed.unwrap_or_else(jiff::Timestamp::now).to_string()
    }

    /// What is being built for; an image made from scratch says so.
    pub(super) fn platform(&self) -> Platform {
        self.options.platform.clone().unwrap_or_else(Platform::host)
    }
}

/// Before the first step: who must be asked should be asked at once.
fn check_entitlements(
    file: &Dockerfile,
    plan: &Plan,
    options: &BuildOptions,
) -> Result<()> {
    let stages = plan.order.iter().map(|index| &file.stages[*index]);
    for instruction in stages.flat_map(|stage| &stage.body) {
        if let Command::Run(run) = &instruction.command {
            entitlement::check(run, options)
                .map_err(|it| BuildError::step(it, &instruction.excerpt))?;
        }
    }
    Ok(())
}

/// The ARGs before the first FROM, and the platform ones.
fn globals(
    file: &Dockerfile,
    options: &BuildOptions,
    args: &BuildArgs,
) -> Result<Scope> {
    let mut scope = Scope::new(file.directives.escape);
    let target = options.platform.clone().unwrap_or_else(Platform::host);
    for (role, platform) in [("BUILD", Platform::host()), ("TARGET", target)] {
        let variant = platform.variant.clone().unwrap_or_default();
        scope.set(&format!("{role}PLATFORM"), &platform.to_string());
        scope.set(&format!("{role}OS"), &platform.os);
        scope.set(&format!("{role}ARCH"), &platform.architecture);
        scope.set(&format!("{role}VARIANT"), &variant);
    }
    let stage = options.target.as_deref().unwrap_or("default");
    scope.set("TARGETSTAGE", stage);
    for instruction in &file.globals {
        let Command::Arg(list) = &instruction.command else { continue };
        for (name, default) in list {
            let value = match (args.take(name), default) {
                (Some(value), _) => Some(value),
                (None, Some(text)) => Some(say(&scope, text, instruction)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                scope.set(name, &value);
            }
        }
    }
    Ok(scope)
}

/// What "the last build" means: the last one that made the same stage of the
/// same Dockerfile for the same name, or else from the same context.
fn identities(options: &BuildOptions) -> Vec<String> {
    let (file, target) = (options.dockerfile.display(), &options.target);
    let target = target.as_deref().unwrap_or_default();
    let tag = options.tags.first().map(|tag| {
        let name = tag.clone().or_latest().familiar();
        format!("{name}\n{file}\n{target}")
    });
    let origin = Some(&options.origin).filter(|it| !it.is_empty());
    let origin = origin.map(|it| format!("\n{it}\n{file}\n{target}"));
    tag.into_iter().chain(origin).collect()
}

/// What the instructions say that the plan has, in its order.
fn texts(
    file: &Dockerfile,
    plan: &Plan,
    options: &BuildOptions,
) -> Vec<String> {
    let stages = plan.order.iter().map(|index| &file.stages[*index]);
    let lines = stages.flat_map(|it| std::iter::once(&it.head).chain(&it.body));
    let lines = file.globals.iter().chain(lines);
    let lines = lines.map(|instruction| instruction.text.clone());
    let labels = options.labels.iter().map(|(k, v)| label(k, v));
    lines.chain(labels).collect()
}
