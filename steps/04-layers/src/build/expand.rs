//! Variables in a Dockerfile: `$NAME`, `${NAME}` and its modifiers.
//!
//! It looks like a shell and is none: there are no commands, no arithmetic,
//! no globbing. Quotes are removed in the same pass, because whether a `$`
//! counts depends on the quotes around it.

mod pattern;

use pattern::{Glob, replace, strip};
use std::fmt;

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandError(pub String);

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExpandError {}

/// How to read quotes and blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// One word; quotes are removed.
    Word,
    /// Several words; blanks outside quotes separate, those that come out
    /// of a variable too.
    Words,
    /// A here-document: quotes are ordinary characters.
    Document,
}

/// Looks a variable up; `None` when it is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands `text` into one word and removes its quotes.
///
/// ```
/// use layers::build::expand::expand;
/// let get = |name: &str| (name == "V").then(|| "1.25".to_owned());
/// let say = |text| expand(text, '\\', &get).unwrap();
/// assert_eq!(say("nginx:${V:-latest}"), "nginx:1.25");
/// assert_eq!(say("${TAG:-latest}"), "latest");
/// assert_eq!(say("${V%.*}"), "1");
/// assert_eq!(say("'$V' \"$V\" \\$V"), "$V 1.25 $V");
/// ```
pub fn expand(
    text: &str,
    escape: char,
    lookup: Lookup<'_>,
) -> Result<String, ExpandError> {
    let words = run(text, escape, lookup, Mode::Word)?;
    Ok(words.concat())
}

/// Expands `text` and splits the result at blanks outside quotes.
pub fn expand_words(
    text: &str,
    escape: char,
    lookup: Lookup<'_>,
) -> Result<Vec<String>, ExpandError> {
    run(text, escape, lookup, Mode::Words)
}

/// Expands the text of a here-document, where quotes mean nothing.
pub fn expand_document(
    text: &str,
    escape: char,
    lookup: Lookup<'_>,
) -> Result<String, ExpandError> {
    Ok(run(text, escape, lookup, Mode::Document)?.concat())
}

fn run(
    text: &str,
    escape: char,
    lookup: Lookup<'_>,
    mode: Mode,
) -> Result<Vec<String>, ExpandError> {
    let chars: Vec<char> = text.chars().collect();
    let mut expander = Expander { chars, at: 0, escape, lookup };
    let mut out = Words { mode, done: Vec::new(), word: None };
    let done = expander.until(None, &mut out);
    done.map_err(|ExpandError(problem)| {
        ExpandError(format!("failed to process {text:?}: {problem}"))
    })?;
    Ok(out.finish())
}

/// Collects the result. A word can be there and be empty (`""`), which is not
/// the same as no word.
struct Words {
    mode: Mode,
    done: Vec<String>,
    word: Option<String>,
}

impl Words {
    /// A character that a blank may end the word at.
    fn plain(&mut self, c: char) {
        if self.mode == Mode::Words && c.is_whitespace() {
            self.done.extend(self.word.take());
        } else {
            self.quoted(c);
        }
    }

    /// A character that belongs to the word whatever it is.
    fn quoted(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn finish(mut self) -> Vec<String> {
        self.done.extend(self.word.take());
        self.done
    }
}

/// The text being read, character by character: the grammar nests
/// (`${A:-${B}}`), so a regular expression would not do.
struct Expander<'a> {
    chars: Vec<char>,
    at: usize,
    escape: char,
    lookup: Lookup<'a>,
}

impl Expander<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Reads up to `stop`, which is taken but not put out.
    fn until(
        &mut self,
        stop: Option<char>,
        out: &mut Words,
    ) -> Result<(), ExpandError> {
        let document = out.mode == Mode::Document;
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == stop => return Ok(()),
                '\'' if !document => self.single_quoted(out)?,
                '"' if !document => self.double_quoted(out)?,
                '$' => {
                    let value = self.variable()?;
                    value.chars().for_each(|c| out.plain(c));
                }
                c if c == self.escape => self.escaped(out),
                c => out.plain(c),
            }
        }
        match stop {
            None => Ok(()),
            Some(stop) => error(format!("syntax error: missing '{stop}'")),
        }
    }

    /// After an escape character outside quotes: the next one is plain.
    fn escaped(&mut self, out: &mut Words) {
        let next = self.peek();
        if out.mode == Mode::Document {
            // As in a shell: only what would otherwise be special.
            match next {
                Some(c) if c == '$' || c == self.escape => self.at += 1,
                _ => return out.quoted(self.escape),
            }
        } else {
            self.at += 1;
        }
        next.into_iter().for_each(|c| out.quoted(c));
    }

    /// Nothing is special in here, not even the escape character.
    fn single_quoted(&mut self, out: &mut Words) -> Result<(), ExpandError> {
        out.word.get_or_insert_default();
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.quoted(c),
                None => return error(unmatched("single-quote")),
            }
        }
    }

    /// Variables count, blanks do not separate, and the escape character is
    /// one only before what it could protect.
    fn double_quoted(&mut self, out: &mut Words) -> Result<(), ExpandError> {
        out.word.get_or_insert_default();
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => {
                    let value = self.variable()?;
                    value.chars().for_each(|c| out.quoted(c));
                }
                Some(c) if c == self.escape => match self.peek() {
                    Some(next)
                        if next == '"'
                            || next == '$'
                            || next == self.escape =>
                    {
                        self.at += 1;
                        out.quoted(next);
                    }
                    _ => out.quoted(c),
                },
                Some(c) => out.quoted(c),
                None => return error(unmatched("double-quote")),
            }
        }
    }

    /// After a `$`.
    fn variable(&mut self) -> Result<String, ExpandError> {
        if self.peek() == Some('{') {
            self.at += 1;
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok((self.lookup)(&name).unwrap_or_default())
    }

    /// A variable's name: letters, digits and `_`, or a single digit. An empty
    /// one means that the `$` was just a `$`.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let digit = c.is_ascii_digit();
            if c != '_' && !c.is_ascii_alphabetic() && !digit {
                break;
            }
            self.at += 1;
            name.push(c);
            // `$1x` is the positional parameter 1 and a letter x.
            if digit && name.len() == 1 {
                break;
            }
        }
        name
    }

    /// After `${`.
    fn braced(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        if name.is_empty() {
            return match self.peek() {
                None => error("syntax error: missing '}'"),
                Some(_) => error("syntax error: bad substitution"),
            };
        }
        let value = (self.lookup)(&name);
        match self.next() {
            None => error("syntax error: missing '}'"),
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => match self.next() {
                Some(c @ ('-' | '+' | '?')) => {
                    let set = value.filter(|text| !text.is_empty());
                    self.default(c, &name, set, "is empty or not set")
                }
                Some(c) => error(unsupported(&format!(":{c}"))),
                None => error("syntax error: missing '}'"),
            },
            Some(c @ ('-' | '+' | '?')) => {
                self.default(c, &name, value, "is not set")
            }
            Some(c @ ('#' | '%')) => {
                let greedy = self.peek() == Some(c);
                self.at += usize::from(greedy);
                let pattern = Glob::new(&self.raw_until('}')?, self.escape);
                Ok(strip(&value.unwrap_or_default(), &pattern, c, greedy))
            }
            Some('/') => self.substitute(&value.unwrap_or_default()),
            Some(c) => error(unsupported(&c.to_string())),
        }
    }

    /// The modifiers that look at whether the variable is set. `value` is
    /// already `None` for an empty one where a colon asks for that.
    fn default(
        &mut self,
        modifier: char,
        name: &str,
        value: Option<String>,
        complaint: &str,
    ) -> Result<String, ExpandError> {
        let mut out = Words { mode: Mode::Word, done: Vec::new(), word: None };
        self.until(Some('}'), &mut out)?;
        let word = out.finish().concat();
        match (modifier, value) {
            ('-', None) => Ok(word),
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) if word.is_empty() => {
                error(format!("{name}: {complaint}"))
            }
            ('?', None) => error(format!("{name}: {word}")),
            (_, Some(value)) => Ok(value),
            (_, None) => Ok(String::new()),
        }
    }

    /// After `${NAME/`: pattern, slash, replacement.
    fn substitute(&mut self, value: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let pattern = Glob::new(&self.raw_until('/')?, self.escape);
        let mut out = Words { mode: Mode::Word, done: Vec::new(), word: None };
        self.until(Some('}'), &mut out)?;
        Ok(replace(value, &pattern, &out.finish().concat(), all))
    }

    /// A pattern: variables in it count, escapes stay for the pattern.
    fn raw_until(&mut self, stop: char) -> Result<String, ExpandError> {
        let mut raw = String::new();
        loop {
            match self.next() {
                None => {
                    return error(format!("syntax error: missing '{stop}'"));
                }
                Some(c) if c == stop => return Ok(raw),
                Some('$') => raw.push_str(&self.variable()?),
                Some(c) if c == self.escape => {
                    raw.push(c);
                    raw.extend(self.next());
                }
                Some(c) => raw.push(c),
            }
        }
    }
}

/// Saves five words in twenty places.
fn error<T>(message: impl Into<String>) -> Result<T, ExpandError> {
    Err(ExpandError(message.into()))
}

/// Docker's sentence.
fn unmatched(what: &str) -> String {
    format!("unexpected end of statement while looking for matching {what}")
}

/// Docker's sentence as well; bash has more modifiers than Docker.
fn unsupported(modifier: &str) -> String {
    format!("unsupported modifier ({modifier}) in substitution")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".into()),
            "E" => Some(String::new()),
            "P" => Some("/usr/local/bin/app.tar.gz".into()),
            "W" => Some("one two".into()),
            _ => None,
        }
    }

    fn say(text: &str) -> String {
        match expand(text, '\\', &get) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn every_modifier_gives_what_a_shell_gives() {
        let cases = [
            ("$A-${A}_x$", "alpha-alpha_x$"),
            ("${E:-d} ${E-d} ${N:-d} ${N-d}", "d  d d"),
            ("${A:+y}${E:+y}${E+y}${N+y}", "yy"),
            ("${N:-${A}s}", "alphas"),
            ("${P#*/} ${P##*/}", "usr/local/bin/app.tar.gz app.tar.gz"),
            ("${P%.*} ${P%%.*}", "/usr/local/bin/app.tar /usr/local/bin/app"),
            ("${P/bin/sbin}", "/usr/local/sbin/app.tar.gz"),
            ("${P//\\//-}", "-usr-local-bin-app.tar.gz"),
            ("${A//?/x}", "xxxxx"),
            ("$1x", "x"),
            ("\"a $A\" 'b $A' \\$A", "a alpha b $A $A"),
            ("\"\\n \\\" \\\\\"", "\\n \" \\"),
        ];
        for (text, want) in cases {
            assert_eq!(say(text), want, "{text}");
        }
    }

    #[test]
    fn a_bad_expression_is_named() {
        let cases = [
            ("${A", "syntax error: missing '}'"),
            ("${N:?set N first}", "N: set N first"),
            ("${E:?}", "E: is empty or not set"),
            ("${A^}", "unsupported modifier (^) in substitution"),
            ("${}", "syntax error: bad substitution"),
        ];
        for (text, want) in cases {
            let want = format!("error: failed to process {text:?}: {want}");
            assert_eq!(say(text), want);
        }
        assert!(say("'a").contains("matching single-quote"));
    }

    #[test]
    fn words_split_at_blanks_that_came_out_of_a_variable() {
        let words = expand_words("80 $W \"$W\" ''", '\\', &get).unwrap();
        assert_eq!(words, ["80", "one", "two", "one two", ""]);
    }

    #[test]
    fn a_document_keeps_its_quotes() {
        let text = "a=\"$A\" b='$A' \\$A \\n";
        let out = expand_document(text, '\\', &get).unwrap();
        assert_eq!(out, "a=\"alpha\" b='alpha' $A \\n");
    }

    proptest! {
        #[test]
        fn text_without_special_characters_stays(text in "[a-z/:. -]*") {
            prop_assert_eq!(expand(&text, '\\', &get).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[$A{}:#%/?*\\\\'\" +-]*") {
            let _ = expand(&text, '\\', &get);
            let _ = expand_words(&text, '\\', &get);
            let _ = expand_document(&text, '\\', &get);
        }

        #[test]
        fn a_single_quoted_text_is_itself(text in "[^']*") {
            let quoted = format!("'{text}'");
            prop_assert_eq!(expand(&quoted, '\\', &get).unwrap(), text);
        }
    }
}
