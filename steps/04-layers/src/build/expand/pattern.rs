//! The pattern modifiers: `#`, `##`, `%`, `%%`, `/` and `//`.

/// A shell pattern with `*` and `?` only, as Docker has it here.
pub(super) struct Glob(Vec<Token>);

/// One step of a pattern. There are no classes here: Docker does not know
/// `[a-z]` in this place.
#[derive(PartialEq)]
enum Token {
    Char(char),
    One,
    Many,
}

impl Glob {
    /// Compiles the text; an escaped character stands for itself.
    pub(super) fn new(text: &str, escape: char) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                c if c == escape => Token::Char(chars.next().unwrap_or(escape)),
                c => Token::Char(c),
            });
        }
        Self(tokens)
    }

    /// Whether the whole of `text` fits. Prefixes and suffixes are tried by
    /// the callers, which know whether the longest or the shortest is wanted.
    fn matches(&self, text: &[char]) -> bool {
        // The set of pattern positions that are alive after each character:
        // linear where naive backtracking would be exponential.
        let close = |mut alive: Vec<bool>| {
            for (index, token) in self.0.iter().enumerate() {
                alive[index + 1] |= alive[index] && *token == Token::Many;
            }
            alive
        };
        let mut alive = vec![false; self.0.len() + 1];
        alive[0] = true;
        alive = close(alive);
        for c in text {
            let mut next = vec![false; self.0.len() + 1];
            for (index, token) in self.0.iter().enumerate() {
                match token {
                    Token::Many => next[index] |= alive[index],
                    Token::One => next[index + 1] |= alive[index],
                    Token::Char(want) => {
                        next[index + 1] |= alive[index] && want == c;
                    }
                }
            }
            alive = close(next);
        }
        alive[self.0.len()]
    }
}

/// `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`.
pub(super) fn strip(
    value: &str,
    pattern: &Glob,
    end: char,
    greedy: bool,
) -> String {
    let text: Vec<char> = value.chars().collect();
    let lengths: Vec<usize> = match greedy {
        true => (0..=text.len()).rev().collect(),
        false => (0..=text.len()).collect(),
    };
    for length in lengths {
        let split = if end == '#' { length } else { text.len() - length };
        let (head, tail) = text.split_at(split);
        let (cut, kept) = match end {
            '#' => (head, tail),
            _ => (tail, head),
        };
        if pattern.matches(cut) {
            return kept.iter().collect();
        }
    }
    value.to_owned()
}

/// `${x/p/r}` and `${x//p/r}`: leftmost, longest.
pub(super) fn replace(
    value: &str,
    pattern: &Glob,
    by: &str,
    all: bool,
) -> String {
    let text: Vec<char> = value.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let end = (at + 1..=text.len())
            .rev()
            .find(|end| pattern.matches(&text[at..*end]));
        match end {
            None => {
                out.push(text[at]);
                at += 1;
            }
            Some(end) => {
                out.push_str(by);
                at = end;
                if !all {
                    break;
                }
            }
        }
    }
    out.extend(&text[at..]);
    out
}
