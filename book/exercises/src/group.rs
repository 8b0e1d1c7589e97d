//! The control group that the tool has made for a check.
//!
//! v2 has one tree for everything, v1 one per controller, and a machine has
//! each controller in one of them. So an exercise is written for both, the
//! kernel is asked about the dialect that it speaks here, and for the other
//! one the check reads what was written to plain files.

use std::fs;
use std::path::{Path, PathBuf};

/// The two sets of file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// One directory per controller.
    V1,
    /// One directory for all.
    V2,
}

/// A group of the kernel's, or plain files that look like one.
#[derive(Debug)]
pub struct Group {
    /// Which file names it has.
    pub dialect: Dialect,
    /// Its directory.
    pub dir: PathBuf,
}

/// The check's own group in the hierarchy that serves a controller, known by
/// a file of it: its name in v2 and in v1.
pub fn group(v2: &str, v1: &str) -> Group {
    let dirs = std::env::var("EXERCISE_GROUPS").unwrap_or_default();
    for dir in dirs.split(':').map(PathBuf::from) {
        let is_v2 = dir.join("cgroup.controllers").exists();
        if is_v2 && dir.join(v2).exists() {
            return Group { dialect: Dialect::V2, dir };
        }
        if !is_v2 && dir.join(v1).exists() {
            return Group { dialect: Dialect::V1, dir };
        }
    }
    panic!("no group with {v2} or {v1} among `{dirs}`");
}

impl Group {
    /// Plain files of the other dialect, with their contents.
    pub fn imitation_of_other(&self, files: &[(&str, &str)]) -> Group {
        let dialect = match self.dialect {
            Dialect::V1 => Dialect::V2,
            Dialect::V2 => Dialect::V1,
        };
        let dir = crate::scratch().join("imitation");
        fs::create_dir_all(&dir).expect("a directory");
        for (name, content) in files {
            fs::write(dir.join(name), content).expect("a file");
        }
        Group { dialect, dir }
    }

    /// A file of the group, without the line break at its end.
    pub fn read(&self, file: &str) -> String {
        let text = fs::read_to_string(self.dir.join(file));
        text.map_or_else(|e| e.to_string(), |it| it.trim().to_owned())
    }
}

/// Moves the caller into a group.
pub fn add_self(dir: &Path) {
    fs::write(dir.join("cgroup.procs"), "0").expect("enter the group");
}
