//! Ctrl-C while something half-made lies on the disk: it has to go first.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// The signals that end a program politely; they do so no more at once.
#[derive(Debug)]
pub(crate) struct Interrupt {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on.
    ///
    /// # Errors
    /// If the kernel grants no handler.
    pub(crate) fn catch() -> std::io::Result<Interrupt> {
        Ok(Interrupt {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one; how to end then.
    pub(crate) async fn come(&mut self) -> Failure {
        let number = tokio::select! {
            _ = self.hangup.recv() => libc::SIGHUP,
            _ = self.interrupt.recv() => libc::SIGINT,
            _ = self.terminate.recv() => libc::SIGTERM,
        };
        Failure::silent(u8::try_from(128 + number).unwrap_or(1))
    }
}
