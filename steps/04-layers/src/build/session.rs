//! One build as a whole: what is known before the first step, the stages side
//! by side, and the image in the end.

use super::Builder;
use super::board::Board;
use super::cache::{Cache, Trace};
use super::dockerfile::{Command, Dockerfile};
use super::options::{BuildError, BuildEvent, BuildOptions};
use super::output::{Events, Output};
use super::plan::Plan;
use super::scope::{BuildArgs, Scope};
use super::stage::{StageBuild, State, say};
use super::tree::Tree;
use crate::store::NewImage;
use crate::{ImageId, Lease, Platform};
use std::sync::Mutex;

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
    /// The inputs of the last build of the same thing.
    pub(super) last: Trace,
    /// And those of this one.
    pub(super) trace: Mutex<Trace>,
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
        let plan =
            Plan::new(file, options.target.as_deref(), &globals).map_err(
                |(message, excerpt)| BuildError::Step { message, excerpt },
            )?;
        let last = cache.trace(&identity(options, file)).unwrap_or_default();
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
            last,
            trace: Mutex::default(),
        })
    }

    /// Builds what the target needs and stores the image.
    pub(super) fn run(self) -> Result<ImageId> {
        std::thread::scope(|scope| {
            for (place, &index) in self.plan.order.iter().enumerate() {
                let session = &self;
                scope.spawn(move || session.build_stage(place, index));
            }
        });
        let failure = self.board.failure();
        // A failed build is compared with as well: its steps up to the
        // failure are what the next attempt starts from.
        let trace = self.merged_trace(failure.is_some());
        self.cache.put_trace(&identity(self.options, self.file), &trace)?;
        if let Some(error) = failure {
            return Err(error);
        }
        let target = self.plan.target();
        // Nothing failed, so all that was planned is done.
        let Some(state) = self.board.wait(target)? else { unreachable!() };
        self.warn_of_unused();
        self.store(&state)
    }

    /// One stage, on a thread of its own.
    fn build_stage(&self, place: usize, index: usize) {
        let seat = self.board.seat(index);
        let mut stage = StageBuild::new(self, place, index);
        let result = stage.run();
        let mut trace = self.trace.lock().unwrap_or_else(|e| e.into_inner());
        trace.extend(stage.trace);
        drop(trace);
        seat.finish(result);
        self.output.close(place);
    }

    /// A build that failed half-way has no inputs for the steps it did not
    /// reach; those of the build before it still tell what changed.
    fn merged_trace(&self, failed: bool) -> Trace {
        let mut trace = match failed {
            true => self.last.clone(),
            false => Trace::new(),
        };
        let now = self.trace.lock().unwrap_or_else(|e| e.into_inner());
        trace.extend(now.clone());
        trace
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
                let parent = state.base.clone();
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
        let image = self.builder.store.image(base)?;
        let same = image.config.history.len() == state.image.history.len();
        Ok(same.then(|| base.clone()))
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

/// What "the last build" means: the last one with the same first tag, or
/// without one the last one of a file with the same stages.
fn identity(options: &BuildOptions, file: &Dockerfile) -> String {
    match options.tags.first() {
        Some(tag) => tag.clone().or_latest().familiar(),
        None => {
            let heads = file.stages.iter().map(|s| s.head.text.clone());
            heads.collect::<Vec<_>>().join("\n")
        }
    }
}
