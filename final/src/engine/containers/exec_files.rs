//! What is on disk of an exec, for a daemon that comes back: somebody may
//! have created one, or want to know how one ended.
//!
//! `execs/ID.json` says what was asked for and, at last, the exit code.
//! `execs/ID/` is its shim's and is there while the process is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli_api::state::{read_json, write_json};
use serde::{Deserialize, Serialize};

use super::Container;
use super::exec::{Exec, ExecConfig};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::shim::{self, Client};

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    config: ExecConfig,
    exit_code: Option<i32>,
}

impl Exec {
    /// Writes down what it is.
    ///
    /// # Errors
    /// [`Error::Internal`] if that fails.
    pub(super) fn keep(&self) -> Result<()> {
        let dir = self.dir.parent().unwrap_or(&self.dir);
        // Not its parents: the container may have been removed meanwhile.
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io("make", dir)(error));
            }
            _ => {}
        }
        let (mut config, exit_code) = (self.config.clone(), self.exit_code());
        if exit_code.is_some() {
            // Often secrets, and nobody asks for them any more.
            config.env.clear();
        }
        let file = self.dir.with_extension("json");
        write_json(&file, &Kept { config, exit_code }).map_err(Error::internal)
    }

    /// It is over: only the exit code remains.
    pub(super) fn keep_end(&self, code: i32) {
        self.ended(code);
        match self.keep() {
            Ok(()) => {
                let _ = std::fs::remove_dir_all(&self.dir);
            }
            // The shim's word stays for the next daemon.
            Err(error) => {
                tracing::warn!("the exit code of exec {}: {error}", self.id);
            }
        }
    }

    pub(super) fn forget(&self) {
        let _ = std::fs::remove_file(self.dir.with_extension("json"));
    }
}

impl Engine {
    /// Takes up the execs of a container that went on without a daemon.
    pub(super) fn recover_execs(self: &Arc<Self>, container: &Arc<Container>) {
        let dir = container.dir.join("execs");
        let files = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let files = files.map(|it| it.path());
        let mut files: Vec<_> = files
            .filter(|it| it.extension().is_some_and(|it| it == "json"))
            .collect();
        // In the order in which they are to be forgotten.
        let changed = |it: &PathBuf| it.metadata()?.modified();
        files.sort_by_cached_key(|it| changed(it).ok());
        for file in files {
            self.recover_exec(container, &file);
        }
    }

    fn recover_exec(self: &Arc<Self>, container: &Arc<Container>, file: &Path) {
        let kept: Kept = match read_json(file) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!("left alone: {error}");
                return;
            }
        };
        let id = file.file_stem().unwrap_or_default().to_string_lossy();
        let exec = Arc::new(Exec::new(container, id.into(), kept.config));
        container.remember(&exec);
        if let Some(code) = kept.exit_code {
            exec.keep_end(code);
        } else if exec.dir.exists() {
            let record = shim::Record::load(&exec.dir).ok();
            exec.runs(record.as_ref().map_or(0, |it| it.pid));
            let client = Client::new(&exec.dir);
            if record.is_none_or(|it| !it.started) {
                // It stands at its gate, and nobody waits for it any more.
                let _ = client.kill(libc::SIGKILL);
            }
            self.exec_follow(container.clone(), exec, client);
        }
    }
}
