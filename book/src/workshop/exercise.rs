//! An exercise as it lies below `book/exercises`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::needs::Need;
use super::source::{self, Texts};

/// One exercise.
#[derive(Debug)]
pub(crate) struct Exercise {
    /// As in `02-3`: the chapter, and its number in the chapter.
    pub(crate) id: String,
    /// Where it is kept.
    pub(crate) dir: PathBuf,
    pub(crate) about: About,
    pub(crate) texts: Texts,
}

/// `exercise.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) title: String,
    /// What a learner who has read the chapter needs.
    pub(crate) minutes: u32,
    /// What the machine must have for the check.
    pub(crate) needs: Vec<Need>,
    /// What to do, in Markdown.
    pub(crate) task: String,
    /// From a question to nearly the answer, for `hint`.
    pub(crate) hints: Vec<String>,
    /// A hint for every cause that the check can name.
    pub(crate) causes: BTreeMap<String, String>,
    /// The mistakes people make, each with its cause.
    pub(crate) mistakes: Vec<Mistake>,
}

/// A mistake, as a change to the solution.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mistake {
    /// The name of the cause that the check must come to.
    pub(crate) cause: String,
    /// A piece of the solution, found there once…
    pub(crate) find: String,
    /// …and what stands there instead.
    pub(crate) put: String,
}

impl Exercise {
    fn load(dir: &Path) -> Result<Exercise> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let id = name.get(..4).unwrap_or(&name).to_owned();
        let about = fs::read_to_string(dir.join("exercise.toml"))?;
        let about: About = toml::from_str(&about).context("exercise.toml")?;
        let source = fs::read_to_string(dir.join("solution.rs"))?;
        let texts = source::split(&source).context("solution.rs")?;
        Ok(Exercise { id, dir: dir.to_owned(), about, texts })
    }

    /// As in `02`.
    pub(crate) fn chapter(&self) -> &str {
        &self.id[..2]
    }

    /// The learner's file, relative to the workspace.
    pub(crate) fn file(&self) -> String {
        format!("workshop/{}.rs", self.id)
    }

    /// What the learner's file is at the beginning: the task as a comment,
    /// and the solution with holes.
    pub(crate) fn starter(&self) -> String {
        let mut text = format!("//! {}: {}\n//!\n", self.id, self.about.title);
        for line in self.about.task.trim().lines() {
            text += format!("//! {line}").trim_end();
            text += "\n";
        }
        let id = &self.id;
        text += &format!(
            "//!\n//!     cargo run -p book -- check {id}\n//!     cargo run \
             -p book -- hint {id}\n\n"
        );
        text + self.texts.starter.trim_start()
    }
}

impl Mistake {
    /// The solution with this mistake in it.
    pub(crate) fn in_solution(&self, solution: &str) -> Result<String> {
        match solution.matches(&self.find).count() {
            1 => Ok(solution.replacen(&self.find, &self.put, 1)),
            n => bail!("`{}` is {n} times in the solution", self.find),
        }
    }
}

/// All exercises, in the order of the book.
pub(crate) fn all(root: &Path) -> Result<Vec<Exercise>> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(root.join("book/exercises"))? {
        let dir = entry?.path();
        if dir.join("exercise.toml").exists() {
            dirs.push(dir);
        }
    }
    dirs.sort();
    let load = |dir: &PathBuf| {
        Exercise::load(dir).with_context(|| dir.display().to_string())
    };
    dirs.iter().map(load).collect()
}

/// The exercises that an argument names: one by its number (`02-3`), or all
/// of a chapter (`02`).
pub(crate) fn named(all: Vec<Exercise>, name: &str) -> Result<Vec<Exercise>> {
    let known: Vec<String> = all.iter().map(|it| it.id.clone()).collect();
    let found: Vec<Exercise> = all
        .into_iter()
        .filter(|it| it.id == name || it.chapter() == name)
        .collect();
    if found.is_empty() {
        bail!("there is no exercise `{name}`; there are {}", known.join(" "));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learner_s_file_begins_with_the_task() {
        let all = all(&crate::workspace_root()).unwrap();
        let exercise = named(all, "02-3").unwrap().remove(0);
        insta::assert_snapshot!(exercise.starter());
    }

    #[test]
    fn a_mistake_must_be_a_change_of_one_place() {
        let (find, put) = ("a".to_owned(), "b".to_owned());
        let mistake = Mistake { cause: String::new(), find, put };
        assert_eq!(mistake.in_solution("x a").unwrap(), "x b");
        assert!(mistake.in_solution("a a").is_err());
        assert!(mistake.in_solution("x").is_err());
    }
}
