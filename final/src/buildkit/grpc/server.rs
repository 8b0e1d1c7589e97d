//! The daemon's side of `/grpc`.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::Stream;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::{LARGEST, PATIENCE, PING};

/// One call, as yet unread.
#[derive(Debug)]
pub(in super::super) struct Call(Request<Incoming>);

/// An answer: messages, and how the call has ended.
pub(in super::super) type Answer = Response<Body>;

impl Call {
    /// `/package.Service/Method`.
    pub(in super::super) fn path(&self) -> &str {
        self.0.uri().path()
    }

    /// A header's value, if it is text.
    pub(in super::super) fn header(&self, name: &str) -> &str {
        let value = self.0.headers().get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default()
    }

    /// Answers a question that has one answer.
    pub(in super::super) async fn one<Q, A, F>(
        self,
        mut answer: impl FnMut(Q) -> F,
    ) -> Answer
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
        F: Future<Output = Result<A, Status>>,
    {
        let service = tower::service_fn(|question: tonic::Request<Q>| {
            let answer = answer(question.into_inner());
            async { answer.await.map(tonic::Response::new) }
        });
        grpc().unary(service, self.0).await
    }

    /// Answers a question that has many.
    pub(in super::super) async fn many<Q, A, F, S>(
        self,
        mut answer: impl FnMut(Q) -> F,
    ) -> Answer
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = Result<S, Status>>,
    {
        let service = tower::service_fn(|question: tonic::Request<Q>| {
            let answer = answer(question.into_inner());
            async { answer.await.map(tonic::Response::new) }
        });
        grpc().server_streaming(service, self.0).await
    }
}

fn grpc<A, Q>() -> Grpc<ProstCodec<A, Q>>
where
    A: Message + Default + 'static,
    Q: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(LARGEST)
}

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
        async move { Ok::<_, Infallible>(service.answer(Call(request)).await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING))
        .keep_alive_timeout(PATIENCE)
        .serve_connection(TokioIo::new(io), answer)
        .await
}
