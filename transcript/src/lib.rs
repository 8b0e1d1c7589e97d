//! Transcripts: console sessions in a text, run again to see whether they are
//! still true.
//!
//! In a session a line that begins with `$ ` is a command, one that begins
//! with `> ` continues it, and everything else is what it printed:
//!
//! ```text
//! $ cat <<end
//! > one
//! > end
//! one
//! ```
//!
//! All commands of a session run in one shell, in a sandbox of their own
//! ([`sandbox`]). What they print is compared after [`redact::redact`] has
//! taken out what no two runs share. The book's console blocks and the
//! recorded sessions of the stock `docker` command are both kept this way.
#![deny(missing_docs)]

pub mod cargo;
pub mod redact;
pub mod sandbox;
pub mod sessions;
pub mod tap;

use std::ops::Range;

use anyhow::{Result, bail};
use similar::TextDiff;

/// Stands alone on a line between the outputs of two commands. The record
/// separator of ASCII is nothing that a program here prints by itself.
const MARK: char = '\u{1e}';

/// Whether a session shows how a command ended: as a last line `? 3` where
/// the exit status is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statuses {
    /// Only what the commands printed.
    Hidden,
    /// A line `? STATUS` after a command that failed.
    Shown,
}

/// One command and what the text says it prints.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Lines of the text that hold the output: first, and one past last.
    output: Range<usize>,
    command: String,
    shown: String,
}

/// The commands of a text, in order.
#[derive(Debug)]
pub struct Session<'a> {
    text: &'a str,
    steps: Vec<Step>,
    statuses: Statuses,
}

impl<'a> Session<'a> {
    /// Reads the commands out of those lines of `text` (counted from 0) for
    /// which `belongs` is true.
    pub fn new(
        text: &'a str,
        statuses: Statuses,
        belongs: impl Fn(usize) -> bool,
    ) -> Self {
        let lines = text.lines().enumerate();
        let mut steps: Vec<Step> = Vec::new();
        let mut continues = false;
        for (number, line) in lines.filter(|(number, _)| belongs(*number)) {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    output: number + 1..number + 1,
                    command: format!("{command}\n"),
                    shown: String::new(),
                });
                continues = true;
            } else if let Some(step) = steps.last_mut() {
                step.output.end = number + 1;
                match line.strip_prefix("> ").filter(|_| continues) {
                    Some(more) => {
                        step.command.push_str(&format!("{more}\n"));
                        step.output.start = number + 1;
                    }
                    None => {
                        continues = false;
                        step.shown.push_str(&format!("{line}\n"));
                    }
                }
            }
        }
        Session { text, steps, statuses }
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A script for bash that runs the commands and marks where the output
    /// of each begins.
    pub fn script(&self) -> String {
        let mut script = String::new();
        for step in &self.steps {
            // The next command may ask for the last one's status.
            script.push_str(&format!("s=$?; echo {MARK}; (exit $s)\n"));
            script.push_str(&step.command);
            if self.statuses == Statuses::Shown {
                script.push_str("s=$?; [ $s = 0 ] || echo \"? $s\"\n");
            }
        }
        script.push_str(&format!("echo {MARK}\n"));
        script
    }

    /// Compares what the script printed with what the text shows.
    ///
    /// # Errors
    /// The session broke off before its last command.
    pub fn compare(&self, printed: &str) -> Result<Comparison<'_>> {
        let printed = self.cut(printed)?;
        let differing =
            self.steps.iter().zip(printed).filter(|(step, printed)| {
                !redact::matches(&step.shown, printed)
            });
        Ok(Comparison { text: self.text, differing: differing.collect() })
    }

    /// Cuts what the whole script printed into what each command printed.
    fn cut(&self, printed: &str) -> Result<Vec<String>> {
        let mark = format!("{MARK}\n");
        // What runs before and after the session has nothing to say.
        let mut parts: Vec<String> =
            printed.split(&mark).skip(1).map(str::to_owned).collect();
        parts.pop();
        if parts.len() != self.steps.len() {
            bail!(
                "only {} of {} commands ran; the shell printed:\n{printed}",
                parts.len(),
                self.steps.len()
            );
        }
        Ok(parts)
    }
}

/// Where the text and this machine differ.
#[derive(Debug)]
pub struct Comparison<'a> {
    text: &'a str,
    differing: Vec<(&'a Step, String)>,
}

impl Comparison<'_> {
    /// Whether the text tells the truth.
    pub fn is_same(&self) -> bool {
        self.differing.is_empty()
    }

    /// Each command that printed something else, with the difference.
    pub fn report(&self) -> String {
        let mut report = String::new();
        for (step, printed) in &self.differing {
            let shown = redact::redact(&step.shown) + "\n";
            let printed = redact::redact(printed) + "\n";
            let diff = TextDiff::from_lines(&shown, &printed);
            let mut diff = diff.unified_diff();
            let diff = diff.header("text", "machine");
            report.push_str(&format!("$ {}{diff}\n", step.command));
        }
        report
    }

    /// The text with what was printed in place of what it showed.
    pub fn blessed(&self) -> String {
        let mut lines: Vec<String> =
            self.text.lines().map(str::to_owned).collect();
        for (step, printed) in self.differing.iter().rev() {
            let printed = printed.lines().map(|it| it.trim_end().to_owned());
            lines.splice(step.output.clone(), printed);
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "before\n$ cat <<end\n> one\n> end\none\n$ true\nafter";

    fn session() -> Session<'static> {
        Session::new(TEXT, Statuses::Hidden, |line| (1..6).contains(&line))
    }

    #[test]
    fn commands_continuations_and_outputs_are_told_apart() {
        let session = session();
        assert_eq!(session.len(), 2);
        assert_eq!(session.steps[0].command, "cat <<end\none\nend\n");
        assert_eq!(session.steps[0].shown, "one\n");
        assert_eq!(session.steps[1].shown, "");
    }

    #[test]
    fn what_was_printed_is_compared_command_by_command() {
        let session = session();
        let same = session.compare("\u{1e}\none\n\u{1e}\n\u{1e}\n").unwrap();
        assert!(same.is_same());
        let other =
            session.compare("\u{1e}\ntwo\n\u{1e}\nthree\n\u{1e}\n").unwrap();
        assert!(other.report().contains("-one\n+two\n"), "{}", other.report());
        let blessed = other.blessed();
        assert!(
            blessed.contains("> end\ntwo\n$ true\nthree\nafter\n"),
            "{blessed}"
        );
    }

    #[test]
    fn a_session_that_breaks_off_is_reported_with_what_it_printed() {
        let error = session().compare("\u{1e}\nhi\n").unwrap_err().to_string();
        assert!(error.starts_with("only 0 of 2 commands ran"), "{error}");
        assert!(error.contains("hi"), "{error}");
    }

    #[test]
    fn a_failure_is_shown_by_its_status() {
        let session = Session::new("$ exit 3\n", Statuses::Shown, |_| true);
        assert!(session.script().contains("echo \"? $s\""));
    }
}
