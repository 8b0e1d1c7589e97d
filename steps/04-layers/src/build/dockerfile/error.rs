//! A mistake in a Dockerfile, shown where it stands.
//!
//! Docker names the line; a learner wants to see it. So an error carries the
//! line's text and the place in it, and prints a caret under the culprit.

use std::fmt;

/// A stretch of one line of the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The Dockerfile's name; empty where the text has none.
    pub file: String,
    /// Line number, the first is 1.
    pub line: usize,
    /// Column of the first character meant, in characters, the first is 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub length: usize,
    /// The whole line as it is written.
    pub text: String,
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs in the padding, or the caret would stand elsewhere
        // than the text above it on every terminal.
        let pad: String = self
            .text
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        if !self.file.is_empty() {
            writeln!(f, "{}:{number}", self.file)?;
        }
        writeln!(f, "  {number} | {}", self.text)?;
        write!(f, "  {margin} | {pad}{}", "^".repeat(self.length.max(1)))
    }
}

/// What is wrong with a Dockerfile, in Docker's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The sentence, without line number.
    pub message: String,
    /// Where it is; `None` for a file with nothing in it.
    pub excerpt: Option<Excerpt>,
}

/// Docker's sentence first, on one line: that is what scripts look for and
/// what other clients show. The excerpt follows.
impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.excerpt {
            None => f.write_str(&self.message),
            Some(at) => write!(
                f,
                "dockerfile parse error on line {}: {}\n{at}",
                at.line, self.message
            ),
        }
    }
}

impl std::error::Error for SyntaxError {}
