//! One stage from its FROM to its last line: a state, and how each instruction
//! turns it into the next.

use super::cache::{Inputs, Trace};
use super::dockerfile::{Command, Dockerfile, Excerpt, Instruction};
use super::metadata;
use super::options::{BuildError, BuildEvent, CacheReport};
use super::plan::Base;
use super::scope::Scope;
use super::session::Session;
use crate::{Digest, ImageConfig, ImageId, Platform};

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
    /// The inputs of its steps.
    pub(super) trace: Trace,
}

impl<'s, 'a> StageBuild<'s, 'a> {
    /// The stage `index`, which is at `place` in the plan's order.
    pub(super) fn new(
        session: &'s Session<'a>,
        place: usize,
        index: usize,
    ) -> Self {
        let step = session.plan.steps_before(place, session.file);
        Self { session, place, index, step, trace: Trace::new() }
    }

    /// FROM gives a state, each instruction turns it into the next.
    pub(super) fn run(&mut self) -> Result<State> {
        let session = self.session;
        let stage = &session.file.stages[self.index];
        self.announce(&stage.head);
        let (base, platform) = session.plan.bases[self.index].clone();
        let mut state = match base {
            Base::Stage(below) => self.on_stage(below)?,
            Base::Scratch => self.on_scratch(),
            Base::Image(name) => {
                self.on_image(&name, platform.as_deref(), &stage.head)?
            }
        };
        self.run_triggers(&mut state, &stage.head.excerpt)?;
        for instruction in &stage.body {
            if session.board.stopped() {
                return Err(BuildError::Stopped);
            }
            self.announce(instruction);
            self.instruction(&mut state, instruction)?;
            self.arrow(&state);
        }
        if self.index == session.plan.target() {
            self.add_labels(&mut state)?;
        }
        Ok(state)
    }

    /// The state of the other stage goes on as if the file had not been
    /// interrupted; only the ARGs end with their stage.
    fn on_stage(&mut self, below: usize) -> Result<State> {
        // The plan has every stage that a FROM in it names.
        let Some(mut state) = self.session.board.wait(below)? else {
            unreachable!()
        };
        state.scope = Scope::new(self.session.file.directives.escape);
        state.scope.see_env(env(&state.image));
        state.cmd_set = false;
        self.arrow(&state);
        Ok(state)
    }

    /// Docker prints an arrow that points to nothing here.
    fn on_scratch(&mut self) -> State {
        let platform = self.session.platform();
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
            None => self.session.options.platform.clone(),
        };
        let id =
            self.fetch(name, platform.as_ref(), self.session.options.pull)?;
        let image = self.session.builder.store.image(&id)?;
        let inputs = Inputs {
            instruction: format!("FROM {name}"),
            base: id.to_string(),
            ..Inputs::default()
        };
        let mut state = self.start(image.config, inputs);
        self.line(format!(" ---> {}\n", id.short()));
        state.base = Some(id);
        Ok(state)
    }

    /// Common to all kinds of FROM.
    fn start(&mut self, mut image: ImageConfig, inputs: Inputs) -> State {
        let vars = image.config.env.get_or_insert_default();
        if !vars.iter().any(|line| line.starts_with("PATH=")) {
            vars.push(format!("PATH={PATH}"));
        }
        let mut scope = Scope::new(self.session.file.directives.escape);
        scope.see_env(env(&image));
        let key = inputs.key();
        let report = self.report_base(&inputs);
        self.trace.insert(self.place(), inputs);
        self.tell(BuildEvent::Cache(report));
        State { image, key, scope, base: None, cmd_set: false }
    }

    /// FROM is looked up, not carried out; it "hits" when it found what it
    /// found the last time.
    fn report_base(&self, inputs: &Inputs) -> CacheReport {
        let last = self.session.last.get(&self.place());
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
        &self,
        name: &str,
        platform: Option<&Platform>,
        always: bool,
    ) -> Result<ImageId> {
        if !always && let Ok(image) = self.session.builder.store.resolve(name) {
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
            let text = format!("LABEL {name}={value}");
            let length = text.chars().count();
            let excerpt = Excerpt { line: 1, column: 1, length, text };
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

    /// `Step 3/7 : COPY . .`
    fn announce(&mut self, instruction: &Instruction) {
        self.step_to(&instruction.text);
    }

    /// Triggers and labels are steps without a line in the file.
    fn step_to(&mut self, text: &str) {
        self.step += 1;
        let labels = self.session.options.labels.len();
        let total = self.session.plan.steps + labels;
        let step = self.step.min(total);
        self.line(format!("Step {step}/{total} : {text}\n"));
    }

    /// The ID that an image would have if the file ended here: Docker really
    /// makes these images, we only name them.
    fn arrow(&self, state: &State) {
        let id = Digest::of(&state.image.to_bytes());
        self.line(format!(" ---> {}\n", id.short()));
    }

    /// Where in the file the build is, for comparing with the last one.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.index, self.step)
    }
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
