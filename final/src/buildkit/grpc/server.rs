//! The daemon's side of `/grpc`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Body, Code, Inbox, Source, Status, framed};

/// One call.
#[derive(Debug)]
pub(in super::super) struct Call {
    /// `/package.Service/Method`.
    pub(in super::super) path: String,
    pub(in super::super) headers: HeaderMap,
    pub(in super::super) inbox: Inbox,
}

impl Call {
    /// The one message of a call that has one.
    pub(in super::super) async fn message<M: Message + Default>(
        &mut self,
    ) -> Result<M, Status> {
        self.inbox.next().await?.ok_or_else(|| {
            let text = format!("{}: a call without a message", self.path);
            Status::new(Code::InvalidArgument, text)
        })
    }

    /// A header's value, if it is text.
    pub(in super::super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default()
    }
}

/// An answer.
pub(in super::super) type Answer = Result<Response<Body>, Status>;

/// Who answers calls. A call that its client has given up is dropped in the
/// middle, and so are all when the connection ends.
pub(in super::super) trait Service:
    Send + Sync + 'static
{
    fn answer(&self, call: Call) -> impl Future<Output = Answer> + Send;
}

/// Answers calls until the client goes away.
pub(in super::super) async fn serve<S: Service>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Arc<S>,
) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move {
            let (parts, body) = request.into_parts();
            let call = Call {
                path: parts.uri.path().to_owned(),
                headers: parts.headers,
                inbox: Inbox::of(Source::Request(body)),
            };
            let answer = service.answer(call).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|it| refusal(&it)))
        }
    });
    http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(io), answer)
        .await
}

/// An answer of one message.
pub(in super::super) fn reply(message: &impl Message) -> Answer {
    let message = framed(message);
    streamed(stream::once(async { Ok(message) }))
}

/// An answer of many.
pub(in super::super) fn stream_of<M: Message + 'static>(
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
) -> Answer {
    streamed(messages.map(|it| it.map(|message| framed(&message))))
}

/// The outcome comes last, as trailers.
fn streamed(
    messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
) -> Answer {
    let messages = Box::pin(messages);
    let frames = stream::unfold(Some(messages), async |messages| {
        let mut messages = messages?;
        let outcome = match messages.next().await {
            Some(Ok(bytes)) => {
                return Some((Ok(Frame::data(bytes)), Some(messages)));
            }
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        Some((Ok(Frame::trailers(outcome.to_headers())), None))
    });
    Ok(response(StreamBody::new(frames).boxed_unsync()))
}

/// An answer that is only an outcome.
fn refusal(status: &Status) -> Response<Body> {
    let mut response = response(Empty::new().boxed_unsync());
    response.headers_mut().extend(status.to_headers());
    response
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}
