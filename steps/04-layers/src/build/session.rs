//! One build from its first stage to its last: the loop over instructions,
//! and what they share.

use super::Builder;
use super::cache::{Cache, Inputs, Trace};
use super::dockerfile::{Command, Dockerfile, Excerpt, Instruction};
use super::metadata;
use super::options::{BuildError, BuildEvent, BuildOptions, CacheReport};
use super::plan::{Base, Plan};
use super::scope::{BuildArgs, Scope};
use super::tree::Tree;
use crate::store::NewImage;
use crate::{Digest, ImageConfig, ImageId, Lease, Platform};

type Result<T> = std::result::Result<T, BuildError>;

/// What an image gets that says nothing about it. Docker writes it into the
/// config, so that `ENV PATH=$PATH:/opt/bin` works on any base.
const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where events go.
pub(super) type Events<'a> = &'a mut (dyn FnMut(BuildEvent) + Send);

/// What a stage has become so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Config, layers and history, as they would be stored now.
    pub(super) image: ImageConfig,
    /// The key of the last step.
    pub(super) key: String,
    /// The variables in force.
    pub(super) scope: Scope,
    /// Whether this stage has set CMD itself; ENTRYPOINT resets only an
    /// inherited one.
    cmd_set: bool,
}

/// A build under way.
pub(super) struct Session<'a> {
    pub(super) builder: &'a Builder<'a>,
    pub(super) options: &'a BuildOptions,
    pub(super) file: &'a Dockerfile,
    pub(super) context: Tree,
    pub(super) cache: Cache,
    /// Keeps the layers of this build while no image names them.
    pub(super) lease: Lease,
    pub(super) events: Events<'a>,
    pub(super) args: BuildArgs,
    /// The global ARGs.
    globals: Scope,
    plan: Plan,
    /// The finished stages, by number.
    pub(super) done: Vec<Option<State>>,
    /// The stage being built.
    pub(super) stage: usize,
    pub(super) step: usize,
    /// The image that the last stage is FROM, if it is one.
    base: Option<ImageId>,
    pub(super) last: Trace,
    pub(super) trace: Trace,
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
        let mut args = BuildArgs::new(&options.args);
        let globals = globals(file, options, &mut args)?;
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
            events,
            args,
            globals,
            done: vec![None; file.stages.len()],
            plan,
            stage: 0,
            step: 0,
            base: None,
            last,
            trace: Trace::new(),
        })
    }

    /// Builds what the target needs and stores the image.
    pub(super) fn run(mut self) -> Result<ImageId> {
        for index in self.plan.order.clone() {
            self.stage = index;
            let state = self.build_stage(index);
            // A failed build is compared with as well: its steps up to the
            // failure are what the next attempt starts from.
            let identity = identity(self.options, self.file);
            let trace = self.merged_trace(state.is_err());
            self.cache.put_trace(&identity, &trace)?;
            self.done[index] = Some(state?);
        }
        let target = self.done[self.stage].take();
        // The loop has just filled it.
        let Some(mut state) = target else { unreachable!() };
        self.add_labels(&mut state)?;
        self.warn_of_unused();
        self.store(&state)
    }

    /// A build that failed half-way has no inputs for the steps it did not
    /// reach; those of the build before it still tell what changed.
    fn merged_trace(&self, failed: bool) -> Trace {
        let mut trace = match failed {
            true => self.last.clone(),
            false => Trace::new(),
        };
        trace.extend(self.trace.clone());
        trace
    }

    /// FROM gives a state, each instruction turns it into the next.
    fn build_stage(&mut self, index: usize) -> Result<State> {
        let stage = &self.file.stages[index];
        self.announce(&stage.head);
        let (base, platform) = self.plan.bases[index].clone();
        let mut state = match base {
            Base::Stage(below) => self.on_stage(below),
            Base::Scratch => self.on_scratch(),
            Base::Image(name) => {
                self.on_image(&name, platform.as_deref(), &stage.head)?
            }
        };
        self.run_triggers(&mut state, &stage.head.excerpt)?;
        for instruction in &stage.body {
            self.announce(instruction);
            self.instruction(&mut state, instruction)?;
            self.arrow(&state);
        }
        Ok(state)
    }

    /// The state of the other stage goes on as if the file had not been
    /// interrupted; only the ARGs end with their stage.
    fn on_stage(&mut self, below: usize) -> State {
        // Stages are built in the plan's order, so `below` is done.
        let Some(mut state) = self.done[below].clone() else { unreachable!() };
        state.scope = Scope::new(self.file.directives.escape);
        state.scope.see_env(env(&state.image));
        state.cmd_set = false;
        self.arrow(&state);
        state
    }

    /// Docker prints an arrow that points to nothing here.
    fn on_scratch(&mut self) -> State {
        self.base = None;
        let platform = self.platform();
        let image = ImageConfig::scratch(&platform);
        let inputs = Inputs {
            instruction: "FROM scratch".into(),
            base: platform.to_string(),
            ..Inputs::default()
        };
        self.line(" ---> \n");
        self.start(image, inputs)
    }

    /// The key begins with the image's ID and not with its name: what
    /// `debian:12` means changes, and then everything has to run again.
    fn on_image(
        &mut self,
        name: &str,
        platform: Option<&str>,
        head: &Instruction,
    ) -> Result<State> {
        let wrong = |e: &dyn std::fmt::Display| {
            BuildError::step(e.to_string(), &head.excerpt)
        };
        let platform = match platform {
            Some(text) => {
                Some(text.parse::<Platform>().map_err(|e| wrong(&e))?)
            }
            None => self.options.platform.clone(),
        };
        let id = self.fetch(name, platform.as_ref(), self.options.pull)?;
        let image = self.builder.store.image(&id)?;
        self.base = Some(id.clone());
        let inputs = Inputs {
            instruction: format!("FROM {name}"),
            base: id.to_string(),
            ..Inputs::default()
        };
        let state = self.start(image.config, inputs);
        self.line(format!(" ---> {}\n", id.short()));
        Ok(state)
    }

    /// Common to all kinds of FROM.
    fn start(&mut self, mut image: ImageConfig, inputs: Inputs) -> State {
        let vars = image.config.env.get_or_insert_default();
        if !vars.iter().any(|line| line.starts_with("PATH=")) {
            vars.push(format!("PATH={PATH}"));
        }
        let mut scope = Scope::new(self.file.directives.escape);
        scope.see_env(env(&image));
        let key = inputs.key();
        let report = self.report_base(&inputs);
        self.trace.insert(self.place(), inputs);
        (self.events)(BuildEvent::Cache(report));
        State { image, key, scope, cmd_set: false }
    }

    /// FROM is looked up, not carried out; it "hits" when it found what it
    /// found the last time.
    fn report_base(&self, inputs: &Inputs) -> CacheReport {
        let last = self.last.get(&self.place());
        let hit = last.is_some_and(|last| last == inputs);
        let reason = match hit {
            true => String::new(),
            false => inputs.reason(last),
        };
        let instruction = inputs.instruction.clone();
        CacheReport { step: self.step, instruction, hit, reason }
    }

    /// Finds an image in the store or gets it there.
    pub(super) fn fetch(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
        always: bool,
    ) -> Result<ImageId> {
        if !always && let Ok(image) = self.builder.store.resolve(name) {
            return Ok(image.id);
        }
        let reference = name
            .parse::<crate::Reference>()
            .map_err(crate::Error::from)?
            .or_latest();
        let events = std::sync::Mutex::new(&mut self.events);
        let progress = |progress| {
            if let Ok(mut events) = events.lock() {
                events(BuildEvent::Pull(progress));
            }
        };
        let images = self.builder.images;
        Ok(images.fetch(&reference, platform, always, &progress)?)
    }

    /// The base image's ONBUILD instructions come first, once.
    fn run_triggers(&mut self, state: &mut State, at: &Excerpt) -> Result<()> {
        let triggers = state.image.config.on_build.take().unwrap_or_default();
        let plural = if triggers.len() == 1 { "" } else { "s" };
        if !triggers.is_empty() {
            let count = triggers.len();
            self.line(format!("# Executing {count} build trigger{plural}\n"));
        }
        for text in triggers {
            let mut instruction = Dockerfile::parse_one(&text)
                .map_err(|error| BuildError::step(error.message, at))?;
            instruction.excerpt = at.clone();
            self.step -= 1;
            self.step_to(&text);
            self.instruction(state, &instruction)?;
        }
        Ok(())
    }

    /// Three kinds: those that change files, those that change which variables
    /// there are, and those that only edit the config.
    fn instruction(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
    ) -> Result<()> {
        let at = &instruction.excerpt;
        match &instruction.command {
            Command::Run(run) => self.run_step(state, run, instruction),
            Command::Copy(copy) | Command::Add(copy) => {
                self.copy_step(state, copy, instruction)
            }
            Command::Arg(args) => self.arg(state, args, instruction),
            Command::Workdir(_) => self.workdir(state, instruction),
            Command::Maintainer(author) => {
                state.image.author = Some(author.clone());
                let said = format!("MAINTAINER {author}");
                self.metadata(state, instruction, said)
            }
            command => {
                let config = &mut state.image.config;
                let said = metadata::apply(config, command, &state.scope)
                    .map_err(|message| BuildError::step(message, at))?
                    .unwrap_or_default();
                match command {
                    Command::Cmd(_) => state.cmd_set = true,
                    Command::Entrypoint(_) if !state.cmd_set => {
                        config.cmd = None;
                    }
                    _ => {}
                }
                state.scope.see_env(env(&state.image));
                self.metadata(state, instruction, said)
            }
        }
    }

    /// A step without files: only its time comes from the cache.
    fn metadata(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        said: String,
    ) -> Result<()> {
        let inputs = Inputs {
            parent: state.key.clone(),
            instruction: said.clone(),
            ..Inputs::default()
        };
        let by = format!("/bin/sh -c #(nop)  {said}");
        self.step_through(state, inputs, &by, instruction, |_, _| Ok(None))
    }

    /// A value comes from the command line, else from the default, else from
    /// a global ARG of the same name; a name without any stays unset. The
    /// values belong to the keys of the RUNs that see them and not to this
    /// step's: an ARG that nobody uses should cost nothing.
    fn arg(
        &mut self,
        state: &mut State,
        args: &[(String, Option<String>)],
        instruction: &Instruction,
    ) -> Result<()> {
        for (name, default) in args {
            let value = match self.args.take(name) {
                Some(value) => Some(value),
                None => match default {
                    Some(text) => Some(say(&state.scope, text, instruction)?),
                    None => self.globals.get(name),
                },
            };
            if let Some(value) = value {
                state.scope.set(name, &value);
            }
        }
        let name = |(name, default): &(String, Option<String>)| match default {
            Some(default) => format!("{name}={default}"),
            None => name.clone(),
        };
        let names: Vec<String> = args.iter().map(name).collect();
        self.metadata(state, instruction, format!("ARG {}", names.join(" ")))
    }

    /// `--label` is one more instruction at the end.
    fn add_labels(&mut self, state: &mut State) -> Result<()> {
        if self.options.labels.is_empty() {
            return Ok(());
        }
        let pairs = self.options.labels.iter();
        let quoted = pairs.map(|(k, v)| format!("{}={}", quote(k), quote(v)));
        let text = format!("LABEL {}", quoted.collect::<Vec<_>>().join(" "));
        let mut instruction = Dockerfile::parse_one(&text)?;
        instruction.command = Command::Label(
            self.options
                .labels
                .iter()
                .map(|(k, v)| (quote(k), quote(v)))
                .collect(),
        );
        self.announce(&instruction);
        self.instruction(state, &instruction)?;
        self.arrow(state);
        Ok(())
    }

    /// A mistyped `--build-arg` is otherwise without any effect, and nobody
    /// notices.
    fn warn_of_unused(&mut self) {
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
    fn store(&mut self, state: &State) -> Result<ImageId> {
        if state.image.history.is_empty() {
            let message = "No image was generated. Is your Dockerfile empty?";
            let excerpt = None;
            return Err(BuildError::Step { message: message.into(), excerpt });
        }
        let bytes = state.image.to_bytes();
        let store = self.builder.store;
        let parent = self.base.clone();
        let known = NewImage { parent, ..NewImage::default() };
        let id = store.put_image(&self.lease, &bytes, known)?;
        (self.events)(BuildEvent::Image(id.clone()));
        self.line(format!("Successfully built {}\n", id.short()));
        for tag in &self.options.tags {
            let tag = tag.clone().or_latest();
            store.tag(&tag, &id)?;
            let name = tag.familiar();
            self.line(format!("Successfully tagged {name}\n"));
        }
        Ok(id)
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

    /// A line of Docker's classic output.
    pub(super) fn line(&mut self, text: impl Into<String>) {
        (self.events)(BuildEvent::Line(text.into()));
    }

    /// `Step 3/7 : COPY . .`
    fn announce(&mut self, instruction: &Instruction) {
        self.step_to(&instruction.text);
    }

    /// Triggers and labels are steps without a line in the file.
    fn step_to(&mut self, text: &str) {
        self.step += 1;
        let labels = usize::from(!self.options.labels.is_empty());
        let total = self.plan.steps + labels;
        let step = self.step.min(total);
        self.line(format!("Step {step}/{total} : {text}\n"));
    }

    /// The ID that an image would have if the file ended here: Docker really
    /// makes these images, we only name them.
    fn arrow(&mut self, state: &State) {
        let id = Digest::of(&state.image.to_bytes());
        self.line(format!(" ---> {}\n", id.short()));
    }

    /// Where in the file the build is, for comparing with the last one.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.stage, self.step)
    }
}

/// The ARGs before the first FROM, and the platform ones.
fn globals(
    file: &Dockerfile,
    options: &BuildOptions,
    args: &mut BuildArgs,
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

/// Expands a text of an instruction.
pub(super) fn say(
    scope: &Scope,
    text: &str,
    at: &Instruction,
) -> Result<String> {
    super::expand::expand(text, scope.escape, &|name| scope.get(name))
        .map_err(|error| BuildError::step(error.to_string(), &at.excerpt))
}

/// The image's environment, `NAME=value` each.
pub(super) fn env(image: &ImageConfig) -> &[String] {
    image.config.env.as_deref().unwrap_or_default()
}

/// As a Dockerfile would have to write it, so that nothing in it counts.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\"'\"'"))
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
