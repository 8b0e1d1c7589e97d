//! What a learner reads after a check.

use super::exercise::Exercise;
use super::trial::{Outcome, Trial};

/// Hints for what can go wrong in every exercise.
const GENERAL: [(&str, &str); 5] = [
    ("todo", "The comment at the top of the file says what it should do."),
    (
        "panic",
        "A panic in your code, not an error that it returned: an `unwrap` on \
         an `Err`, an index out of range, or an overflow.",
    ),
    (
        "hangs",
        "Something waits for what never comes: a child that does not end, a \
         pipe whose other end is still open, or a lock.",
    ),
    (
        "died",
        "Something ended the process before it could report: a signal, or a \
         call of `exit`.",
    ),
    (
        "checker",
        "This is not about your code: the check itself could not work here.",
    ),
];

/// The hint that belongs to a cause.
pub(crate) fn hint<'a>(exercise: &'a Exercise, cause: &str) -> Option<&'a str> {
    let own = exercise.about.causes.get(cause).map(|it| it.trim());
    own.or_else(|| {
        let mut general = GENERAL.iter().filter(|(name, _)| *name == cause);
        general.next().map(|(_, text)| *text)
    })
}

/// The answer to `check`.
pub(crate) fn describe(exercise: &Exercise, trial: &Trial) -> String {
    let (id, title) = (&exercise.id, &exercise.about.title);
    let file = exercise.file();
    let mut text = String::new();
    if !trial.printed.is_empty() {
        text += &paragraph("printed", &trial.printed);
    }
    match &trial.outcome {
        Outcome::Passed(seen) => {
            let head = format!("{id} passed: {title}\n");
            let seen = seen.iter().map(|it| paragraph("seen", it));
            head + &text + &seen.collect::<String>()
        }
        Outcome::Failed(observation) => {
            text += &paragraph("seen", &observation.text);
            let hint = hint(exercise, &observation.cause);
            if let Some(hint) = hint {
                text += &paragraph("hint", hint);
            }
            format!("{id} not yet: {title}\n{text}{}", paragraph("file", &file))
        }
        Outcome::NotCompiled(errors) => {
            format!("{id} does not compile: {title}\n\n{}\n", errors.trim())
        }
        Outcome::NotHere(reason) => {
            let head = format!("{id} cannot be checked here: {title}\n");
            head + &paragraph("why", reason)
        }
    }
}

/// Text beside its name, folded at 78 columns. Line breaks stay, so that what
/// was quoted from the kernel keeps its lines.
fn paragraph(name: &str, text: &str) -> String {
    let mut out = String::new();
    let mut label = name;
    for line in text.trim_end().lines() {
        for folded in fold(line, 68) {
            out += format!("  {label:<8}{folded}").trim_end();
            out += "\n";
            label = "";
        }
    }
    out
}

/// Breaks a line at spaces; a word that is too long stands alone.
pub(crate) fn fold(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("there is always one");
        let taken = last.chars().count();
        if taken > 0 && taken + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if taken > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::exercise;

    /// The answers to one exercise, for each way in which a check can end.
    #[test]
    fn a_learner_reads_what_was_seen_and_what_it_means() {
        let all = exercise::all(&crate::workspace_root()).unwrap();
        let exercise = all.iter().find(|it| it.id == "02-3").unwrap();
        let seen = |cause: &str, text: &str| {
            Outcome::Failed(exercises::observed(cause, text))
        };
        let outcomes = [
            seen("chroot", "a root process reads the machine's files again"),
            seen("todo", "line 12 is still to be written: the other root"),
            seen("hangs", "still running after 20 s"),
            Outcome::NotCompiled("error[E0425]: cannot find `moun`\n".into()),
            Outcome::NotHere("making namespaces this way needs root".into()),
            Outcome::Passed(vec!["one mount is left: `1 2 0:3 / / rw`".into()]),
        ];
        let answers = outcomes.map(|outcome| {
            let printed = match outcome {
                Outcome::Passed(_) => "my own words\n".to_owned(),
                _ => String::new(),
            };
            describe(exercise, &Trial { outcome, printed })
        });
        insta::assert_snapshot!(answers.join("--\n"));
    }
}
