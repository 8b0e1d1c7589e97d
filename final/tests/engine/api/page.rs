//! The page of the book that the tests of this folder write.
//!
//! With `SKIFF_BLESS=1` it is rewritten to what is found now; otherwise it
//! must be what is found.

use std::path::Path;
use std::sync::Mutex;

/// Two tests write their parts, possibly at the same time.
static PAGE: Mutex<()> = Mutex::new(());

/// Compares one part of the page: the rows of a table.
pub(super) fn check(part: &str, rows: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/text/api.md");
    let _alone = PAGE.lock().unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {part} -->\n"), "<!-- end -->\n");
    let (before, rest) = page.split_once(&begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    // The first two lines are the table's head.
    let head: Vec<_> = table.lines().take(2).collect();
    let found = format!("{}\n{rows}\n", head.join("\n"));
    if std::env::var_os("SKIFF_BLESS").is_some() {
        let page = format!("{before}{begin}{found}{end}{after}");
        std::fs::write(&path, page).unwrap();
        return;
    }
    for (shown, found) in table.lines().zip(found.lines()) {
        assert_eq!(shown, found, "bless {} anew", path.display());
    }
    assert_eq!(table.lines().count(), found.lines().count());
}
