//! Rendering: from the chapters below `book/text` to HTML in `target/book`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mdbook_driver::MDBook;
use mdbook_html::HtmlHandlebars;
use regex::{Captures, Regex};

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
    let missing = pages.join("404.html");
    for file in lint::pages(&pages)?.into_iter().chain([missing]) {
        let page = fs::read_to_string(&file)?;
        fs::write(&file, breakable(&accessible(&page))?)
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
        .replace(
            "aria-describedby=\"searchresults-header\"",
            "aria-describedby=\"mdbook-searchresults-header\"",
        )
}

/// Lets the paths and names in a table's cells go on in a new line after one
/// of their parts. Otherwise a browser breaks them at any letter, or makes
/// the column as wide as the longest.
fn breakable(page: &str) -> Result<String> {
    let cell = Regex::new(r"(?s)<td.*?</td>")?;
    let code = Regex::new(r"(?s)<code>(.*?)</code>")?;
    let end_of_part = Regex::new(r"[/_.=]")?;
    let broken = |code: &Captures| {
        let parts = end_of_part.replace_all(&code[1], "$0<wbr>");
        format!("<code>{parts}</code>")
    };
    let page = cell.replace_all(page, |cell: &Captures| {
        code.replace_all(&cell[0], broken).into_owned()
    });
    Ok(page.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_table_may_be_broken_between_its_parts() {
        let page = "<code>a/b</code><td class=\"x.y\">a/b <code>a/b.c</code> \
                    d/e</td><td>f</td><p>a/b</p>";
        assert_eq!(
            breakable(page).unwrap(),
            "<code>a/b</code><td class=\"x.y\">a/b \
             <code>a/<wbr>b.<wbr>c</code> d/e</td><td>f</td><p>a/b</p>"
        );
    }
}
