//! From text to tokens.

use super::TemplateError;

/// A piece of a template: text, or what stands between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.A.B`, or the empty path for a lone dot.
    Field(Vec<String>),
    /// `$`, `$x`, `$x.A`: the name without `$`, then fields.
    Variable(String, Vec<String>),
    /// A keyword or the name of a function.
    Word(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Pipe,
    Open,
    /// `)`, possibly with fields of the result behind it.
    Close(Vec<String>),
    Assign,
    Comma,
}

/// Cuts a template into pieces. `{{-` and `-}}` take the white space next to
/// them away.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut out = Vec::new();
    let mut rest = template;
    let mut trim_left = false;
    while let Some(start) = rest.find("{{") {
        let mut text = &rest[..start];
        rest = &rest[start + 2..];
        if trim_left {
            text = text.trim_start();
        }
        let trim = rest.starts_with("- ") || rest.starts_with("-\n");
        if trim {
            rest = &rest[1..];
            text = text.trim_end();
        }
        if !text.is_empty() {
            out.push(Piece::Text(text.to_owned()));
        }
        let end = end_of_action(rest)
            .ok_or_else(|| TemplateError::new(":1: unclosed action"))?;
        let mut action = &rest[..end];
        rest = &rest[end + 2..];
        trim_left = action.ends_with(" -");
        if trim_left {
            action = &action[..action.len() - 1];
        }
        let comment = action.trim();
        if !(comment.starts_with("/*") && comment.ends_with("*/")) {
            out.push(Piece::Action(tokens(action)?));
        }
    }
    let last = if trim_left { rest.trim_start() } else { rest };
    if !last.is_empty() {
        out.push(Piece::Text(last.to_owned()));
    }
    Ok(out)
}

/// Where `}}` stands that is not inside quotes.
fn end_of_action(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => {
                return Some(at);
            }
            (None, it @ (b'"' | b'`')) => quote = Some(it),
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), it) if open == it => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let mut out = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, left) = token(first, rest)?;
        out.push(token);
        rest = left.trim_start();
    }
    Ok(out)
}

/// The token at the beginning of `rest`, and what follows.
fn token(first: char, rest: &str) -> Result<(Token, &str), TemplateError> {
    let after = &rest[first.len_utf8()..];
    Ok(match first {
        '|' => (Token::Pipe, after),
        '(' => (Token::Open, after),
        ',' => (Token::Comma, after),
        ')' => {
            let (fields, left) = fields(after);
            (Token::Close(fields), left)
        }
        ':' if after.starts_with('=') => (Token::Assign, &after[1..]),
        '=' => (Token::Assign, after),
        '.' => {
            let (fields, left) = fields(rest);
            // A lone dot is the whole data.
            let left = if fields.is_empty() { after } else { left };
            (Token::Field(fields), left)
        }
        '$' => {
            let (name, left) = name(after);
            let (fields, left) = fields(left);
            (Token::Variable(name.to_owned(), fields), left)
        }
        '"' => quoted(after)?,
        '`' => {
            let end = after.find('`').ok_or_else(unterminated)?;
            (Token::Text(after[..end].to_owned()), &after[end + 1..])
        }
        it if it == '-' || it.is_ascii_digit() => number(rest)?,
        it if it.is_alphabetic() || it == '_' => {
            let (word, left) = name(rest);
            (Token::Word(word.to_owned()), left)
        }
        other => {
            return Err(TemplateError::new(format!(
                ":1: unexpected {other:?} in command"
            )));
        }
    })
}

/// `.A.B` at the beginning of `text`, and what follows.
fn fields(mut text: &str) -> (Vec<String>, &str) {
    let mut out = Vec::new();
    while let Some(after) = text.strip_prefix('.') {
        let (field, left) = name(after);
        if field.is_empty() {
            break;
        }
        out.push(field.to_owned());
        text = left;
    }
    (out, text)
}

fn name(text: &str) -> (&str, &str) {
    let end = text
        .find(|it: char| !(it.is_alphanumeric() || it == '_'))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A string in double quotes, whose opening quote has been read.
fn quoted(text: &str) -> Result<(Token, &str), TemplateError> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, it)) = chars.next() {
        match it {
            '"' => return Ok((Token::Text(out), &text[at + 1..])),
            '\\' => match chars.next().map(|(_, it)| it) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    Err(unterminated())
}

fn unterminated() -> TemplateError {
    TemplateError::new(":1: unterminated quoted string")
}

fn number(text: &str) -> Result<(Token, &str), TemplateError> {
    let end = text
        .find(|it: char| !(it.is_ascii_alphanumeric() || "+-.".contains(it)))
        .unwrap_or(text.len());
    let (digits, left) = text.split_at(end);
    if let Ok(number) = digits.parse() {
        return Ok((Token::Integer(number), left));
    }
    match digits.parse() {
        Ok(number) => Ok((Token::Float(number), left)),
        Err(_) => Err(TemplateError::new(format!(
            ":1: bad number syntax: {digits:?}"
        ))),
    }
}
