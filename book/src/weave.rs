//! Weaving: putting compiled code into the text.
//!
//! A directive stands alone on a line of a chapter:
//!
//! * `{{#listing steps/02-namespaces/src/lib.rs:clone}}` becomes the part of
//!   that file named `clone` (see [`crate::anchors`]), captioned with the
//!   file's path, as a Rust block. Without `:name` it is the whole file.
//! * `{{#difference 01 02}}` becomes the difference between two stages'
//!   `main.rs`, which is the chapter in a nutshell.
//! * `{{#picture namespaces}}` becomes a drawing (see [`crate::pictures`]).
//! * `{{#snapshot book/src/doctor/snapshots/x.snap}}` becomes what a test
//!   has pinned, without the snapshot's header.
//! * `{{#attacks}}` becomes the table of all abuses (see
//!   [`crate::attacks`]).
//! * `{{#prices start}}` becomes a table of what the benches of that group
//!   cost (see [`crate::prices`]).
//! * `{{#table book/data/networks.md}}` becomes that file: a table which a
//!   script of ours has measured.
//! * `{{#exercises 02}}` becomes the exercises of a chapter, and
//!   `{{#answers}}` the answers to all (see [`crate::workshop`]).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mdbook_preprocessor::book::{Book, BookItem};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use similar::TextDiff;

use crate::workshop::page;
use crate::{anchors, attacks, minutes, pictures, prices};

/// The mdBook preprocessor that expands the directives and fails if an
/// anchor of the sources or a picture is shown nowhere.
pub(crate) struct Weave {
    root: PathBuf,
    used: RefCell<BTreeSet<(PathBuf, String)>>,
    pictures: RefCell<BTreeSet<String>>,
}

impl Weave {
    pub(crate) fn new(root: &Path) -> Self {
        Weave {
            root: root.to_path_buf(),
            used: RefCell::default(),
            pictures: RefCell::default(),
        }
    }

    fn expand(&self, text: &str) -> Result<String> {
        let mut woven = String::with_capacity(text.len());
        for (number, line) in text.lines().enumerate() {
            match directive(line) {
                None => woven.push_str(line),
                Some(words) => {
                    let block = self.directive(words).with_context(|| {
                        format!("line {}: `{line}`", number + 1)
                    })?;
                    woven.push_str(&block);
                }
            }
            woven.push('\n');
        }
        Ok(woven)
    }

    fn directive(&self, words: &str) -> Result<String> {
        let words: Vec<&str> = words.split_whitespace().collect();
        match words.as_slice() {
            ["listing", place] => self.listing(place),
            ["difference", before, after] => self.difference(before, after),
            ["picture", name] => self.picture(name),
            ["snapshot", file] => self.snapshot(file),
            ["attacks"] => Ok(attacks::table()),
            ["prices", group] => prices::table(&self.root, group),
            ["table", file] => Ok(self.read(file)?.trim_end().to_owned()),
            ["exercises", chapter] => page::exercises(&self.root, chapter),
            ["answers"] => page::answers(&self.root),
            _ => bail!(
                "unknown directive; there are `listing FILE:ANCHOR`, \
                 `difference NN NN`, `picture NAME`, `snapshot FILE`, \
                 `attacks`, `prices GROUP`, `table FILE`, `exercises NN` and \
                 `answers`"
            ),
        }
    }

    fn listing(&self, place: &str) -> Result<String> {
        let (file, anchor) = match place.split_once(':') {
            Some((file, anchor)) => (file, Some(anchor)),
            None => (place, None),
        };
        let source = self.read(file)?;
        let code = match anchor {
            None => anchors::without_markers(&source),
            Some(anchor) => {
                let parts = anchors::parts(&source).context(file.to_owned())?;
                let part = parts.get(anchor).with_context(|| {
                    format!("{file} has no anchor `{anchor}`")
                })?;
                let used = (PathBuf::from(file), anchor.to_owned());
                self.used.borrow_mut().insert(used);
                part.clone()
            }
        };
        let language = if file.ends_with(".rs") { "rust" } else { "text" };
        Ok(format!(
            "<p class=\"listing-caption\"><code>{file}</code></p>\n\n\
             ```{language}\n{}\n```",
            code.trim_end()
        ))
    }

    fn snapshot(&self, file: &str) -> Result<String> {
        let text = self.read(file)?;
        // insta's header stands between two lines of three dashes.
        let (_, body) = text
            .strip_prefix("---\n")
            .and_then(|it| it.split_once("\n---\n"))
            .with_context(|| format!("{file} is no snapshot"))?;
        Ok(format!("```text\n{}\n```", body.trim_end()))
    }

    fn picture(&self, name: &str) -> Result<String> {
        self.pictures.borrow_mut().insert(name.to_owned());
        pictures::html(name)
    }

    fn difference(&self, before: &str, after: &str) -> Result<String> {
        let (old_name, new_name) = (self.stage(before)?, self.stage(after)?);
        let old = anchors::without_markers(&self.read(&old_name)?);
        let new = anchors::without_markers(&self.read(&new_name)?);
        let diff = TextDiff::from_lines(&old, &new);
        let mut unified = diff.unified_diff();
        let text = unified.header(&old_name, &new_name).to_string();
        Ok(format!("```diff\n{}\n```", text.trim_end()))
    }

    /// `02` → `steps/02-namespaces/src/main.rs`
    fn stage(&self, number: &str) -> Result<String> {
        for entry in fs::read_dir(self.root.join("steps"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{number}-")) {
                return Ok(format!("steps/{name}/src/main.rs"));
            }
        }
        bail!("there is no stage {number} below steps/")
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.root.join(file);
        fs::read_to_string(path).with_context(|| format!("read {file}"))
    }

    /// A picture nobody shows is litter as well.
    fn check_all_drawn(&self) -> Result<()> {
        let shown = self.pictures.borrow();
        let mut unused = pictures::names().filter(|it| !shown.contains(*it));
        match unused.next() {
            Some(name) => bail!("picture `{name}` is shown nowhere"),
            None => Ok(()),
        }
    }

    /// An anchor nobody shows is either a forgotten listing or litter.
    fn check_all_used(&self) -> Result<()> {
        for file in rust_files(&self.root)? {
            let source = fs::read_to_string(self.root.join(&file))?;
            // This module speaks of anchors without having any.
            if file.starts_with("book/src") {
                continue;
            }
            let parts = anchors::parts(&source)
                .with_context(|| file.display().to_string())?;
            for name in parts.into_keys() {
                let key = (file.clone(), name);
                if !self.used.borrow().contains(&key) {
                    bail!(
                        "{}: anchor `{}` is shown nowhere",
                        file.display(),
                        key.1
                    );
                }
            }
        }
        Ok(())
    }
}

impl Preprocessor for Weave {
    fn name(&self) -> &str {
        "weave"
    }

    fn run(
        &self,
        _context: &PreprocessorContext,
        mut book: Book,
    ) -> mdbook_preprocessor::errors::Result<Book> {
        let mut failure = None;
        book.for_each_mut(|item| {
            let BookItem::Chapter(chapter) = item else { return };
            if failure.is_some() {
                return;
            }
            let woven = self.expand(&chapter.content);
            match woven.and_then(|it| minutes::check(&it).map(|()| it)) {
                Ok(text) => chapter.content = text,
                Err(error) => {
                    failure = Some(error.context(chapter.name.clone()));
                }
            }
        });
        match failure {
            Some(error) => Err(error),
            None => {
                self.check_all_used()?;
                self.check_all_drawn()?;
                Ok(book)
            }
        }
    }
}

/// The words of a directive line, or `None` for ordinary text.
fn directive(line: &str) -> Option<&str> {
    line.trim().strip_prefix("{{#")?.strip_suffix("}}")
}

/// Every Rust file of the workspace, relative to its root.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut queue: Vec<PathBuf> = ["steps", "final", "benches", "book"]
        .iter()
        .map(|top| root.join(top))
        .collect();
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path.strip_prefix(root)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(main: &str) -> (tempfile::TempDir, Weave) {
        let dir = tempfile::tempdir().unwrap();
        for top in ["steps/01-a/src", "steps/02-b/src", "final"] {
            fs::create_dir_all(dir.path().join(top)).unwrap();
        }
        for top in ["benches", "book"] {
            fs::create_dir_all(dir.path().join(top)).unwrap();
        }
        let file = |name| dir.path().join(name);
        fs::write(file("steps/01-a/src/main.rs"), main).unwrap();
        fs::write(file("steps/02-b/src/main.rs"), "fn b() {}\n").unwrap();
        let weave = Weave::new(dir.path());
        (dir, weave)
    }

    #[test]
    fn a_listing_is_cut_out_of_the_source() {
        let source = "// ANCHOR: a\nfn a() {}\n// ANCHOR_END: a\n";
        let (_dir, weave) = workspace(source);
        let text = "{{#listing steps/01-a/src/main.rs:a}}";
        let woven = weave.expand(text).unwrap();
        assert!(woven.contains("```rust\nfn a() {}\n```"), "{woven}");
        weave.check_all_used().unwrap();
    }

    #[test]
    fn a_difference_shows_what_the_later_stage_adds() {
        let (_dir, weave) = workspace("fn a() {}\n");
        let woven = weave.expand("{{#difference 01 02}}").unwrap();
        assert!(woven.contains("-fn a() {}\n+fn b() {}"), "{woven}");
    }

    #[test]
    fn what_cannot_be_shown_fails_the_build_and_says_where() {
        let source = "// ANCHOR: a\nfn a() {}\n// ANCHOR_END: a\n";
        let (_dir, weave) = workspace(source);
        for (text, message) in [
            ("{{#listing steps/01-a/src/main.rs:z}}", "no anchor `z`"),
            ("{{#listing steps/09/src/main.rs}}", "read steps/09"),
            ("{{#difference 01 09}}", "no stage 09"),
            ("{{#picture x}}", "no picture `x`"),
            ("{{#include x}}", "unknown directive"),
        ] {
            let error = format!("{:#}", weave.expand(text).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        let unused = weave.check_all_used().unwrap_err().to_string();
        assert!(unused.contains("anchor `a` is shown nowhere"), "{unused}");
        let unused = weave.check_all_drawn().unwrap_err().to_string();
        assert!(unused.contains("is shown nowhere"), "{unused}");
    }
}
