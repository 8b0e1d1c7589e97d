//! `--format`: the part of Go's templates that people type.
//!
//! `{{.Name}}`, pipelines, `json`, `join`, `upper` …, `if`, `range`, `with`
//! and variables. A template is parsed into a tree once and run for each
//! row; data is JSON.

mod eval;
mod functions;
mod lex;
mod parse;

use serde_json::Value;
use thiserror::Error;

use super::failure::Failure;

/// What is wrong with a template, in Go's words where people know them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("template parsing error: template: {0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    pub(super) fn new(text: impl Into<String>) -> TemplateError {
        TemplateError(text.into())
    }
}

/// A template, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<parse::Node>);

impl Template {
    /// Parses a template; `\t` and `\n` in it mean a tab and a new line, as
    /// they do for the docker command.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub(crate) fn parse(text: &str) -> Result<Template, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        parse::parse(&text).map(Template)
    }

    /// The same for what is shown once and is no list: a template that does
    /// not parse ends such a command with 64, as docker does.
    ///
    /// # Errors
    /// [`Failure`] with that code.
    pub(super) fn parse_or_64(text: &str) -> Result<Template, Failure> {
        Template::parse(text).map_err(|why| Failure::new(64, why.to_string()))
    }

    /// Fills it in with `data`.
    ///
    /// # Errors
    /// [`TemplateError`], for example for a field that does not exist.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        eval::render(&self.0, data)
    }
}

#[cfg(test)]
mod tests;
