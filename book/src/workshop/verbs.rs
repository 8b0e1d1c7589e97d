//! The command line of the workshop.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use super::exercise::{self, Exercise};
use super::program::Compiler;
use super::progress::Progress;
use super::trial::{self, Outcome};
use super::{files, needs, report};

/// What a learner can ask for.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Check your code against the kernel
    Check {
        /// An exercise (02-3) or a chapter (02); without it, whatever is in
        /// workshop/
        exercise: Option<String>,
    },
    /// Check again whenever you save a file
    Watch {
        /// An exercise or a chapter; without it, whatever is in workshop/
        exercise: Option<String>,
    },
    /// Show a hint, and one more each time
    Hint {
        /// The exercise, as in 02-3
        exercise: String,
    },
    /// Show a solution
    Solution {
        /// The exercise, as in 02-3
        exercise: String,
    },
    /// Start an exercise over; your file is kept beside it, as .old
    Reset {
        /// The exercise, as in 02-3
        exercise: String,
    },
    /// Put a chapter's exercises into workshop/
    Goto {
        /// The chapter, as in 03
        chapter: String,
    },
    /// Show what is done and what cannot be checked on this machine
    Status,
}

impl Verb {
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        let all = exercise::all(root)?;
        match self {
            Verb::Check { exercise } => {
                check(root, &chosen(root, all, exercise.as_deref())?)
            }
            Verb::Watch { exercise } => {
                watch(root, &chosen(root, all, exercise.as_deref())?)
            }
            Verb::Hint { exercise } => {
                print!("{}", next_hint(root, &one(all, exercise)?)?);
                Ok(())
            }
            Verb::Solution { exercise } => {
                print!("{}", one(all, exercise)?.texts.solution.trim_start());
                Ok(())
            }
            Verb::Reset { exercise } => reset(root, &one(all, exercise)?),
            Verb::Goto { chapter } => {
                print!("{}", goto(root, all, chapter)?);
                Ok(())
            }
            Verb::Status => {
                print!("{}", status(&Progress::load(root)?, &all));
                Ok(())
            }
        }
    }
}

/// What `check` and `watch` are about. One that was not begun is begun.
fn chosen(
    root: &Path,
    all: Vec<Exercise>,
    name: Option<&str>,
) -> Result<Vec<Exercise>> {
    let Some(name) = name else {
        let begun = all.into_iter().filter(|it| root.join(it.file()).exists());
        let begun: Vec<_> = begun.collect();
        if begun.is_empty() {
            bail!(
                "workshop/ is empty; begin with `cargo run -p book -- goto 01`"
            );
        }
        return Ok(begun);
    };
    let found = exercise::named(all, name)?;
    for exercise in &found {
        if begin(root, exercise)? {
            println!("wrote {}", exercise.file());
        }
    }
    Ok(found)
}

fn one(all: Vec<Exercise>, name: &str) -> Result<Exercise> {
    let mut found = exercise::named(all, name)?;
    match found.len() {
        1 => Ok(found.remove(0)),
        _ => bail!("say which one, as in {}", found[0].id),
    }
}

/// Writes the learner's file unless it is there.
fn begin(root: &Path, exercise: &Exercise) -> Result<bool> {
    if root.join(exercise.file()).exists() {
        return Ok(false);
    }
    files::write(root, &format!("{}.rs", exercise.id), &exercise.starter())?;
    Ok(true)
}

fn check(root: &Path, exercises: &[Exercise]) -> Result<()> {
    let compiler = Compiler::find(root)?;
    let mut progress = Progress::load(root)?;
    let mut open = 0;
    for (number, exercise) in exercises.iter().enumerate() {
        if number > 0 {
            println!();
        }
        let outcome = check_one(root, &compiler, &mut progress, exercise)?;
        open += u32::from(matches!(
            outcome,
            Outcome::Failed(_) | Outcome::NotCompiled(_)
        ));
    }
    match open {
        0 => Ok(()),
        // The learner has read why; an exit status is for scripts.
        _ => std::process::exit(1),
    }
}

fn check_one(
    root: &Path,
    compiler: &Compiler,
    progress: &mut Progress,
    exercise: &Exercise,
) -> Result<Outcome> {
    let file = root.join(exercise.file());
    let trial = trial::of(compiler, root, exercise, &file)?;
    print!("{}", report::describe(exercise, &trial));
    if matches!(trial.outcome, Outcome::Passed(_)) {
        progress.change(&exercise.id, |it| it.passed = true)?;
    }
    Ok(trial.outcome)
}

/// Looks at the files four times a second. The kernel could tell (inotify),
/// but not about files on a Windows disk under WSL2.
fn watch(root: &Path, exercises: &[Exercise]) -> Result<()> {
    let compiler = Compiler::find(root)?;
    let mut progress = Progress::load(root)?;
    let saved = |exercise: &Exercise| -> Option<SystemTime> {
        fs::metadata(root.join(exercise.file())).ok()?.modified().ok()
    };
    let mut seen: Vec<_> = exercises.iter().map(|_| None).collect();
    println!("watching {} files (ctrl-c ends)", exercises.len());
    loop {
        for (exercise, seen) in exercises.iter().zip(&mut seen) {
            let now = saved(exercise);
            if now.is_some() && now != *seen {
                *seen = now;
                println!();
                check_one(root, &compiler, &mut progress, exercise)?;
            }
        }
        sleep(Duration::from_millis(250));
    }
}

fn next_hint(root: &Path, exercise: &Exercise) -> Result<String> {
    let mut progress = Progress::load(root)?;
    let hints = &exercise.about.hints;
    let shown = (progress.of(&exercise.id).hints + 1).min(hints.len());
    progress.change(&exercise.id, |it| it.hints = shown)?;
    let mut text = String::new();
    for (number, hint) in hints.iter().take(shown).enumerate() {
        let lines = report::fold(hint.trim(), 76).join("\n   ");
        text += &format!("{}. {lines}\n", number + 1);
    }
    let id = &exercise.id;
    text += &match hints.len() - shown {
        0 => format!("no more hints; `solution {id}` shows the answer\n"),
        1 => format!("one more: `hint {id}`\n"),
        more => format!("{more} more: `hint {id}`\n"),
    };
    Ok(text)
}

fn reset(root: &Path, exercise: &Exercise) -> Result<()> {
    let file = root.join(exercise.file());
    if file.exists() {
        let old = file.with_extension("rs.old");
        fs::rename(&file, &old)
            .with_context(|| format!("keep {}", file.display()))?;
        println!("your file is now {}.old", exercise.file());
    }
    begin(root, exercise)?;
    Progress::load(root)?
        .change(&exercise.id, |it| *it = Default::default())?;
    println!("wrote {}", exercise.file());
    Ok(())
}

/// Every exercise stands by itself, so a late learner can begin anywhere.
fn goto(root: &Path, all: Vec<Exercise>, chapter: &str) -> Result<String> {
    let found = exercise::named(all, chapter)?;
    let mut text = String::new();
    for exercise in &found {
        let state = match begin(root, exercise)? {
            true => "new",
            false => "as you left it",
        };
        text += &format!(
            "{}  {:>2} min  {} ({state})\n",
            exercise.file(),
            exercise.about.minutes,
            exercise.about.title
        );
    }
    text +=
        &format!("then: cargo run -p book -- watch {}\n", found[0].chapter());
    Ok(text)
}

fn status(progress: &Progress, all: &[Exercise]) -> String {
    let mut text = String::new();
    let mut done = 0;
    for exercise in all {
        let state = progress.of(&exercise.id);
        done += usize::from(state.passed);
        let mark = if state.passed { "passed" } else { "      " };
        let hints = match state.hints {
            0 => String::new(),
            1 => " (1 hint)".to_owned(),
            n => format!(" ({n} hints)"),
        };
        let (id, title) = (&exercise.id, &exercise.about.title);
        text += &format!("{id}  {mark}  {title}{hints}\n");
        let missing = needs::first_missing(&exercise.about.needs);
        if let Some(reason) = missing.filter(|_| !state.passed) {
            text += &format!("               not here: {reason}\n");
        }
    }
    text + &format!("{done} of {} passed\n", all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_of_exercises() -> (tempfile::TempDir, Vec<Exercise>) {
        let all = exercise::all(&crate::workspace_root()).unwrap();
        (tempfile::tempdir().unwrap(), all)
    }

    #[test]
    fn the_help_names_all_that_can_be_asked_for() {
        let book = clap::Command::new("book");
        let help = Verb::augment_subcommands(book).render_help();
        insta::assert_snapshot!(help);
    }

    #[test]
    fn hints_come_one_by_one_and_end_with_the_way_to_the_solution() {
        let (dir, all) = copy_of_exercises();
        let exercise = one(all, "02-3").unwrap();
        let mut said = String::new();
        for _ in 0..=exercise.about.hints.len() {
            said += &next_hint(dir.path(), &exercise).unwrap();
            said += "--\n";
        }
        insta::assert_snapshot!(said);
    }

    #[test]
    fn going_to_a_chapter_leaves_alone_what_was_begun() {
        let (dir, all) = copy_of_exercises();
        let mine = dir.path().join("workshop/02-1.rs");
        fs::create_dir_all(mine.parent().unwrap()).unwrap();
        fs::write(&mine, "mine").unwrap();
        insta::assert_snapshot!(goto(dir.path(), all, "02").unwrap());
        assert_eq!(fs::read_to_string(mine).unwrap(), "mine");
    }

    #[test]
    fn starting_over_keeps_the_old_file_and_forgets_the_state() {
        let (dir, all) = copy_of_exercises();
        let exercise = one(all, "02-1").unwrap();
        let mine = dir.path().join("workshop/02-1.rs");
        fs::create_dir_all(mine.parent().unwrap()).unwrap();
        fs::write(&mine, "mine").unwrap();
        let mut progress = Progress::load(dir.path()).unwrap();
        progress.change("02-1", |it| it.passed = true).unwrap();
        reset(dir.path(), &exercise).unwrap();
        let old = mine.with_extension("rs.old");
        assert_eq!(fs::read_to_string(old).unwrap(), "mine");
        assert_eq!(fs::read_to_string(mine).unwrap(), exercise.starter());
        assert!(!Progress::load(dir.path()).unwrap().of("02-1").passed);
    }

    #[test]
    fn an_exercise_that_there_is_not_is_answered_with_those_there_are() {
        let (_, all) = copy_of_exercises();
        let error = one(all, "02-99").unwrap_err().to_string();
        assert!(error.starts_with("there is no exercise `02-99`"), "{error}");
        assert!(error.contains("02-1 02-2"), "{error}");
    }
}
