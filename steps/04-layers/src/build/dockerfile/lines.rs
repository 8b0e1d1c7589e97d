//! From a file's lines to one logical line per instruction.
//!
//! Four things happen before any instruction is looked at, in the order in
//! which Docker does them: parser directives at the very top, comments,
//! continuation lines, here-documents. A logical line remembers where each
//! of its pieces came from, so that an error in the middle of a ten-line RUN
//! can still point at the physical line.

use super::error::{Excerpt, SyntaxError};
use super::heredoc::{self, Heredoc};
use std::ops::Range;
use std::sync::Arc;

/// The `# name=value` lines before anything else in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the front end asked for. Recorded, not obeyed: this
    /// builder is the only front end there is.
    pub syntax: Option<String>,
    /// `# escape=`: a backslash, or a backtick for Windows' paths.
    pub escape: char,
    /// `# check=`: which lint rules to skip. Recorded only.
    pub check: Option<String>,
}

/// The physical lines, shared by every error that may quote one.
pub(super) type Source = Arc<[String]>;

/// One instruction's text with its continuation lines joined.
#[derive(Debug, Clone)]
pub(super) struct Logical {
    /// The joined text, without leading blanks.
    pub(super) text: String,
    /// Here-documents opened on this line, in order.
    pub(super) heredocs: Vec<Heredoc>,
    source: Source,
    pieces: Vec<Piece>,
}

/// "From byte `at` of the text on, we are in `line`, byte `offset`."
#[derive(Debug, Clone, Copy)]
struct Piece {
    at: usize,
    line: usize,
    offset: usize,
}

impl Logical {
    /// The place in the file of a byte range of `text`.
    pub(super) fn excerpt(&self, range: Range<usize>) -> Excerpt {
        let index = self
            .pieces
            .iter()
            .rposition(|piece| piece.at <= range.start)
            .unwrap_or(0);
        let piece = self.pieces[index];
        // A stretch that runs over a line end is shown up to that end.
        let end = self
            .pieces
            .get(index + 1)
            .map_or(range.end, |next| range.end.min(next.at));
        let line = &self.source[piece.line];
        let start = piece.offset + range.start.saturating_sub(piece.at);
        let column = line.get(..start).map_or(0, |s| s.chars().count()) + 1;
        let length = self
            .text
            .get(range.start..end.max(range.start))
            .map_or(1, |s| s.trim_end().chars().count().max(1));
        let (file, text) = (String::new(), line.clone());
        Excerpt { file, line: piece.line + 1, column, length, text }
    }

    /// An error about a byte range of `text`.
    pub(super) fn error(
        &self,
        range: Range<usize>,
        message: impl Into<String>,
    ) -> SyntaxError {
        let excerpt = Some(self.excerpt(range));
        SyntaxError { message: message.into(), excerpt }
    }

    /// Where the instruction's own word stands.
    pub(super) fn keyword(&self) -> Range<usize> {
        let end = self.text.find(char::is_whitespace);
        0..end.unwrap_or(self.text.len())
    }
}

/// Splits a whole file. Comment and blank lines leave no trace.
pub(super) fn split(
    text: &str,
) -> Result<(Directives, Vec<Logical>), SyntaxError> {
    // Editors on Windows write a byte order mark and CRLF; Docker drops both.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source: Source = text.lines().map(String::from).collect();
    let (directives, mut next) = directives(&source)?;
    let mut found = Vec::new();
    while next < source.len() {
        if is_comment_or_blank(&source[next]) {
            next += 1;
            continue;
        }
        let (logical, after) = join(&source, next, directives.escape);
        next = after;
        found.push(heredoc::attach(logical, &source, &mut next)?);
    }
    Ok((directives, found))
}

/// Reads directives until the first line that is none: a blank line, an
/// ordinary comment or an instruction ends them for good.
fn directives(source: &Source) -> Result<(Directives, usize), SyntaxError> {
    let mut found = Directives { syntax: None, escape: '\\', check: None };
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in source.iter().enumerate() {
        let Some((name, value)) = directive(line) else {
            return Ok((found, index));
        };
        if seen.contains(&name) {
            let message =
                format!("only one {name} parser directive can be used");
            return Err(whole_line(source, index, message));
        }
        match name.as_str() {
            "syntax" => found.syntax = Some(value),
            "check" => found.check = Some(value),
            "escape" if value == "\\" => {}
            "escape" if value == "`" => found.escape = '`',
            "escape" => {
                let message = format!(
                    "invalid escape token '{value}' does not match ` or \\"
                );
                return Err(whole_line(source, index, message));
            }
            _ => return Ok((found, index)),
        }
        seen.push(name);
    }
    Ok((found, source.len()))
}

/// `# name=value`, and nothing else on the line. A comment that happens to
/// hold a `=` after several words is not taken for one.
fn directive(line: &str) -> Option<(String, String)> {
    let rest = line.trim_start().strip_prefix('#')?;
    let (name, value) = rest.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let word = name.chars().all(|c| c.is_ascii_alphanumeric());
    (word && !name.is_empty() && !value.is_empty())
        .then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

/// An error about a line that no instruction has come from.
pub(super) fn whole_line(
    source: &Source,
    index: usize,
    message: String,
) -> SyntaxError {
    let text = source[index].clone();
    let length = text.chars().count().max(1);
    let (file, line) = (String::new(), index + 1);
    let excerpt = Some(Excerpt { file, line, column: 1, length, text });
    SyntaxError { message, excerpt }
}

/// Joins the line at `first` with those that continue it; returns it and
/// the index of the line after.
fn join(source: &Source, first: usize, escape: char) -> (Logical, usize) {
    let mut text = String::new();
    let mut pieces = Vec::new();
    let mut index = first;
    loop {
        let line = &source[index];
        // Only the first line loses its indentation: inside a quoted string
        // the blanks of a continuation line belong to the string.
        let body = if index == first { line.trim_start() } else { line };
        let offset = line.len() - body.len();
        pieces.push(Piece { at: text.len(), line: index, offset });
        index += 1;
        let Some(body) = continued(body, escape) else {
            text.push_str(body);
            break;
        };
        text.push_str(body);
        // Comments between continuation lines vanish, and so do blank
        // lines, which Docker accepts with a warning.
        while index < source.len() && is_comment_or_blank(&source[index]) {
            index += 1;
        }
        if index == source.len() {
            break;
        }
    }
    text.truncate(text.trim_end().len());
    let source = source.clone();
    (Logical { text, heredocs: Vec::new(), source, pieces }, index)
}

/// The line without its trailing escape, if it goes on in the next one. Two
/// escapes in a row are an escaped escape and end the instruction.
fn continued(line: &str, escape: char) -> Option<&str> {
    let body = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!body.ends_with(escape)).then_some(body)
}

/// A `#` counts only at the beginning of a line: elsewhere it belongs to the
/// shell command.
fn is_comment_or_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}
