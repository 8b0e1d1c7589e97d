//! `.dockerignore`, and paths that are looked up in it.
#![no_main]

use layers::build::ignore::Ignore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (patterns, paths) = text.split_once('\0').unwrap_or((text, text));
    let Ok(ignore) = Ignore::parse(patterns) else { return };
    for path in paths.lines() {
        // The same question has the same answer.
        assert_eq!(ignore.excludes(path), ignore.excludes(path));
    }
});
