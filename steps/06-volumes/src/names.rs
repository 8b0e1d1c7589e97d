//! Rules for names, and the size of a directory.
//!
//! The rule is stricter than the file system's: it leaves no name that could
//! be read as a path, as a flag or as hidden, in any place where names are
//! written, from a shell to a URL of the API.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;

/// A volume's name becomes a directory, so it must not climb, hide or look
/// like a path.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    if name.chars().count() == 1 {
        return Err(Error::Invalid(
            "volume name is too short, names should be at least two \
             alphanumeric characters"
                .into(),
        ));
    }
    let mut chars = name.chars();
    let good = chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if good {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "create {name}: {name:?} includes invalid characters for a local \
         volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you \
         intended to pass a host directory, use absolute path"
    )))
}

/// Only `local` is there; plugins are not.
pub(crate) fn check_driver(driver: &str) -> Result<(), Error> {
    match driver {
        "" | "local" => Ok(()),
        other => Err(Error::NoDriver { name: other.to_owned() }),
    }
}

/// What the files below `dir` take on disk, in bytes. What cannot be read
/// counts nothing; a hard link is counted each time, as du(1) would not.
pub(crate) fn disk_usage(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let Ok(meta) = entry.metadata() else { return 0 };
            let below =
                if meta.is_dir() { disk_usage(&entry.path()) } else { 0 };
            // 512: the unit of st_blocks, whatever the file system's is.
            meta.blocks() * 512 + below
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_are_no_names_are_refused_in_dockers_words() {
        for good in ["db", "my_db-1.0", "0a"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let text: Vec<_> = ["", "a", ".hidden", "../up", "a/b", "ä"]
            .iter()
            .map(|bad| format!("{bad:?} → {}", check(bad).unwrap_err()))
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_plain_part_of_a_path(name in ".{0,12}") {
            if check(&name).is_ok() {
                let parts: Vec<_> = Path::new(&name).components().collect();
                prop_assert_eq!(parts.len(), 1);
                prop_assert!(!name.starts_with('.'));
            }
        }
    }
}
