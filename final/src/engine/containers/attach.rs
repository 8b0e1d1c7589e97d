//! Who wants to see a container's output, and to type into it.
//!
//! `docker run` attaches *before* it starts, so that not a byte is missed.
//! There is no shim then; who comes early is put on a list, which `start`
//! works off between the making of the process and its first instruction.

use std::os::unix::net::UnixStream;

use tokio::sync::oneshot;

use super::{Container, lock};
use crate::engine::error::{Error, Result};
use crate::engine::events::attributes;
use crate::shim::protocol::Attach;
use crate::shim::{self, Client};

/// Somebody who came before the start.
#[derive(Debug)]
pub(super) struct Waiting {
    streams: Attach,
    give: oneshot::Sender<UnixStream>,
}

/// The streams, now or at the next start.
#[derive(Debug)]
pub enum Attached {
    /// The container runs.
    Now(UnixStream),
    /// It will be sent here; closed without a word if the start fails.
    Later(oneshot::Receiver<UnixStream>),
}

impl Container {
    /// Connects to the container's streams.
    ///
    /// # Errors
    /// [`Error::Internal`] if its shim does not answer.
    pub fn attach(&self, streams: Attach) -> Result<Attached> {
        // Under the lock of the list: a start in between would not see us.
        let mut list = lock(&self.attachers);
        if self.status().has_process() {
            let client = Client::new(&self.dir);
            match client.attach(streams) {
                Ok(stream) => return Ok(Attached::Now(stream)),
                // It has just ended, and nobody has noted it yet.
                Err(_) if matches!(client.last_exit(), Ok(Some(_))) => {}
                Err(error) => return Err(Error::internal(error)),
            }
        }
        let (give, get) = oneshot::channel();
        list.push(Waiting { streams, give });
        Ok(Attached::Later(get))
    }

    /// Connects everyone on the list. A client that has gone away since, or
    /// that cannot be connected, holds up nobody else.
    pub(super) fn connect_attachers(&self, client: &Client) {
        for waiting in lock(&self.attachers).drain(..) {
            if waiting.give.is_closed() {
                continue;
            }
            match client.attach(waiting.streams) {
                Ok(stream) => drop(waiting.give.send(stream)),
                Err(error) => tracing::warn!("{}: attach: {error}", self.id),
            }
        }
    }

    /// The start has failed: nobody gets anything.
    pub(super) fn tell_attachers_off(&self) {
        lock(&self.attachers).clear();
    }
}

impl crate::engine::Engine {
    /// Tells a container's terminal its size: rows, columns.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it does not run.
    pub fn resize(&self, name: &str, size: [u16; 2]) -> Result<()> {
        let container = self.containers.find(name)?;
        let ended = || {
            let id = &container.id;
            Error::Conflict(format!("container {id} is not running"))
        };
        if !container.status().has_process() {
            // It may be about to start.
            drop(container.begin());
        }
        if !container.status().has_process() {
            return Err(ended());
        }
        // Docker takes the size of a terminal that is not there, too.
        if container.with(|record| record.config.tty) {
            let client = Client::new(&container.dir);
            let window = super::spec::window(size);
            client.resize(window).map_err(|why| match why {
                // The shim goes when its process has ended.
                shim::Error::Io { .. } => ended(),
                other => Error::internal(other),
            })?;
        }
        let [height, width] = size.map(|it| it.to_string());
        let about = attributes([("height", &height), ("width", &width)]);
        self.tell(&container, "resize", about);
        Ok(())
    }
}
