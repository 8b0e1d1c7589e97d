//! From HTTP to a plain stream of bytes in both directions.
//!
//! `attach` and `exec` need a connection on which both sides may talk at any
//! time. Docker's way: the client asks for an upgrade, the daemon answers
//! *101 Switching Protocols*, and from then on the connection is no longer
//! HTTP. A client that does not ask gets 200 and the output only.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};

use super::ApiError;

/// A connection that is being taken over; see [`hijack`].
#[derive(Debug)]
pub struct Pending(Kind);

#[derive(Debug)]
enum Kind {
    /// The connection itself, once hyper lets go of it.
    Upgrade(OnUpgrade),
    /// Our end of a pipe whose other end is the body of the answer.
    Output(DuplexStream),
}

/// The stream: write output, read the client's input. End of input means
/// that the client has closed its half; go on writing.
#[derive(Debug)]
pub struct Hijacked {
    io: Io,
    two_way: bool,
}

/// The two ways to be a stream, with one set of methods (below).
#[derive(Debug)]
enum Io {
    Upgraded(TokioIo<hyper::upgrade::Upgraded>),
    Output(DuplexStream),
}

/// Makes the answer that hands the connection over, and what becomes of it.
///
/// Return the response from the handler *first*, and wait for the stream in
/// a task: hyper gives the connection away after the 101 has been sent.
/// `content_type` is [`MULTIPLEXED`] or
/// [`RAW`].
pub fn hijack(
    request: &mut Request,
    content_type: &'static str,
) -> (Response, Pending) {
    let content = header::HeaderValue::from_static(content_type);
    if let Some((mut response, pending)) = switch(request, "tcp") {
        response.headers_mut().insert(header::CONTENT_TYPE, content);
        return (response, pending);
    }
    // No upgrade was asked for: the output becomes the body of an ordinary
    // answer without a length, which ends when the output does.
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let mut response = Response::new(Body::from_stream(read_all(theirs)));
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    (response, Pending(Kind::Output(ours)))
}

/// The same for another protocol than a plain stream, if the client has
/// asked for an upgrade at all.
pub fn switch(
    request: &mut Request,
    protocol: &'static str,
) -> Option<(Response, Pending)> {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>()?;
    if !asks_upgrade(request.headers()) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    let value = header::HeaderValue::from_static;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, value("Upgrade"));
    headers.insert(header::UPGRADE, value(protocol));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    Some((response, Pending(Kind::Upgrade(upgrade))))
}

/// Output in [frames](crate::frames); the type newer clients look for.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Bytes as they are.
pub const RAW: &str = "application/vnd.docker.raw-stream";

impl Pending {
    /// Waits until the stream is ours.
    ///
    /// # Errors
    /// 500 if the client went away in between.
    pub async fn ready(self) -> Result<Hijacked, ApiError> {
        match self.0 {
            Kind::Upgrade(upgrade) => {
                let io = upgrade.await.map_err(ApiError::internal)?;
                let io = Io::Upgraded(TokioIo::new(io));
                Ok(Hijacked { io, two_way: true })
            }
            Kind::Output(io) => {
                Ok(Hijacked { io: Io::Output(io), two_way: false })
            }
        }
    }
}

impl Hijacked {
    /// Whether the client can send input at all. If not, the end of input
    /// that is read means nothing, and standard input stays open.
    pub fn two_way(&self) -> bool {
        self.two_way
    }
}

/// `Connection: Upgrade`, possibly beside `keep-alive` (RFC 9110, 7.8).
fn asks_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONNECTION)
        .and_then(|it| it.to_str().ok())
        .is_some_and(|it| it.to_ascii_lowercase().contains("upgrade"))
}

/// A stream of pieces, for the body of an answer.
fn read_all(
    from: DuplexStream,
) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> {
    stream::try_unfold(from, async |mut from| {
        let mut piece = bytes::BytesMut::with_capacity(16 << 10);
        let got = from.read_buf(&mut piece).await?;
        Ok((got > 0).then(|| (piece.freeze(), from)))
    })
}

impl AsyncRead for Hijacked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Upgraded(io) => Pin::new(io).poll_read(cx, buf),
            Io::Output(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Hijacked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match &mut self.io {
            Io::Upgraded(io) => Pin::new(io).poll_write(cx, buf),
            Io::Output(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Upgraded(io) => Pin::new(io).poll_flush(cx),
            Io::Output(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Upgraded(io) => Pin::new(io).poll_shutdown(cx),
            Io::Output(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
