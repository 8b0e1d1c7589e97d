//! The daemon's side of `/session`, where it is the daemon that asks.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::{LARGEST, PATIENCE, PING};

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

/// hyper's connection, as tonic wants to have one.
impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, hyper::Result<Response<Incoming>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Channel {
    /// The channel, and the connection's work, which ends with it.
    pub(in super::super) async fn open(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> hyper::Result<(Channel, impl Future<Output = hyper::Result<()>>)> {
        let (channel, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(PING))
            .keep_alive_timeout(PATIENCE)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(io))
            .await?;
        Ok((Channel(channel), connection))
    }

    /// One message there, and one back.
    pub(in super::super) async fn ask<Q, A>(
        &self,
        path: &'static str,
        question: Q,
    ) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let question = tonic::Request::new(question);
        let answer = self.grpc().await?.unary(question, path, codec).await?;
        Ok(answer.into_inner())
    }

    /// A call in which both sides may say such messages at any time. What
    /// the daemon says ends when the sender is dropped.
    pub(in super::super) async fn call<M: Message + Default + 'static>(
        &self,
        path: &'static str,
        headers: HeaderMap,
    ) -> Result<(mpsc::Sender<M>, Inbox<M>), Status> {
        let (send, queue) = mpsc::channel(QUEUE);
        let said = stream::unfold(queue, async |mut queue| {
            let message: M = mpsc::Receiver::recv(&mut queue).await?;
            Some((message, queue))
        });
        let mut request = tonic::Request::new(said);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let path = PathAndQuery::from_static(path);
        let mut grpc = self.grpc().await?;
        let mut answer = Box::pin(async move {
            let codec = ProstCodec::<M, M>::default();
            let answer = grpc.streaming(request, path, codec).await?;
            Ok(answer.into_inner())
        });
        // Looked at once, the request is on its way. The answer may begin
        // only after the client has heard something.
        let inbox =
            match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
                Poll::Ready(answer) => Inbox::Open(Box::new(answer?)),
                Poll::Pending => Inbox::Awaited(answer),
            };
        Ok((send, inbox))
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        // What an authority is on a connection without a name.
        let origin = Uri::from_static("http://localhost");
        let mut grpc = Grpc::with_origin(self.clone(), origin)
            .max_decoding_message_size(LARGEST);
        grpc.ready().await.map_err(|error| {
            Status::unavailable(format!(
                "the connection to the client broke: {error}"
            ))
        })?;
        Ok(grpc)
    }
}

/// The client's messages of one call.
pub(in super::super) enum Inbox<M> {
    /// The answer has not begun.
    Awaited(BoxFuture<'static, Result<Streaming<M>, Status>>),
    /// It has.
    Open(Box<Streaming<M>>),
}

impl<M> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl<M> Inbox<M> {
    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// What the other side has ended with, or a broken connection.
    pub(in super::super) async fn next(&mut self) -> Result<Option<M>, Status> {
        loop {
            match self {
                Inbox::Awaited(answer) => {
                    *self = Inbox::Open(Box::new(answer.await?));
                }
                Inbox::Open(messages) => return messages.message().await,
            }
        }
    }
}
