//! Signals that our terminal or our parent sends are meant for the
//! container, too.

use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::{SelectAll, poll_fn};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::context::Context;
use super::query::{Query, segment};

/// Those that are passed on. Not SIGCHLD, which is about our own children,
/// nor SIGPIPE, which is about our own output, nor SIGWINCH, which becomes a
/// resize; and SIGKILL and SIGSTOP cannot be caught.
const PASSED_ON: &[(i32, &str)] = &[
    (libc::SIGHUP, "HUP"),
    (libc::SIGINT, "INT"),
    (libc::SIGQUIT, "QUIT"),
    (libc::SIGTERM, "TERM"),
    (libc::SIGUSR1, "USR1"),
    (libc::SIGUSR2, "USR2"),
    (libc::SIGCONT, "CONT"),
];

type Names = Pin<Box<dyn futures_util::Stream<Item = &'static str> + Send>>;

/// Signals to this process from now on, which do not end it any more.
#[derive(Debug)]
pub(crate) struct Forwarder(tokio::task::JoinHandle<()>);

impl Forwarder {
    /// Passes signals on to the container until dropped.
    pub(crate) fn start(
        context: &Context,
        container: &str,
    ) -> std::io::Result<Forwarder> {
        let mut all: SelectAll<Names> = SelectAll::new();
        for (number, name) in PASSED_ON {
            let signal = signal(SignalKind::from_raw(*number))?;
            all.push(stream(signal, name));
        }
        let client = context.client.clone();
        let path = format!("/containers/{}/kill", segment(container));
        Ok(Forwarder(tokio::spawn(async move {
            while let Some(name) = all.next().await {
                let query = Query::new(&path).with("signal", name);
                // It may have ended in the meantime.
                let _ = client.command(&query.build()).await;
            }
        })))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn stream(mut signal: Signal, name: &'static str) -> Names {
    Box::pin(poll_fn(move |cx| {
        signal.poll_recv(cx).map(|it| it.map(|()| name))
    }))
}
