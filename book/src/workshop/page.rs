//! The exercises in the book: the task in its chapter, the answer at the end.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use similar::{ChangeTag, TextDiff};

use super::exercise::{self, Exercise, Mistake};
use super::report;

/// A chapter's exercises, in the place of `{{#exercises 02}}`.
pub(crate) fn exercises(root: &Path, chapter: &str) -> Result<String> {
    let found = exercise::named(exercise::all(root)?, chapter)?;
    let minutes: u32 = found.iter().map(|it| it.about.minutes).sum();
    let mut text = format!(
        "`cargo run -p book -- goto {chapter}` puts {} files into \
         `workshop/`. After that `watch {chapter}` checks each whenever you \
         save it, and `hint {}` helps. About {minutes} minutes.\n",
        found.len(),
        found[0].id
    );
    for exercise in &found {
        let Exercise { id, about, .. } = exercise;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n### {id} {}\n\n{} minutes, `{}`. {}\n\n\
             [Answer](answers.md#{})\n",
            about.title,
            about.minutes,
            exercise.file(),
            about.task.trim(),
            anchor(exercise)
        );
    }
    Ok(text)
}

/// All answers, in the place of `{{#answers}}`.
pub(crate) fn answers(root: &Path) -> Result<String> {
    let mut text = String::new();
    for exercise in exercise::all(root)? {
        let Exercise { id, about, texts, .. } = &exercise;
        let _ = write!(
            text,
            "## {id} {} {{#{}}}\n\n<details>\n<summary>Show the answer \
             </summary>\n\n```rust\n{}\n```\n\n",
            about.title,
            anchor(&exercise),
            texts.solution.trim()
        );
        text += "What people write instead, and what the check says:\n";
        for mistake in &about.mistakes {
            text += &told(&exercise, mistake)?;
        }
        text += "\n</details>\n\n";
    }
    Ok(text)
}

/// A mistake as a change to the solution, and its hint.
fn told(exercise: &Exercise, mistake: &Mistake) -> Result<String> {
    let solution = &exercise.texts.solution;
    let wrong = mistake.in_solution(solution)?;
    let diff = TextDiff::from_lines(solution, &wrong);
    let mut changed = String::new();
    for change in diff.iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => continue,
        };
        changed.push(sign);
        changed.push_str(change.value());
    }
    let hint = report::hint(exercise, &mistake.cause).unwrap_or_default();
    Ok(format!("\n```diff\n{}\n```\n\n{hint}\n", changed.trim_end()))
}

fn anchor(exercise: &Exercise) -> String {
    format!("answer-{}", exercise.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_shows_its_exercises_and_where_the_answers_are() {
        let root = crate::workspace_root();
        insta::assert_snapshot!(exercises(&root, "03").unwrap());
        let answers = answers(&root).unwrap();
        assert!(answers.contains("{#answer-03-1}"), "{answers}");
    }
}
