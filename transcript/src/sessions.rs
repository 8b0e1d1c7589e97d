//! A directory of sessions: files `*.txt`, each run in a sandbox of its own
//! and compared with what it shows, exit statuses included.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sandbox::{self, Network};
use crate::{Session, Statuses};

/// Where sessions are and what is run around each of them.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a> {
    /// The workspace.
    pub root: &'a Path,
    /// The directory, from there.
    pub dir: &'a str,
    /// Lines of shell that run before each session.
    pub before: &'a str,
    /// Lines of shell that run after it.
    pub after: &'a str,
}

impl Sessions<'_> {
    /// The files, in order.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let dir = self.root.join(self.dir);
        let entries = fs::read_dir(&dir)
            .with_context(|| format!("read {}", dir.display()))?;
        let paths = entries.map(|entry| Ok(entry?.path()));
        let mut files = paths.collect::<Result<Vec<PathBuf>>>()?;
        files.retain(|path| path.extension().is_some_and(|it| it == "txt"));
        files.sort();
        Ok(files)
    }

    /// How many commands there are in all of them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn count(&self) -> Result<usize> {
        let mut count = 0;
        for file in self.files()? {
            let text = fs::read_to_string(file)?;
            count += Session::new(&text, Statuses::Shown, |_| true).len();
        }
        Ok(count)
    }

    /// Runs all and returns what differs, file by file; empty is good.
    ///
    /// # Errors
    /// A session cannot be run to its end.
    pub fn differences(&self) -> Result<String> {
        let mut report = String::new();
        for file in self.files()? {
            let text = fs::read_to_string(&file)?;
            let session = Session::new(&text, Statuses::Shown, |_| true);
            let comparison = session.compare(&self.run(&session)?)?;
            if !comparison.is_same() {
                let name = file.display();
                report += &format!("{name}\n{}\n", comparison.report());
            }
        }
        Ok(report)
    }

    /// Runs all and writes down what they print now.
    ///
    /// # Errors
    /// A session cannot be run to its end, or not be written.
    pub fn bless(&self) -> Result<()> {
        for file in self.files()? {
            let text = fs::read_to_string(&file)?;
            let session = Session::new(&text, Statuses::Shown, |_| true);
            let comparison = session.compare(&self.run(&session)?)?;
            fs::write(&file, comparison.blessed())?;
        }
        Ok(())
    }

    /// Does what the variable `SKIFF_BLESS` asks for: with it the sessions
    /// are rewritten, without it they must be true.
    ///
    /// # Panics
    /// One prints something else than it shows, or cannot be run.
    pub fn check(&self) {
        if std::env::var_os("SKIFF_BLESS").is_some() {
            return self.bless().unwrap();
        }
        let differences = self.differences().unwrap();
        assert!(differences.is_empty(), "{differences}");
    }

    fn run(&self, session: &Session<'_>) -> Result<String> {
        let script =
            format!("{}{}{}", self.before, session.script(), self.after);
        sandbox::run(self.root, &script, Network::Own, None)
    }
}
