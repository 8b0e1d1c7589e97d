//! Anchors: the names by which the text cuts a part out of a source file.
//!
//! A part begins on the line after `// ANCHOR: name` and ends on the line
//! before `// ANCHOR_END: name`. Parts may nest; the marker lines themselves
//! are never shown. Unlike mdBook's own include, a part that is missing,
//! empty, opened twice or never closed is an error, because a listing that
//! silently vanishes is the first way in which a book starts to lie.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

const OPEN: &str = "// ANCHOR: ";
const CLOSE: &str = "// ANCHOR_END: ";

/// Every part of one source file, by name, without marker lines.
pub(crate) fn parts(source: &str) -> Result<BTreeMap<String, String>> {
    let mut done = BTreeMap::new();
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    for (number, line) in source.lines().enumerate() {
        let number = number + 1;
        let mark = line.trim_start();
        if let Some(name) = mark.strip_prefix(OPEN) {
            let name = name.trim().to_owned();
            if open.contains_key(&name) || done.contains_key(&name) {
                bail!("line {number}: anchor `{name}` is opened twice");
            }
            open.insert(name, String::new());
        } else if let Some(name) = mark.strip_prefix(CLOSE) {
            let name = name.trim();
            let Some(text) = open.remove(name) else {
                bail!("line {number}: anchor `{name}` was never opened");
            };
            if text.trim().is_empty() {
                bail!("line {number}: anchor `{name}` is empty");
            }
            done.insert(name.to_owned(), dedent(&text));
        } else {
            for text in open.values_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    match open.keys().next() {
        Some(name) => bail!("anchor `{name}` is never closed"),
        None => Ok(done),
    }
}

/// A whole source file as a reader should see it: without marker lines.
pub(crate) fn without_markers(source: &str) -> String {
    let shown = source.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with(OPEN) && !line.starts_with(CLOSE)
    });
    shown.map(|line| format!("{line}\n")).collect()
}

/// Moves the text left until its least indented line touches the margin.
fn dedent(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let full = text.lines().filter(|line| !line.trim().is_empty());
    let margin = full.map(indent).min().unwrap_or(0);
    let lines = text.lines().map(|line| line.get(margin..).unwrap_or(""));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_stands_between_its_markers_moved_to_the_margin() {
        let source = "fn a() {\n    // ANCHOR: x\n    let b = 1;\n\n    \
                      // ANCHOR_END: x\n}\n";
        assert_eq!(parts(source).unwrap()["x"], "let b = 1;\n\n");
        assert_eq!(without_markers(source), "fn a() {\n    let b = 1;\n\n}\n");
    }

    #[test]
    fn a_broken_anchor_is_named() {
        let twice = "// ANCHOR: x\na\n// ANCHOR_END: x\n// ANCHOR: x\n";
        let cases = [
            (twice, "opened twice"),
            ("// ANCHOR: x\na\n", "never closed"),
            ("// ANCHOR_END: x\n", "never opened"),
            ("// ANCHOR: x\n\n// ANCHOR_END: x\n", "is empty"),
        ];
        for (source, message) in cases {
            let error = parts(source).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
