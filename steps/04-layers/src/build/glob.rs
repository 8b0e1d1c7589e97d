//! File name patterns, as Go's `filepath.Match` has them, and `**`.
//!
//! Used by COPY's sources (no `**` there) and by `.dockerignore`.

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone)]
enum Token {
    Char(char),
    /// `?`: one character, never a slash.
    One,
    /// `*`: any number of characters, never a slash.
    Many,
    /// `**` inside: nothing, or any number of whole directories.
    Directories,
    /// `**` at the end: everything.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Compiles a pattern in which `**` crosses directories.
    pub(super) fn with_directories(text: &str) -> Result<Self, String> {
        compile(text, true)
    }

    /// Compiles a pattern in which every `*` stays inside one name.
    pub(super) fn of_names(text: &str) -> Result<Self, String> {
        compile(text, false)
    }

    /// Whether the whole of `path` matches.
    pub(super) fn matches(&self, path: &str) -> bool {
        let text: Vec<char> = path.chars().collect();
        // Without the memory of dead ends, `*a*a*a*` would take exponential
        // time on a name of many a's.
        let mut dead = vec![false; (self.0.len() + 1) * (text.len() + 1)];
        self.from(0, &text, 0, &mut dead)
    }

    /// Whether the pattern from `token` on fits the text from `at` on. `dead`
    /// has a slot for each such pair that is known not to.
    fn from(
        &self,
        token: usize,
        text: &[char],
        at: usize,
        dead: &mut [bool],
    ) -> bool {
        let slot = token * (text.len() + 1) + at;
        if dead[slot] {
            return false;
        }
        let found = match self.0.get(token) {
            None => at == text.len(),
            Some(Token::Rest) => true,
            Some(Token::Many) => {
                let end = text[at..].iter().position(|c| *c == '/');
                let end = end.map_or(text.len(), |length| at + length);
                (at..=end).any(|to| self.from(token + 1, text, to, dead))
            }
            Some(Token::Directories) => {
                self.from(token + 1, text, at, dead)
                    || (at + 1..=text.len())
                        .filter(|to| text[to - 1] == '/')
                        .any(|to| self.from(token + 1, text, to, dead))
            }
            Some(one) => {
                text.get(at).is_some_and(|c| one.takes(*c))
                    && self.from(token + 1, text, at + 1, dead)
            }
        };
        dead[slot] = !found;
        found
    }
}

/// What one token takes when it takes exactly one character.
impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(want) => *want == c,
            Self::Class { negated, ranges } => {
                let inside = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&c));
                c != '/' && inside != *negated
            }
            _ => c != '/',
        }
    }
}

/// Whether a path needs a pattern at all.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Refuses what Go refuses (`ErrBadPattern`), so that a broken pattern is
/// found in the build and not in production.
fn compile(text: &str, directories: bool) -> Result<Pattern, String> {
    let bad = || format!("syntax error in pattern {text:?}");
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if directories && chars.peek() == Some(&'*') => {
                while chars.next_if_eq(&'*').is_some() {}
                // `**/x` matches `x` too, so the slash goes with the stars.
                chars.next_if_eq(&'/');
                match chars.peek() {
                    None => Token::Rest,
                    Some(_) => Token::Directories,
                }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&mut chars).ok_or_else(bad)?,
            '\\' => Token::Char(chars.next().ok_or_else(bad)?),
            c => Token::Char(c),
        });
    }
    Ok(Pattern(tokens))
}

/// After `[`; `None` if there is no valid end. A `]` directly after the
/// opening is a member and not the end.
fn class(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => {
                return Some(Token::Class { negated, ranges });
            }
            '\\' => chars.next()?,
            c => c,
        };
        let high = match chars.next_if_eq(&'-') {
            None => low,
            Some(_) => match chars.next()? {
                '\\' => chars.next()?,
                ']' => return None,
                c => c,
            },
        };
        ranges.push((low, high));
    }
}
