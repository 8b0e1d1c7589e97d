//! What a learner has done: one line of `workshop/progress` per exercise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files;

const NAME: &str = "progress";

/// Of one exercise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) passed: bool,
    /// How many hints were asked for.
    pub(crate) hints: usize,
}

/// Of all exercises.
#[derive(Debug)]
pub(crate) struct Progress {
    root: PathBuf,
    states: BTreeMap<String, State>,
}

impl Progress {
    pub(crate) fn load(root: &Path) -> Result<Progress> {
        let file = root.join("workshop").join(NAME);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            text => text.with_context(|| format!("read {}", file.display()))?,
        };
        let states = text.lines().filter_map(parse).collect();
        Ok(Progress { root: root.to_owned(), states })
    }

    pub(crate) fn of(&self, id: &str) -> State {
        self.states.get(id).copied().unwrap_or_default()
    }

    /// Changes the state of one exercise, on disk as well.
    pub(crate) fn change(
        &mut self,
        id: &str,
        how: impl FnOnce(&mut State),
    ) -> Result<()> {
        how(self.states.entry(id.to_owned()).or_default());
        let lines = self.states.iter().map(|(id, state)| {
            let passed = if state.passed { " passed" } else { "" };
            format!("{id} hints={}{passed}\n", state.hints)
        });
        let text: String = lines.collect();
        files::write(&self.root, NAME, &text)
    }
}

/// `02-3 hints=1 passed`
fn parse(line: &str) -> Option<(String, State)> {
    let mut words = line.split_whitespace();
    let id = words.next()?.to_owned();
    let hints = words.next()?.strip_prefix("hints=")?.parse().ok()?;
    Some((id, State { hints, passed: words.next() == Some("passed") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_known_to_the_next_command() {
        let dir = tempfile::tempdir().unwrap();
        let mut progress = Progress::load(dir.path()).unwrap();
        progress.change("01-1", |it| it.hints += 1).unwrap();
        progress.change("02-3", |it| it.passed = true).unwrap();
        let progress = Progress::load(dir.path()).unwrap();
        assert_eq!(progress.of("01-1"), State { passed: false, hints: 1 });
        assert_eq!(progress.of("02-3"), State { passed: true, hints: 0 });
        assert_eq!(progress.of("03-1"), State::default());
    }
}
