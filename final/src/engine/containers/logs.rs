//! `docker logs`: what the shim has written down.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use cli_api::jsonlog::{self, Entry, Query};

use super::Container;
use super::state::Status;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};

/// The log of a container, ready to be read.
#[derive(Debug, Clone)]
pub struct Log {
    container: Arc<Container>,
    path: PathBuf,
    /// Whether it was written by a terminal: bytes as they are, no frames.
    pub tty: bool,
}

impl Engine {
    /// The log of a container.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in Docker's words if its driver keeps nothing.
    pub fn log(&self, name: &str) -> Result<Log> {
        let container = self.containers.find(name)?;
        let (path, tty, driver) = container.with(|record| {
            let driver = record.host_config.log_config.kind.clone();
            (record.log_path.clone(), record.config.tty, driver)
        });
        if driver == "none" {
            return Err(Error::Unsupported(
                "configured logging driver does not support reading".to_owned(),
            ));
        }
        Ok(Log { container, path: PathBuf::from(path), tty })
    }
}

impl Log {
    /// Hands over the lines, and with `follow` waits for more until the
    /// container ends or `sink` breaks off.
    ///
    /// # Errors
    /// [`Error::Internal`] if the file cannot be read.
    pub fn read(
        &self,
        query: &Query,
        sink: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<()> {
        let ended = || {
            let status = self.container.status();
            // A created one may still be started; that is worth the wait.
            !status.is_up() && status != Status::Created
                || self.container.watch().borrow().removed
        };
        jsonlog::read(&self.path, query, &ended, sink).map_err(Error::internal)
    }
}
