//! Output on its way from the daemon to the terminal, in frames.
//!
//! The daemon's end runs on a thread that may block, because it reads files
//! and waits for them to grow; HTTP runs on threads that may not. A channel
//! of bounded length lies between the two. It also keeps a slow terminal
//! from filling the daemon's memory: when the queue is full, the reader
//! waits.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::frames::{Decoder, Stream, encode};
use crate::jsonlog::{self, Query};
use crate::{Error, server::ApiError};

/// How many pieces may wait for a slow client before its sender blocks.
const QUEUE: usize = 32;

/// A body that is made piece by piece, on a thread that may block. Frames
/// that `make` writes are sent at once; its error becomes the last one.
pub(crate) fn stream(
    make: impl FnOnce(&mut Sender) -> anyhow::Result<()> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut sender = Sender { sender };
        if let Err(why) = make(&mut sender) {
            let _ = sender.send(Stream::System, format!("{why:#}").as_bytes());
        }
    });
    Body::from_stream(futures_util::stream::unfold(
        receiver,
        async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(Bytes::from(piece)), receiver))
        },
    ))
}

/// The sending end of [`stream`]; what is written to it is standard output.
#[derive(Debug)]
pub(crate) struct Sender {
    sender: mpsc::Sender<Vec<u8>>,
}

impl Sender {
    /// Breaks if the client has gone.
    pub(crate) fn send(
        &mut self,
        stream: Stream,
        data: &[u8],
    ) -> ControlFlow<()> {
        match self.sender.blocking_send(encode(stream, data)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// For stages, whose verbs print as any program does.
impl Write for Sender {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        match self.send(Stream::Stdout, data) {
            ControlFlow::Continue(()) => Ok(data.len()),
            ControlFlow::Break(()) => {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of a process; with `query.follow` until `ended`.
pub(crate) fn log(
    path: PathBuf,
    query: Query,
    timestamps: bool,
    ended: impl Fn() -> bool + Send + 'static,
) -> Body {
    stream(move |sender| {
        jsonlog::read(&path, &query, &ended, &mut |entry| {
            let text = match timestamps {
                true => entry.with_time(),
                false => entry.log,
            };
            sender.send(entry.stream, text.as_bytes())
        })?;
        Ok(())
    })
}

/// Prints frames as they come, each stream where it belongs.
///
/// # Errors
/// What the daemon reported in the stream, or a broken connection.
pub(crate) async fn print(answer: Response<Incoming>) -> anyhow::Result<()> {
    let mut body = answer.into_body();
    // A frame of HTTP's body and one of ours are different things: the
    // network may cut or join the pieces as it likes.
    let mut decoder = Decoder::default();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|it| Error::Broken(std::io::Error::other(it)))?;
        decoder.push(frame.data_ref().map_or(&[][..], |it| it));
        while let Some((stream, data)) = decoder.next_piece()? {
            write_to(stream, &data)?;
        }
    }
    Ok(())
}

fn write_to(stream: Stream, data: &[u8]) -> anyhow::Result<()> {
    match stream {
        Stream::System => {
            anyhow::bail!("{}", String::from_utf8_lossy(data))
        }
        Stream::Stderr => std::io::stderr().write_all(data)?,
        Stream::Stdout | Stream::Stdin => {
            let mut out = std::io::stdout().lock();
            out.write_all(data)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The answer to a request whose body is a stream of frames.
pub(crate) fn answer(body: Body) -> Result<axum::response::Response, ApiError> {
    axum::response::Response::builder()
        .header("content-type", crate::server::MULTIPLEXED)
        .body(body)
        .map_err(ApiError::internal)
}
