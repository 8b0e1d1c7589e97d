//! Where a stage keeps its socket and its state.

use std::path::{Path, PathBuf};

/// The directories of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Records, logs, images.
    pub state: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
}

impl Place {
    /// The place of the stage whose package is called `name`.
    ///
    /// Sockets go to a directory that is empty after a boot, state to one
    /// that stays; an ordinary user's are in the directories of the XDG
    /// specification.
    pub fn of(name: &str) -> Place {
        let number: String =
            name.chars().filter(|it| it.is_ascii_digit()).collect();
        let set = |name| std::env::var_os(name).map(PathBuf::from);
        let home = || set("HOME").unwrap_or_else(|| "/tmp".into());
        let (run, state) = if let Some(dir) = set("SKIFF_STEP_DIR") {
            (dir.clone(), dir)
        } else if rustix::process::geteuid().is_root() {
            ("/run/skiff-steps".into(), "/var/lib/skiff-steps".into())
        } else {
            let state = set("XDG_DATA_HOME")
                .unwrap_or_else(|| home().join(".local/share"))
                .join("skiff-steps");
            let run = set("XDG_RUNTIME_DIR").map(|it| it.join("skiff-steps"));
            (run.unwrap_or_else(|| state.clone()), state)
        };
        let socket = run.join(&number).join("daemon.sock");
        Place { state: state.join(number), socket }
    }

    /// What the daemon prints.
    pub fn log(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// The files of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }
}

/// The log in a container's or an exec's directory.
pub(crate) fn log_in(dir: &Path) -> PathBuf {
    dir.join("output.log")
}
