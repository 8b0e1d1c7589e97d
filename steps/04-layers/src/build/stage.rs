//! One stage from its FROM to its last line: a state, and how each instruction
//! turns it into the next.

use super::cache::Inputs;
use super::dockerfile::{Command, Dockerfile, Excerpt, Instruction};
use super::explain::{self, At, Cause, Step};
use super::metadata;
use super::options::{BuildError, BuildEvent, StepBegins, StepEnds};
use super::plan::Base;
use super::scope::Scope;
use super::session::Session;
use crate::{Digest, ImageConfig, ImageId, Platform};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, BuildError>;

/// What an image gets that says nothing about it. Docker writes it into the
/// config, so that `ENV PATH=$PATH:/opt/bin` works on any base.
const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage has become so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Config, layers and history, as they would be stored now.
    pub(super) image: ImageConfig,
    /// The key of the last step.
    pub(super) key: String,
    /// The variables in force.
    pub(super) scope: Scope,
    /// The image that the stage is FROM in the end, if it is one.
    pub(super) base: Option<ImageId>,
    /// What has made it another thing than in the last build.
    pub(super) cause: Option<Cause>,
    /// Whether this stage has set CMD itself; ENTRYPOINT resets only an
    /// inherited one.
    cmd_set: bool,
}

/// A stage under way.
pub(super) struct StageBuild<'s, 'a> {
    pub(super) session: &'s Session<'a>,
    /// Its turn to speak.
    place: usize,
    /// Its number in the file.
    pub(super) index: usize,
    /// The number of the last instruction announced.
    pub(super) step: usize,
    /// The ONBUILD instruction under way.
    pub(super) trigger: Option<String>,
    /// What its steps depended on, by their numbers.
    pub(super) done: BTreeMap<usize, Step>,
    /// How many of its steps that take time have begun.
    begun: usize,
    /// Whether the step under way came from the cache.
    pub(super) cached: bool,
}

impl<'s, 'a> StageBuild<'s, 'a> {
    /// The stage `index`, which is at `place` in the plan's order.
    pub(super) fn new(
        session: &'s Session<'a>,
        place: usize,
        index: usize,
    ) -> Self {
        let step = session.plan.steps_before(place, session.file);
        let (trigger, done) = (None, BTreeMap::new());
        let (begun, cached) = (0, false);
        Self { session, place, index, step, trigger, done, begun, cached }
    }

    /// FROM gives a state, each instruction turns it into the next.
    pub(super) fn run(&mut self) -> Result<State> {
        let session = self.session;
        let stage = &session.file.stages[self.index];
        self.announce(&stage.head);
        let mut state = self
            .timed(&stage.head, |this| this.begin(&stage.head))
            .map_err(|error| error.at(&stage.head.excerpt))?;
        for instruction in &stage.body {
            if session.board.stopped() {
                return Err(BuildError::Stopped);
            }
            self.announce(instruction);
            self.timed(instruction, |this| {
                this.instruction(&mut state, instruction)
            })
            .map_err(|error| error.at(&instruction.excerpt))?;
            self.arrow(&state);
        }
        if self.index == session.plan.target() {
            self.add_labels(&mut state)?;
        }
        Ok(state)
    }

    /// Tells when a step that takes time begins and how it ends.
    fn timed<T>(
        &mut self,
        instruction: &Instruction,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if !self.takes_time(instruction) {
            return work(self);
        }
        self.begun += 1;
        self.cached = false;
        let stage = &self.session.file.stages[self.index];
        let several = self.session.file.stages.len() > 1;
        let number = several.then(|| format!("stage-{}", self.index));
        let body = stage.body.iter().chain([&stage.head]);
        self.tell(BuildEvent::Begin(StepBegins {
            stage: stage.from.name.clone().or(number),
            place: self.begun,
            of: body.filter(|it| self.takes_time(it)).count(),
            text: self.shown(instruction),
        }));
        let result = work(self);
        self.tell(BuildEvent::End(match &result {
            Ok(_) if self.cached => StepEnds::Cached,
            Ok(_) => StepEnds::Done,
            Err(BuildError::Stopped) => StepEnds::Stopped,
            Err(_) => StepEnds::Failed,
        }));
        result
    }

    /// The text; of a FROM with the image's whole name.
    fn shown(&self, instruction: &Instruction) -> String {
        let written = || instruction.text.clone();
        let Command::From(_) = &instruction.command else { return written() };
        let Base::Image(name) = &self.session.plan.bases[self.index].0 else {
            return written();
        };
        match name.parse::<crate::Reference>() {
            Ok(reference) => format!("FROM {}", reference.or_latest()),
            Err(_) => written(),
        }
    }

    /// What only edits the config is done before anybody could look.
    fn takes_time(&self, instruction: &Instruction) -> bool {
        use Command::{Add, Copy, From, Run, Workdir};
        match &instruction.command {
            From(_) => {
                let (base, _) = &self.session.plan.bases[self.index];
                matches!(base, Base::Image(_))
            }
            command => {
                matches!(command, Add(_) | Copy(_) | Run(_) | Workdir(_))
            }
        }
    }

    /// Docker shows an arrow that points to nothing for `scratch`, and one
    /// arrow for the base image and all that it has brought along to be done.
    fn begin(&mut self, head: &Instruction) -> Result<State> {
        let (base, platform) = self.session.plan.bases[self.index].clone();
        match base {
            Base::Stage(below) => {
                let state = self.on_stage(below, head)?;
                self.arrow(&state);
                Ok(state)
            }
            Base::Scratch => Ok(self.on_scratch()),
            Base::Image(name) => {
                let mut state =
                    self.on_image(&name, platform.as_deref(), head)?;
                match self.run_triggers(&mut state, &head.excerpt)? {
                    0 => {
                        let id = state.base.as_ref().map(ImageId::short);
                        let id = id.unwrap_or_default();
                        self.line(format!(" ---> {id}\n"));
                    }
                    _ => self.arrow(&state),
                }
                Ok(state)
            }
        }
    }

    /// The state of the other stage goes on as if the file had not been
    /// interrupted; only the ARGs end with their stage.
    fn on_stage(&mut self, below: usize, head: &Instruction) -> Result<State> {
        // The plan has every stage that a FROM in it names.
        let Some(mut state) = self.session.board.wait(below)? else {
            unreachable!()
        };
        state.scope = Scope::new(self.session.file.directives.escape);
        state.scope.see_env(env(&state.image));
        state.cmd_set = false;
        let name = &self.session.file.stages[below].from.name;
        let inputs = Inputs {
            parent: state.key.clone(),
            instruction: format!("FROM {}", name.as_deref().unwrap_or("")),
            ..Inputs::default()
        };
        self.report_from(head, inputs, &mut state.cause);
        Ok(state)
    }

    fn on_scratch(&mut self) -> State {
        let platform = self.session.platform();
        let image = ImageConfig::scratch(&platform);
        let inputs = Inputs {
            instruction: "FROM scratch".into(),
            base: platform.to_string(),
            ..Inputs::default()
        };
        let head = &self.session.file.stages[self.index].head;
        let state = self.start(image, inputs, head);
        self.line(" ---> \n");
        state
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
            None => self.session.options.platform.clone(),
        };
        let id =
            self.fetch(name, platform.as_ref(), self.session.options.pull)?;
        let image = self.session.keep(&id)?;
        let inputs = Inputs {
            instruction: format!("FROM {name}"),
            base: id.to_string(),
            ..Inputs::default()
        };
        let mut state = self.start(image.config, inputs, head);
        state.base = Some(id);
        Ok(state)
    }

    /// Common to the kinds of FROM that begin with something new.
    fn start(
        &mut self,
        mut image: ImageConfig,
        inputs: Inputs,
        head: &Instruction,
    ) -> State {
        let vars = image.config.env.get_or_insert_default();
        if !vars.iter().any(|line| line.starts_with("PATH=")) {
            vars.push(format!("PATH={PATH}"));
        }
        let mut scope = Scope::new(self.session.file.directives.escape);
        scope.see_env(env(&image));
        let key = inputs.key();
        let mut cause = None;
        self.report_from(head, inputs, &mut cause);
        State { image, key, scope, base: None, cause, cmd_set: false }
    }

    /// FROM is looked up, not carried out; it "hits" when it found what it
    /// found the last time.
    fn report_from(
        &mut self,
        head: &Instruction,
        inputs: Inputs,
        cause: &mut Option<Cause>,
    ) {
        let comparison = &self.session.comparison;
        let hit = comparison.is_same(self.at(), &inputs);
        let reason = match hit {
            true => String::new(),
            false => comparison.reason(self.at(), &inputs, cause),
        };
        self.report(&head.text, hit, reason);
        self.note(inputs);
    }

    /// Finds an image in the store or gets it there. One for another platform
    /// is as good as none, as in Docker.
    pub(super) fn fetch(
        &self,
        name: &str,
        platform: Option<&Platform>,
        always: bool,
    ) -> Result<ImageId> {
        let here = self.session.builder.store.resolve(name).ok();
        if let Some(image) = here.filter(|it| !always && it.suits(platform)) {
            return Ok(image.id);
        }
        let reference = name
            .parse::<crate::Reference>()
            .map_err(crate::Error::from)?
            .or_latest();
        let progress = |progress| self.tell(BuildEvent::Pull(progress));
        let images = self.session.builder.images;
        Ok(images.fetch(&reference, platform, always, &progress)?)
    }

    /// The base image's ONBUILD instructions come first, once. They are part
    /// of the FROM, and have no numbers. Returns how many there are.
    fn run_triggers(
        &mut self,
        state: &mut State,
        at: &Excerpt,
    ) -> Result<usize> {
        let triggers = state.image.config.on_build.take().unwrap_or_default();
        let plural = if triggers.len() == 1 { "" } else { "s" };
        let count = triggers.len();
        if count > 0 {
            self.line(format!("# Executing {count} build trigger{plural}\n"));
        }
        for text in triggers {
            let mut instruction = Dockerfile::parse_one(&text)
                .map_err(|error| BuildError::step(error.message, at))?;
            instruction.excerpt = at.clone();
            self.trigger = Some(text);
            self.instruction(state, &instruction)?;
        }
        self.trigger = None;
        Ok(count)
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
            let value = match self.session.args.take(name) {
                Some(value) => Some(value),
                None => match default {
                    Some(text) => Some(say(&state.scope, text, instruction)?),
                    None => self.session.globals.get(name),
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

    /// Each `--label` is one more instruction at the end, as in Docker.
    fn add_labels(&mut self, state: &mut State) -> Result<()> {
        for (name, value) in &self.session.options.labels {
            let text = label(name, value);
            let length = text.chars().count();
            let file = String::new();
            let excerpt = Excerpt { file, line: 1, column: 1, length, text };
            let instruction = Instruction {
                // Nothing from the command line is expanded.
                command: Command::Label(vec![(quote(name), quote(value))]),
                text: excerpt.text.clone(),
                excerpt,
            };
            self.announce(&instruction);
            self.instruction(state, &instruction)?;
            self.arrow(state);
        }
        Ok(())
    }

    /// Heard when it is this stage's turn.
    pub(super) fn tell(&self, event: BuildEvent) {
        self.session.output.tell(self.place, event);
    }

    /// A line of Docker's classic output.
    pub(super) fn line(&self, text: impl Into<String>) {
        self.tell(BuildEvent::Line(text.into()));
    }

    fn announce(&mut self, instruction: &Instruction) {
        self.step += 1;
        self.line(self.session.step(self.step, &instruction.text));
    }

    /// The ID that an image would have if the file ended here: Docker really
    /// makes these images, we only name them.
    fn arrow(&self, state: &State) {
        let id = Digest::of(&state.image.to_bytes());
        self.line(format!(" ---> {}\n", id.short()));
    }

    /// Where in the file the build is, for comparing with the last one.
    pub(super) fn at(&self) -> At<'_> {
        At { number: self.step, trigger: self.trigger.as_deref() }
    }

    /// Keeps what the step depends on for the next build.
    pub(super) fn note(&mut self, inputs: Inputs) {
        let trigger = self.trigger.as_deref();
        let at = At { number: self.step, trigger };
        explain::note(&mut self.done, at, inputs);
    }
}

/// A `--label` as an instruction.
pub(super) fn label(name: &str, value: &str) -> String {
    format!("LABEL {name}={value}")
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
