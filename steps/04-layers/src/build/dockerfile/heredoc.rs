//! Here-documents: `RUN <<EOF` and `COPY <<config.toml /etc/app/`.
//!
//! The lines after the instruction, up to the name alone on a line, belong
//! to it. Quoting the name (`<<'EOF'`) switches variable expansion off, a
//! dash (`<<-EOF`) strips leading tabs, as in a shell.

use super::error::SyntaxError;
use super::lines::{Logical, Source};
use std::ops::Range;

/// A here-document of an ADD, COPY or RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The name between `<<` and the next blank, without quotes. For COPY
    /// it is also the file's name when the destination is a directory.
    pub name: String,
    /// The text, with its last newline.
    pub content: String,
    /// Whether `$NAME` inside is to be expanded (the name was not quoted).
    pub expand: bool,
    /// Where `<<NAME` stands in the logical line, in bytes.
    pub(super) at: Range<usize>,
}

/// Finds the here-documents that `logical` opens and takes their lines;
/// `next` is moved behind them.
pub(super) fn attach(
    mut logical: Logical,
    source: &Source,
    next: &mut usize,
) -> Result<Logical, SyntaxError> {
    let keyword = logical.text[logical.keyword()].to_ascii_uppercase();
    match keyword.as_str() {
        "ADD" | "COPY" | "RUN" => {}
        "ONBUILD" => return refuse_in_trigger(logical),
        _ => return Ok(logical),
    }
    for (at, chomp, name) in openings(&logical.text) {
        let quoted = name.contains(['"', '\'']);
        let name = name.replace(['"', '\''], "");
        let mut content = String::new();
        loop {
            let Some(line) = source.get(*next) else {
                return Err(logical.error(at, "unterminated heredoc"));
            };
            *next += 1;
            let line = if chomp { line.trim_start_matches('\t') } else { line };
            if *line == name {
                break;
            }
            content.push_str(line);
            content.push('\n');
        }
        let expand = !quoted;
        logical.heredocs.push(Heredoc { name, content, expand, at });
    }
    Ok(logical)
}

/// A trigger is stored as one line of text in the image, so the document
/// would be lost between this build and the next.
fn refuse_in_trigger(logical: Logical) -> Result<Logical, SyntaxError> {
    let inner = logical.text["ONBUILD".len()..].trim_start();
    let keyword = inner.split_whitespace().next().unwrap_or_default();
    let keyword = keyword.to_ascii_uppercase();
    if !matches!(keyword.as_str(), "ADD" | "COPY" | "RUN") {
        return Ok(logical);
    }
    match openings(&logical.text).into_iter().next() {
        None => Ok(logical),
        Some((at, ..)) => {
            Err(logical.error(at, "ONBUILD triggers cannot use heredocs"))
        }
    }
}

/// Every `[fd]<<[-]NAME` that is a word of its own, outside quotes.
fn openings(text: &str) -> Vec<(Range<usize>, bool, String)> {
    let mut found = Vec::new();
    for at in shell_words(text) {
        let word = &text[at.clone()];
        let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(rest) = digits.strip_prefix("<<") else { continue };
        let (chomp, name) = match rest.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, rest),
        };
        // `<<<` is a here-string, which is the shell's business.
        if !name.is_empty() && !name.contains('<') {
            found.push((at, chomp, name.to_owned()));
        }
    }
    found
}

/// Byte ranges of the words of a line, quotes and escapes respected.
fn shell_words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|from| from..at));
            continue;
        }
        start.get_or_insert(at);
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None | Some('"'), '\\') => {
                chars.next();
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| from..text.len()));
    words
}
