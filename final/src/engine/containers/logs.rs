//! `docker logs`: what the shim has written down.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cli_api::jsonlog::{Entry, Opened, Query};

use super::Container;
use super::state::Status;
use crate::engine::Engine;
use crate::engine::error::{Error, Result};

/// The log of a container, open: it can be read even if the container is
/// removed before the reader's turn comes.
#[derive(Debug)]
pub struct Log {
    container: Arc<Container>,
    opened: Opened,
    /// Whether it was written by a terminal: bytes as they are, no frames.
    pub tty: bool,
}

impl Engine {
    /// The log of a container, to be read as `query` says.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in Docker's words if its driver keeps nothing,
    /// [`Error::Internal`] if the file cannot be opened.
    pub fn log(&self, name: &str, query: &Query) -> Result<Log> {
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
        let opened = Opened::open(Path::new(&path), query);
        Ok(Log { container, opened: opened.map_err(Error::internal)?, tty })
    }
}

impl Log {
    /// Hands over the lines, and with `follow` waits for more until the
    /// container ends or `sink` breaks off.
    ///
    /// # Errors
    /// [`Error::Internal`] if the file cannot be read.
    pub fn read(
        self,
        sink: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<()> {
        let container = self.container;
        let ended = || {
            let status = container.status();
            // A created one may still be started; that is worth the wait.
            !status.is_up() && status != Status::Created
                || container.watch().borrow().removed
        };
        self.opened.read(&ended, sink).map_err(Error::internal)
    }
}
