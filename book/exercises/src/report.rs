//! What a check tells the tool, and how.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use crate::place;

/// Begins a line that is for the tool and not output of the learner's code.
/// ASCII's record separator, which no program prints by chance.
const MARK: char = '\u{1e}';

/// What is in place of a line break within such a line.
const BREAK: char = '\u{1f}';

/// Sentences about what was seen, if all is well; otherwise what was not.
pub type Verdict = Result<Vec<String>, Observation>;

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Observation {
    /// Its likely cause, by its name in `exercise.toml`.
    pub cause: String,
    /// What was seen, as a sentence.
    pub text: String,
}

/// An observation, in one sentence, and the name of its likely cause in
/// `exercise.toml`.
pub fn observed(cause: &str, text: impl Into<String>) -> Observation {
    Observation { cause: cause.to_owned(), text: text.into() }
}

/// The learner's function returned an error where it should not have.
pub fn failed(cause: &str, what: &str, error: &io::Error) -> Observation {
    observed(cause, format!("{what} returned an error: {error}"))
}

/// The `main` of a check: runs it in its place and reports.
pub fn run(check: fn() -> Verdict) -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    place::enter();
    let verdict = check();
    print(&encode(&verdict));
    match verdict {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Not `println!`: a panicking thread or a forked child may hold its lock.
fn print(report: &str) {
    let _ = io::stdout().flush();
    let _ = rustix::io::write(rustix::stdio::stdout(), report.as_bytes());
}

/// A panic of the learner's code is an observation as well.
fn report_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let Some(at) = info.location() else { return };
    let place = format!("line {}", at.line());
    let (cause, text) = if !at.file().starts_with("workshop/")
        && !at.file().ends_with("learner.rs")
    {
        ("checker", format!("{}, {place}: {message}", at.file()))
    } else if let Some(what) = message.strip_prefix("not yet implemented: ") {
        ("todo", format!("{place} is still to be written: {what}"))
    } else if message == "not yet implemented" {
        ("todo", format!("{place} is still to be written"))
    } else {
        ("panic", format!("{place} panicked: {message}"))
    };
    print(&encode(&Err(observed(cause, text))));
}

/// One line for each sentence.
pub(crate) fn encode(verdict: &Verdict) -> String {
    let one_line = |text: &str| text.replace('\n', &BREAK.to_string());
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match verdict {
        Ok(seen) if seen.is_empty() => writeln!(out, "{MARK}passed"),
        Ok(seen) => seen.iter().try_for_each(|text| {
            writeln!(out, "{MARK}passed\t{}", one_line(text))
        }),
        Err(Observation { cause, text }) => {
            writeln!(out, "{MARK}failed\t{cause}\t{}", one_line(text))
        }
    };
    out
}

/// The report among what a check and the learner's code have printed, if
/// there is one. Of several failures the first counts.
pub fn decode(text: &str) -> Option<Verdict> {
    let mut seen = None;
    for line in text.lines() {
        let Some(line) = line.strip_prefix(MARK) else { continue };
        let line = line.replace(BREAK, "\n");
        let mut words = line.splitn(3, '\t');
        match (words.next(), words.next(), words.next()) {
            (Some("failed"), Some(cause), Some(text)) => {
                return Some(Err(observed(cause, text)));
            }
            (Some("passed"), text, None) => {
                seen.get_or_insert_with(Vec::new)
                    .extend(text.map(str::to_owned));
            }
            _ => {}
        }
    }
    seen.map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_arrives_as_it_was() {
        let good = Ok(vec!["one\nand two".to_owned(), "three".to_owned()]);
        let bad = Err(observed("no-proc", "nothing\there"));
        for verdict in [good, bad, Ok(Vec::new())] {
            let text = format!("noise\n{}", encode(&verdict));
            let back = decode(&text).unwrap();
            assert_eq!(format!("{back:?}"), format!("{verdict:?}"));
        }
        assert!(decode("noise\n").is_none());
    }

    #[test]
    fn the_first_failure_is_the_one_that_counts() {
        let first = encode(&Err(observed("a", "1")));
        let text = first + &encode(&Err(observed("b", "2")));
        assert_eq!(decode(&text).unwrap().unwrap_err().cause, "a");
    }
}
