//! The Dockerfile: from text to stages of instructions.
//!
//! [`Dockerfile::parse`] finds every mistake that can be found without
//! building. Each error shows the line with a caret under the culprit:
//!
//! ```
//! let mistake = layers::build::Dockerfile::parse("FROM a\nRUNN x\n");
//! assert_eq!(
//!     mistake.unwrap_err().to_string(),
//!     "dockerfile parse error on line 2: unknown instruction: RUNN \
//!      (did you mean RUN?)\n  2 | RUNN x\n    | ^^^^"
//! );
//! ```

mod error;
mod health;
mod heredoc;
mod instruction;
mod lines;
mod parse;
mod run_mount;
mod words;

pub use error::{Excerpt, SyntaxError};
pub use heredoc::Heredoc;
pub use instruction::{
    Command, CommandLine, Copy, CopySource, From, Health, Instruction, Run,
};
pub use lines::Directives;
pub use run_mount::{MountKind, RunMount};

/// A whole file, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The directives at the top.
    pub directives: Directives,
    /// `ARG`s before the first FROM: seen by every FROM, and inside a stage
    /// only after an `ARG` that names them again.
    pub globals: Vec<Instruction>,
    /// The stages, at least one.
    pub stages: Vec<Stage>,
}

/// `FROM` and what follows, up to the next `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The FROM.
    pub from: From,
    /// The FROM as an instruction, for its text and place.
    pub head: Instruction,
    /// The instructions after it.
    pub body: Vec<Instruction>,
}

impl Dockerfile {
    /// Parses the file's text.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (directives, lines) = lines::split(text)?;
        if lines.is_empty() {
            let message = "file with no instructions".to_owned();
            return Err(SyntaxError { message, excerpt: None });
        }
        let mut globals = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for line in &lines {
            let found = parse::instruction(line, directives.escape)?;
            match (&found.command, stages.last_mut()) {
                (Command::From(from), _) => stages.push(Stage {
                    from: from.clone(),
                    head: found,
                    body: Vec::new(),
                }),
                (_, Some(stage)) => stage.body.push(found),
                (Command::Arg(_), None) => globals.push(found),
                (_, None) => {
                    let message = "no build stage in current context";
                    return Err(line.error(line.keyword(), message));
                }
            }
        }
        if stages.is_empty() {
            let message = "no build stage in current context".to_owned();
            return Err(SyntaxError { message, excerpt: None });
        }
        Ok(Self { directives, globals, stages })
    }

    /// Parses one instruction that stands alone: an ONBUILD trigger of a
    /// base image, or a `--change` of commit and import.
    pub fn parse_one(text: &str) -> Result<Instruction, SyntaxError> {
        let (directives, lines) = lines::split(text)?;
        match lines.as_slice() {
            [line] => parse::instruction(line, directives.escape),
            _ => Err(SyntaxError {
                message: format!("expected one instruction, got {text:?}"),
                excerpt: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
