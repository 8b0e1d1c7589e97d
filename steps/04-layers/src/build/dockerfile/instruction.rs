//! What a Dockerfile says, as data.
//!
//! Text that may hold variables is kept as written, quotes included: which
//! value `$VERSION` has is known only when the build reaches the line.

use super::error::Excerpt;
use super::heredoc::Heredoc;
use super::run_mount::RunMount;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub command: Command,
    /// The instruction as written, continuation lines joined; printed after
    /// `Step 3/7 :`.
    pub text: String,
    /// Where it starts in the file, for errors while building.
    pub excerpt: Excerpt,
}

/// The instructions, one variant each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `FROM`: begin a stage.
    From(From),
    /// `RUN`: run a command, keep what it changed as a layer.
    Run(Run),
    /// `CMD`: the default command.
    Cmd(CommandLine),
    /// `ENTRYPOINT`: what the command is handed to.
    Entrypoint(CommandLine),
    /// `LABEL`: names and values, unexpanded.
    Label(Vec<(String, String)>),
    /// `ENV`: names and values, unexpanded.
    Env(Vec<(String, String)>),
    /// `MAINTAINER`: an author, the ancestor of a label.
    Maintainer(String),
    /// `EXPOSE`: ports such as `80`, `53/udp`, `8000-8010`.
    Expose(Vec<String>),
    /// `ADD`: COPY that also fetches URLs and unpacks local tars.
    Add(Copy),
    /// `COPY`: files of the context or of another stage, as a layer.
    Copy(Copy),
    /// `VOLUME`: paths that get a volume in every container.
    Volume(Vec<String>),
    /// `USER`: `name`, `uid`, `name:group`, `uid:gid`.
    User(String),
    /// `WORKDIR`: made if missing.
    Workdir(String),
    /// `ARG`: names with their defaults.
    Arg(Vec<(String, Option<String>)>),
    /// `ONBUILD`: an instruction for the image built on top of this one.
    Onbuild(String),
    /// `STOPSIGNAL`: a name or a number.
    StopSignal(String),
    /// `HEALTHCHECK`: how to ask the container whether it is well.
    Healthcheck(Health),
    /// `SHELL`: what the shell form is handed to.
    Shell(Vec<String>),
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage's name, or `scratch`.
    pub image: String,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// The stage's name, in lower case.
    pub name: Option<String>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A line for the shell.
    Shell(String),
    /// Arguments, taken as they are.
    Exec(Vec<String>),
}

/// `RUN` with its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: CommandLine,
    /// `--mount`, in order.
    pub mounts: Vec<RunMount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`: `sandbox` or `insecure`.
    pub security: Option<String>,
    /// A here-document that is the whole script (`RUN <<EOF`), if it is.
    /// In all other cases the documents are part of `command`.
    pub script: Option<Heredoc>,
}

/// One source of a COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path, pattern or URL, unexpanded.
    Path(String),
    /// A file whose content stands in the Dockerfile.
    Inline(Heredoc),
}

/// `COPY` and `ADD` with their flags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// What to copy, at least one.
    pub sources: Vec<CopySource>,
    /// Where to, unexpanded.
    pub destination: String,
    /// `--from`: a stage's name or number, or an image (COPY only).
    pub from: Option<String>,
    /// `--chown`, unexpanded.
    pub chown: Option<String>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<String>,
    /// `--link`: the copy does not look at what is below it.
    pub link: bool,
    /// `--parents`: keep the sources' directories (COPY only).
    pub parents: bool,
    /// `--exclude`, in order, patterns as in `.dockerignore`.
    pub exclude: Vec<String>,
    /// `--checksum=sha256:…` of a URL (ADD only).
    pub checksum: Option<String>,
    /// `--keep-git-dir` (ADD only).
    pub keep_git_dir: bool,
    /// `--unpack[=false]` (ADD only): overrides what ADD does by itself.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`; durations in nanoseconds, zero means "inherit".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// `NONE`: forget the base image's check.
    None,
    /// `CMD`.
    Check {
        /// What to run.
        command: CommandLine,
        /// `--interval`.
        interval: i64,
        /// `--timeout`.
        timeout: i64,
        /// `--start-period`.
        start_period: i64,
        /// `--start-interval`.
        start_interval: i64,
        /// `--retries`.
        retries: i64,
    },
}

impl Command {
    /// The instruction's word.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::From(_) => "FROM",
            Self::Run(_) => "RUN",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Label(_) => "LABEL",
            Self::Env(_) => "ENV",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Expose(_) => "EXPOSE",
            Self::Add(_) => "ADD",
            Self::Copy(_) => "COPY",
            Self::Volume(_) => "VOLUME",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::Arg(_) => "ARG",
            Self::Onbuild(_) => "ONBUILD",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Shell(_) => "SHELL",
        }
    }
}
