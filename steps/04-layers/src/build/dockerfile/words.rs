//! The small grammars inside an instruction: flags, JSON lists, plain
//! words, and `name=value` pairs.
//!
//! Each works on a byte range of the logical line and hands ranges back, so
//! that an error can point at the one word that is wrong.

use super::error::SyntaxError;
use super::lines::Logical;
use serde_json::Value;
use std::ops::Range;

/// A piece of the line and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Range<usize>,
}

/// `--name=value`, or `--name` alone.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) at: Range<usize>,
}

/// Narrows a range to the text without blanks around it.
pub(super) fn trim(text: &str, at: Range<usize>) -> Range<usize> {
    let piece = &text[at.clone()];
    let start = at.start + (piece.len() - piece.trim_start().len());
    start..(start + piece.trim().len())
}

/// Takes the leading `--flags` off; returns them and the range of the rest.
pub(super) fn flags(
    text: &str,
    mut at: Range<usize>,
) -> (Vec<Flag>, Range<usize>) {
    let mut found = Vec::new();
    loop {
        at = trim(text, at);
        if !text[at.clone()].starts_with("--") {
            return (found, at);
        }
        let word = first_word(text, at.clone());
        at.start = word.end;
        let plain = unquote(&text[word.clone()]);
        // A bare `--` ends the flags, as in getopt(3).
        let Some(body) = plain.strip_prefix("--").filter(|b| !b.is_empty())
        else {
            return (found, trim(text, at));
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        found.push(Flag { name: name.to_owned(), value, at: word });
    }
}

/// Up to the first blank outside quotes.
/// A flag's value may hold blanks in quotes: `--mount="type=bind,source=a b"`.
fn first_word(text: &str, at: Range<usize>) -> Range<usize> {
    let mut quote = None;
    let mut chars = text[at.clone()].char_indices();
    while let Some((offset, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                return at.start..at.start + offset;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => {
                chars.next();
            }
            _ => {}
        }
    }
    at
}

/// What a shell makes of one word. Flags are not expanded, so this is the only
/// chance to lose their quotes.
fn unquote(word: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}

/// The exec form, `["a", "b"]`. What is no JSON is the shell form: `[ -f x ]`
/// is a fine shell command. `Err` for a list with something else than
/// strings in it, which is neither.
pub(super) fn json_list(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text) else {
        return Ok(None);
    };
    let strings = values.into_iter().map(|value| match value {
        Value::String(text) => Some(text),
        _ => None,
    });
    strings.collect::<Option<_>>().map(Some).ok_or_else(|| {
        "when using JSON array syntax, arrays must be comprised of strings \
         only"
            .into()
    })
}

/// Words between blanks. Quotes mean nothing here: a path with a blank in
/// it needs the JSON form.
pub(super) fn plain_words(text: &str, at: Range<usize>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    for (offset, c) in text[at.clone()].char_indices() {
        let here = at.start + offset;
        if c.is_whitespace() {
            words.extend(start.take().map(|from| from..here));
        } else {
            start.get_or_insert(here);
        }
    }
    words.extend(start.map(|from| from..at.end));
    words
        .into_iter()
        .map(|at| Word { text: text[at.clone()].to_owned(), at })
        .collect()
}

/// Words between blanks outside quotes; quotes and escapes stay in, for
/// the expansion removes them together with the variables.
pub(super) fn quoted_words(
    text: &str,
    at: Range<usize>,
    escape: char,
) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = trim(text, at);
    while !rest.is_empty() {
        let word = quoted_word(text, rest.clone(), escape);
        rest = trim(text, word.end..rest.end);
        words.push(Word { text: text[word.clone()].to_owned(), at: word });
    }
    words
}

/// The range of one word, beginning at `at`.
fn quoted_word(text: &str, at: Range<usize>, escape: char) -> Range<usize> {
    let mut quote = None;
    let mut chars = text[at.clone()].char_indices();
    while let Some((offset, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                return at.start..at.start + offset;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            // Inside single quotes an escape is a character like others.
            (None | Some('"'), c) if c == escape => {
                chars.next();
            }
            _ => {}
        }
    }
    at
}

/// `a=1 b="two words"`, or the old form `a one value up to the line's end`,
/// which holds exactly one pair.
pub(super) fn pairs(
    logical: &Logical,
    at: Range<usize>,
    escape: char,
    keyword: &str,
) -> Result<Vec<(String, String)>, SyntaxError> {
    let text = &logical.text;
    let words = quoted_words(text, at.clone(), escape);
    let Some(first) = words.first() else {
        let message = format!("{keyword} requires at least one argument");
        return Err(logical.error(logical.keyword(), message));
    };
    if !first.text.contains('=') {
        let at = trim(text, at);
        let Some((name, value)) =
            text[at.clone()].split_once(char::is_whitespace)
        else {
            let message = format!("{keyword} must have two arguments");
            return Err(logical.error(at, message));
        };
        return Ok(vec![(name.into(), value.trim().into())]);
    }
    words.into_iter().map(|word| pair(logical, word, keyword)).collect()
}

/// Splits at the first `=`; a value may hold more of them.
fn pair(
    logical: &Logical,
    word: Word,
    keyword: &str,
) -> Result<(String, String), SyntaxError> {
    let Some((name, value)) = word.text.split_once('=') else {
        let message = format!(
            "Syntax error - can't find = in {:?}. Must be of the form: \
             name=value",
            word.text
        );
        return Err(logical.error(word.at, message));
    };
    if name.is_empty() {
        let message = format!("{keyword} names can not be blank");
        return Err(logical.error(word.at, message));
    }
    Ok((name.to_owned(), value.to_owned()))
}
