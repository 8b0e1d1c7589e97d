//! Rendering: from the chapters below `book/text` to HTML in `target/book`.

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
    lint::check_pages(&book.build_dir_for("html"))
}
