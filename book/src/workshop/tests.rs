//! The exercises, proven: no starter passes, every solution does, and each
//! of the mistakes that people make is told by its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::exercise::{self, Exercise};
use super::program::Compiler;
use super::report;
use super::trial::{self, Outcome, Trial};

/// Which text of an exercise is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Starter,
    Solution,
    Mistake(usize),
}

/// What is tried, and in the end what came of it.
struct Case<'a> {
    exercise: &'a Exercise,
    text: Text,
}

impl Case<'_> {
    fn source(&self) -> String {
        let about = &self.exercise.about;
        match self.text {
            Text::Starter => self.exercise.starter(),
            Text::Solution => self.exercise.texts.solution.clone(),
            Text::Mistake(number) => about.mistakes[number]
                .in_solution(&self.exercise.texts.solution)
                .unwrap(),
        }
    }

    /// Written to a fixed place, so that a program once made is found again
    /// (in the virtual machine, where compiling is slow).
    fn file(&self, root: &Path) -> PathBuf {
        let text = match self.text {
            Text::Starter => "starter".to_owned(),
            Text::Solution => "solution".to_owned(),
            Text::Mistake(number) => format!("mistake-{number}"),
        };
        let name = format!("{}-{text}", self.exercise.id);
        let dir = root.join("target/exercises").join(name);
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("learner.rs");
        let source = self.source();
        if fs::read_to_string(&file).ok().as_ref() != Some(&source) {
            fs::write(&file, source).unwrap();
        }
        file
    }

    /// What is wrong, if the outcome is not the one that must be.
    fn fault(&self, trial: &Trial) -> Option<String> {
        let name = format!("{} {:?}", self.exercise.id, self.text);
        let wrong = |what: &str| {
            let said = report::describe(self.exercise, trial);
            Some(format!("{name}: {what}\n{said}"))
        };
        match (self.text, &trial.outcome) {
            (_, Outcome::NotCompiled(_)) => wrong("does not compile"),
            (_, Outcome::Failed(seen))
                if report::hint(self.exercise, &seen.cause).is_none() =>
            {
                wrong(&format!("no hint for `{}`", seen.cause))
            }
            (Text::Solution, Outcome::Passed(seen)) if seen.is_empty() => {
                wrong("passes and says nothing about what was seen")
            }
            (Text::Solution, Outcome::Passed(_)) => None,
            (Text::Solution, _) => wrong("does not pass"),
            (Text::Starter, Outcome::Failed(seen))
                if !["died", "hangs", "panic", "checker"]
                    .contains(&seen.cause.as_str()) =>
            {
                None
            }
            (Text::Starter, _) => wrong("is not answered with what to do"),
            (Text::Mistake(number), Outcome::Failed(seen)) => {
                let cause = &self.exercise.about.mistakes[number].cause;
                (seen.cause != *cause)
                    .then(|| wrong(&format!("`{}`, not `{cause}`", seen.cause)))
                    .flatten()
            }
            (Text::Mistake(_), _) => wrong("is not noticed"),
        }
    }
}

fn cases<'a>(exercises: &'a [Exercise]) -> Vec<Case<'a>> {
    let of = |exercise: &'a Exercise| {
        let mistakes = exercise.about.mistakes.len();
        let mistakes = (0..mistakes).map(Text::Mistake);
        [Text::Starter, Text::Solution]
            .into_iter()
            .chain(mistakes)
            .map(move |text| Case { exercise, text })
    };
    exercises.iter().flat_map(of).collect()
}

#[test]
fn every_starter_fails_every_solution_passes_and_every_mistake_is_named() {
    let _building = crate::tests::building();
    let root = crate::workspace_root();
    let only = std::env::var("EXERCISES").unwrap_or_default();
    let mut exercises = exercise::all(&root).unwrap();
    exercises.retain(|it| it.id.starts_with(&only));
    let compiler = Compiler::find(&root).unwrap();
    let cases = cases(&exercises);
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let skipped = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism();
        for _ in 0..threads.map_or(2, |it| it.get() + 1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    let file = case.file(&root);
                    let trial =
                        trial::of(&compiler, &root, case.exercise, &file)
                            .unwrap();
                    if let Outcome::NotHere(reason) = &trial.outcome {
                        let line =
                            format!("SKIP: {}: {reason}", case.exercise.id);
                        skipped.lock().unwrap().insert(line);
                    } else if let Some(fault) = case.fault(&trial) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    for line in skipped.into_inner().unwrap() {
        println!("{line}");
    }
    let faults = faults.into_inner().unwrap();
    assert!(
        faults.is_empty(),
        "{} of {}:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
}

/// Set for the copy of a test that runs where there is no network.
const CUT_OFF: &str = "BOOK_TEST_CUT_OFF";

#[test]
fn a_learner_s_file_is_compiled_and_checked_without_a_network() {
    let test = "workshop::tests::a_learner_s_file_is_compiled_and_checked_\
                without_a_network";
    if std::env::var_os(CUT_OFF).is_some() {
        return check_three_cut_off();
    }
    if let Some(reason) = ::transcript::sandbox::missing() {
        println!("SKIP: {test}: {reason}");
        return;
    }
    let _building = crate::tests::building();
    let again = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CUT_OFF, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn check_three_cut_off() {
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    let devices: Vec<&str> = devices.lines().skip(2).collect();
    let [only] = devices[..] else { panic!("a network: {devices:?}") };
    assert!(only.trim().starts_with("lo:"), "{only}");
    let root = crate::workspace_root();
    let compiler = Compiler::find(&root).unwrap();
    let mut exercises = exercise::all(&root).unwrap();
    exercises.retain(|it| ["01-1", "02-1", "04-1"].contains(&it.id.as_str()));
    assert_eq!(exercises.len(), 3);
    for exercise in &exercises {
        let case = Case { exercise, text: Text::Solution };
        let file = case.file(&root);
        // One that was compiled while there was a network proves nothing.
        let old = compiler.compile(exercise, &file).unwrap().unwrap();
        fs::remove_file(old).unwrap();
        let trial = trial::of(&compiler, &root, exercise, &file).unwrap();
        assert_eq!(case.fault(&trial), None);
        assert!(matches!(trial.outcome, Outcome::Passed(_)), "{trial:?}");
    }
}

#[test]
fn every_exercise_is_complete() {
    let exercises = exercise::all(&crate::workspace_root()).unwrap();
    for exercise in &exercises {
        let (id, about) = (&exercise.id, &exercise.about);
        assert!((3..=7).contains(&about.mistakes.len()), "{id}: mistakes");
        assert!(about.hints.len() >= 2, "{id}: hints");
        for mistake in &about.mistakes {
            let cause = &mistake.cause;
            assert!(report::hint(exercise, cause).is_some(), "{id}: {cause}");
        }
        let check = fs::read_to_string(exercise.dir.join("check.rs")).unwrap();
        for cause in about.causes.keys() {
            let named = ["died", "hangs"].contains(&cause.as_str())
                || check.contains(&format!("\"{cause}\""));
            assert!(named, "{id}: the check never names `{cause}`");
        }
    }
    for chapter in ["01", "02", "03", "04", "05", "06", "07"] {
        let count =
            exercises.iter().filter(|it| it.chapter() == chapter).count();
        assert!(count >= 4, "chapter {chapter} has {count} exercises");
    }
}

#[test]
fn every_solution_is_compiled_with_the_workspace_too() {
    let root = crate::workspace_root();
    let list = root.join("book/exercises/src/solutions.rs");
    let list = fs::read_to_string(list).unwrap();
    for exercise in exercise::all(&root).unwrap() {
        let dir = exercise.dir.file_name().unwrap().to_string_lossy();
        assert!(list.contains(&*dir), "{dir} is not in solutions.rs");
    }
}
