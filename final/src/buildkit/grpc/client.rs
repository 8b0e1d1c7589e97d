//! The daemon's side of `/session`, where it is the daemon that asks.

use std::fmt;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::{Body, Inbox, Source, Status, framed};

/// How many messages may wait for a client that does not read.
const QUEUE: usize = 16;
/// How much may be under way before the client hears that it arrived: a
/// build context should not wait for that at every 64 KiB.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A client that answers calls.
#[derive(Clone)]
pub(in super::super) struct Channel(SendRequest<Body>);

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Channel {
    /// The channel, and the connection's work, which ends with it.
    pub(in super::super) async fn open(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> hyper::Result<(Channel, impl Future<Output = hyper::Result<()>>)> {
        let (channel, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(io))
            .await?;
        Ok((Channel(channel), connection))
    }

    /// One message there, and one back.
    pub(in super::super) async fn ask<M: Message + Default>(
        &self,
        path: &str,
        message: &impl Message,
    ) -> Result<M, Status> {
        let (outbox, mut inbox) = self.call(path, HeaderMap::new()).await?;
        outbox.send(message).await?;
        drop(outbox);
        let Some(answer) = inbox.next().await? else {
            return Err(Status::broken("an answer without a message"));
        };
        Ok(answer)
    }

    /// A call in which both sides may talk at any time.
    pub(in super::super) async fn call(
        &self,
        path: &str,
        headers: HeaderMap,
    ) -> Result<(Outbox, Inbox), Status> {
        let (send, queue) = mpsc::channel::<Bytes>(QUEUE);
        let frames = stream::unfold(queue, async |mut queue| {
            Some((Ok(Frame::data(queue.recv().await?)), queue))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        // What an authority is on a connection without a name.
        let mut request = Request::post(format!("http://localhost{path}"))
            .body(body)
            .map_err(Status::unknown)?;
        let all = request.headers_mut();
        all.extend(headers);
        let grpc = HeaderValue::from_static("application/grpc");
        all.insert(header::CONTENT_TYPE, grpc);
        all.insert(header::TE, HeaderValue::from_static("trailers"));
        let mut channel = self.0.clone();
        channel.ready().await.map_err(Status::broken)?;
        let answer = Box::pin(channel.send_request(request));
        Ok((Outbox(send), Inbox::of(Source::Awaited(answer))))
    }
}

/// The daemon's messages of one call; dropped, they have ended.
#[derive(Debug, Clone)]
pub(in super::super) struct Outbox(mpsc::Sender<Bytes>);

impl Outbox {
    pub(in super::super) async fn send(
        &self,
        message: &impl Message,
    ) -> Result<(), Status> {
        let sent = self.0.send(framed(message)).await;
        sent.map_err(|_| Status::broken("it takes no more messages"))
    }
}
