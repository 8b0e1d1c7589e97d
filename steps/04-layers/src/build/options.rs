//! What a build is asked to do, what it tells on the way, how it fails.

use super::dockerfile::{Excerpt, SyntaxError};
use super::entitlement::Entitlement;
use crate::registry::{Cancel, Progress};
use crate::{ImageId, Platform, Reference, RunMount, Stream};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// The flags of `docker build`.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// `--file`: the Dockerfile's path in the context; `Dockerfile` if empty.
    pub dockerfile: PathBuf,
    /// The directory that the Dockerfile's path begins in, if that is not
    /// the context.
    pub dockerfile_dir: Option<PathBuf>,
    /// `--target`: the stage to stop at.
    pub target: Option<String>,
    /// `--tag`.
    pub tags: Vec<Reference>,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`: ask the registry even for base images that are here.
    pub pull: bool,
    /// `--cache-from`: images whose history is reused, and nothing else.
    pub cache_from: Vec<String>,
    /// `--build-context`: images, by the names that stand for them in FROM
    /// and `--from`.
    pub contexts: BTreeMap<String, String>,
    /// Images whose history is reused where the cache has nothing:
    /// BuildKit's `--cache-from`.
    pub cache_also_from: Vec<String>,
    /// `--network` of every RUN: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--add-host`, `HOST:IP` each.
    pub add_hosts: Vec<String>,
    /// `--squash`: refused by name.
    pub squash: bool,
    /// `--secret`: contents by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// `--ssh`: agents' sockets by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Make an image, without a name, of the file system in which a RUN has
    /// failed.
    pub keep_failed: bool,
    /// `SOURCE_DATE_EPOCH`: seconds since 1970. No time in the image is
    /// later, and its own times are this one.
    pub source_date_epoch: Option<u64>,
    /// Where the context comes from, as a person would name it. It tells
    /// builds without a name apart when they are compared with their last.
    pub origin: String,
    /// `--allow`: what no RUN may have without it.
    pub allow: BTreeSet<Entitlement>,
    /// Ends what waits for a server.
    pub cancel: Cancel,
}

/// What happens, in order.
#[derive(Debug, Clone)]
pub enum BuildEvent {
    /// A FROM of an image, or an instruction that may change files, begins.
    Begin(StepBegins),
    /// It has ended, one way or the other.
    End(StepEnds),
    /// A line of the classic build, with its newline: `Step 1/6 : FROM a`.
    Line(String),
    /// What a RUN wrote.
    Output(Stream, Vec<u8>),
    /// A base image is on its way.
    Pull(Progress),
    /// Whether the cache was used for an instruction, and why not.
    Cache(CacheReport),
    /// The file system of the RUN that failed, see
    /// [`BuildOptions::keep_failed`], and what was mounted over it.
    Failed(ImageId, Vec<RunMount>),
    /// The finished image, before its tags are set.
    Image(ImageId),
}

/// A step that takes time, for who draws the progress of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepBegins {
    /// The stage's name, or the one that it has by its number if there are
    /// several.
    pub stage: Option<String>,
    /// Which of the stage's steps it is, from one.
    pub place: usize,
    /// How many steps the stage has.
    pub of: usize,
    /// The instruction's text.
    pub text: String,
}

/// How a step has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEnds {
    /// It was carried out.
    Done,
    /// The result of an earlier build was used.
    Cached,
    /// The build fails, and because of this step.
    Failed,
    /// It was given up, since another stage has failed.
    Stopped,
}

/// One line of `build --explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheReport {
    /// The instruction's number, as in `Step 3/6`.
    pub step: usize,
    /// The instruction's text.
    pub instruction: String,
    /// Whether the base image brought it along (ONBUILD).
    pub trigger: bool,
    /// Whether the result of an earlier build was used.
    pub hit: bool,
    /// What is different from the last build; empty for a hit.
    pub reason: String,
}

/// As `--explain` shows it. A trigger has no `Step` line that says its text.
impl fmt::Display for CacheReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trigger {
            write!(f, "ONBUILD {}: ", self.instruction)?;
        }
        match self.hit {
            true => f.write_str("HIT"),
            false => write!(f, "MISS: {}", self.reason),
        }
    }
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile does not parse.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// An instruction could not be carried out.
    #[error("{message}{}", quoted(excerpt.as_ref()))]
    Step {
        /// Docker's sentence, or ours.
        message: String,
        /// The instruction's line.
        excerpt: Option<Excerpt>,
    },
    /// A RUN's process failed.
    #[error(
        "The command '{command}' returned a non-zero code: {code}{}",
        quoted(Some(excerpt))
    )]
    Command {
        /// The arguments, joined by blanks.
        command: String,
        /// Its exit code.
        code: i32,
        /// The instruction's line.
        excerpt: Excerpt,
    },
    /// Another stage has failed, and this one was given up for it.
    #[error("stopped because another stage has failed")]
    Stopped,
    /// A flag that this builder does not have.
    #[error("{flag} is not supported: {reason}")]
    Refused {
        /// The flag.
        flag: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// The store, the registry or a file system said no.
    #[error("{error}{}", quoted(excerpt.as_ref()))]
    Layers {
        /// What it said.
        error: Box<crate::Error>,
        /// The line of the instruction that wanted it.
        excerpt: Option<Excerpt>,
    },
}

impl From<crate::Error> for BuildError {
    fn from(error: crate::Error) -> Self {
        Self::Layers { error: Box::new(error), excerpt: None }
    }
}

impl BuildError {
    /// The `code` of the API's `errorDetail`, and the client's exit code.
    pub fn code(&self) -> i32 {
        match self {
            Self::Command { code, .. } => *code,
            _ => 1,
        }
    }

    /// An instruction that could not be carried out.
    pub(super) fn step(message: impl Into<String>, at: &Excerpt) -> Self {
        let excerpt = Some(at.clone());
        Self::Step { message: message.into(), excerpt }
    }

    /// The same with the instruction's line, if it has no place of its own.
    pub(super) fn at(self, at: &Excerpt) -> Self {
        let place = || Some(at.clone());
        match self {
            Self::Step { message, excerpt } => {
                Self::Step { message, excerpt: excerpt.or_else(place) }
            }
            Self::Layers { error, excerpt } => {
                Self::Layers { error, excerpt: excerpt.or_else(place) }
            }
            other => other,
        }
    }

    /// The same with the Dockerfile's name, if it is about a line of it.
    pub(super) fn in_file(mut self, name: &Path) -> Self {
        let excerpt = match &mut self {
            Self::Syntax(SyntaxError { excerpt, .. })
            | Self::Step { excerpt, .. }
            | Self::Layers { excerpt, .. } => excerpt.as_mut(),
            Self::Command { excerpt, .. } => Some(excerpt),
            Self::Stopped | Self::Refused { .. } => None,
        };
        if let Some(excerpt) = excerpt {
            excerpt.file = name.display().to_string();
        }
        self
    }

    /// The place in the Dockerfile.
    pub fn excerpt(&self) -> Option<&Excerpt> {
        match self {
            Self::Syntax(SyntaxError { excerpt, .. })
            | Self::Step { excerpt, .. }
            | Self::Layers { excerpt, .. } => excerpt.as_ref(),
            Self::Command { excerpt, .. } => Some(excerpt),
            Self::Stopped | Self::Refused { .. } => None,
        }
    }

    /// What is wrong, which may be several lines long, and apart from it the
    /// place in the Dockerfile that the whole text ends with.
    pub fn parts(&self) -> (String, Option<String>) {
        let text = self.to_string();
        let place = quoted(self.excerpt());
        match text.strip_suffix(&place) {
            Some(sentence) if !place.is_empty() => {
                (sentence.to_owned(), Some(place[1..].to_owned()))
            }
            _ => (text, None),
        }
    }
}

/// The line of the Dockerfile, under the sentence.
fn quoted(excerpt: Option<&Excerpt>) -> String {
    excerpt.map(|at| format!("\n{at}")).unwrap_or_default()
}
