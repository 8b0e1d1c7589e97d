//! Rendering: from the chapters below `book/text` to HTML in `target/book`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mdbook_driver::MDBook;
use mdbook_html::HtmlHandlebars;

use crate::lint;
use crate::weave::Weave;

/// Builds the book below `root/target/book` and returns how many pages it
/// has. Fails on anything that [`crate::lint`] objects to.
pub(crate) fn build(root: &Path) -> Result<usize> {
    lint::check_text(root)?;
    let mut book =
        MDBook::load(root.join("book")).context("load book/book.toml")?;
    book.with_preprocessor(Weave::new(root));
    book.execute_build_process(&HtmlHandlebars::new())
        .context("render the book")?;
    let pages = book.build_dir_for("html");
    for file in lint::pages(&pages)? {
        let page = fs::read_to_string(&file)?;
        fs::write(&file, accessible(&page))
            .with_context(|| format!("write {}", file.display()))?;
    }
    lint::check_pages(&pages)
}

/// What mdBook's pages lack for those who read without a mouse or without
/// eyes: a block that scrolls sideways has to take the focus, or the keyboard
/// cannot scroll it (WCAG 2.1.1), and a label that works as a button has to
/// say that it is one, or its name and state are not read out (WCAG 4.1.2).
fn accessible(page: &str) -> String {
    page.replace("<pre><code class=", "<pre><code tabindex=\"0\" class=")
        .replace(
            "<div class=\"table-wrapper\"",
            "<div tabindex=\"0\" class=\"table-wrapper\"",
        )
        .replace(
            "<label id=\"mdbook-sidebar-toggle\"",
            "<label role=\"button\" id=\"mdbook-sidebar-toggle\"",
        )
}
