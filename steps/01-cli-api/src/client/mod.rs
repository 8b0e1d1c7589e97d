//! The other side: asking a daemon, over a Unix socket, TCP or ssh.
//!
//! HTTP does not care what carries it. For a Unix socket the connection is
//! made by path instead of by host and port, and that is the difference.

mod hijack;
mod host;
mod ssh;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::ClientConfig;

use crate::Error;
pub use hijack::{Input, Output, Tunnel};
pub use host::Host;
pub use ssh::Remote;

/// Talks to one daemon; every request opens a connection of its own, which
/// on a Unix socket costs some microseconds and spares us a pool.
#[derive(Debug, Clone)]
pub struct Client {
    host: Host,
    prefix: String,
    tls: Option<Arc<ClientConfig>>,
}

/// The body of a request.
#[derive(Debug)]
pub struct Payload {
    content_type: &'static str,
    body: UnsyncBoxBody<Bytes, std::io::Error>,
}

// Bodies are boxed: a request with a short JSON text and one with an
// endless archive then have the same type, and `send` is compiled once.
impl Payload {
    /// No body.
    pub fn none() -> Payload {
        Payload::whole("", Bytes::new())
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn json<T: Serialize>(value: &T) -> Result<Payload, Error> {
        let text = serde_json::to_vec(value).map_err(Error::Encode)?;
        Ok(Payload::whole("application/json", text.into()))
    }

    /// A stream of unknown length, such as a tar archive.
    pub fn stream<S>(content_type: &'static str, stream: S) -> Payload
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let body = StreamBody::new(stream.map_ok(Frame::data));
        Payload { content_type, body: BodyExt::boxed_unsync(body) }
    }

    /// Bytes that are all there, so that their number is sent first.
    fn whole(content_type: &'static str, bytes: Bytes) -> Payload {
        let body =
            http_body_util::Full::new(bytes).map_err(|never| match never {});
        Payload { content_type, body: body.boxed_unsync() }
    }
}

impl Client {
    /// A client of the daemon at `host`; nothing is connected yet.
    pub fn new(host: Host) -> Client {
        Client { host, prefix: String::new(), tls: None }
    }

    /// Puts a version in front of each path: `/v1.51`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Client {
        self.prefix = prefix.into();
        self
    }

    /// Speaks TLS where the daemon is at a TCP address; `config` is
    /// [`crate::tls::client`]'s.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<ClientConfig>) -> Client {
        self.tls = Some(config);
        self
    }

    /// Where the daemon is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// GET, with the answer's JSON.
    ///
    /// # Errors
    /// [`Error::Api`] for a refusal; see [`Error`] for what else may fail.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, Error> {
        let answer = self.send(Method::GET, path, Payload::none()).await?;
        decode(path, answer).await
    }

    /// POST of JSON, with the answer's JSON.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Error> {
        let body = Payload::json(body)?;
        decode(path, self.send(Method::POST, path, body).await?).await
    }

    /// POST without a body or an interesting answer: "do it".
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn command(&self, path: &str) -> Result<(), Error> {
        let answer = self.send(Method::POST, path, Payload::none()).await?;
        drain(answer).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        let answer = self.send(Method::DELETE, path, Payload::none()).await?;
        drain(answer).await
    }

    /// Any request, with its answer if that is a success; the body follows
    /// as it comes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Payload,
    ) -> Result<Response<Incoming>, Error> {
        self.send_with(method, path, body, &[]).await
    }

    /// As [`Client::send`], with further headers.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Payload,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Incoming>, Error> {
        let request = self.request(method, path, body, headers)?;
        let answer = self.exchange(request).await?;
        let status = answer.status().as_u16();
        if status < 400 { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// A request, not sent yet.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: Payload,
        headers: &[(&'static str, String)],
    ) -> Result<Request<UnsyncBoxBody<Bytes, std::io::Error>>, Error> {
        let target = format!("{}{path}", self.prefix);
        let mut request = Request::builder()
            .method(method)
            .uri(&target)
            .header(header::HOST, self.host.header())
            .header(header::USER_AGENT, "skiff");
        if !body.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, body.content_type);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request
            .body(body.body)
            .map_err(|cause| Error::Request { path: target, cause })
    }

    /// Sends a request and waits for the head of the answer, whatever its
    /// status.
    pub(crate) async fn exchange(
        &self,
        request: Request<UnsyncBoxBody<Bytes, std::io::Error>>,
    ) -> Result<Response<Incoming>, Error> {
        let io = TokioIo::new(self.dial().await?);
        let (mut sender, connection) =
            http1::handshake(io).await.map_err(|it| self.not_http(it))?;
        // The connection is driven by a task of its own; it ends with the
        // answer's body, or hands the socket over after a 101.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(|it| self.not_http(it))
    }

    /// Opens a connection, on which nothing has been said yet. connect(2) on
    /// a Unix socket fails at once if nobody listens; over TCP it may take
    /// minutes, which is left to the user's patience and Ctrl-C.
    ///
    /// # Errors
    /// [`Error::Connect`], or [`Error::Handshake`] with TLS.
    pub async fn dial(&self) -> Result<Pin<Box<dyn Wire>>, Error> {
        let failed =
            |cause| Error::Connect { host: self.host.to_string(), cause };
        let address = match &self.host {
            Host::Unix(path) => {
                let wire = UnixStream::connect(path).await;
                return Ok(Box::pin(wire.map_err(failed)?));
            }
            Host::Ssh(remote) => {
                let wire = remote.dial().and_then(|wire| {
                    wire.set_nonblocking(true)?;
                    UnixStream::from_std(wire)
                });
                return Ok(Box::pin(wire.map_err(failed)?));
            }
            Host::Tcp(address) => address,
        };
        let wire = TcpStream::connect(address).await.map_err(failed)?;
        let Some(config) = &self.tls else { return Ok(Box::pin(wire)) };
        let name = self.host.name().to_owned();
        let name = rustls::pki_types::ServerName::try_from(name)
            .map_err(|cause| Error::Tls(cause.to_string()))?;
        let wire = TlsConnector::from(config.clone())
            .connect(name, wire)
            .await
            .map_err(|cause| match untrusted(&cause) {
                Some(cause) => self.handshake(cause),
                None => failed(cause),
            })?;
        Ok(Box::pin(wire))
    }

    fn handshake(&self, cause: rustls::Error) -> Error {
        Error::Handshake { host: self.host.to_string(), cause }
    }

    fn not_http(&self, cause: hyper::Error) -> Error {
        // A daemon judges our certificate after we think that all is well
        // (TLS 1.3), so its verdict comes where the answer would.
        let io = std::error::Error::source(&cause)
            .and_then(|it| it.downcast_ref::<std::io::Error>());
        if let Some(cause) = io.and_then(untrusted) {
            return self.handshake(cause);
        }
        Error::Http { host: self.host.to_string(), cause }
    }
}

/// What TLS has to say, if the failure is its.
fn untrusted(cause: &std::io::Error) -> Option<rustls::Error> {
    cause.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

/// A byte stream in both directions.
pub trait Wire: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

/// The daemon's own sentence, from `{"message": "…"}` or else the body.
async fn refusal(answer: Response<Incoming>) -> Error {
    let status = answer.status();
    let body = match answer.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(cause) => return Error::Broken(std::io::Error::other(cause)),
    };
    let message = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|it| Some(it.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&body);
            if text.trim().is_empty() {
                status.to_string()
            } else {
                text.trim().to_owned()
            }
        });
    Error::Api { status: status.as_u16(), message }
}

/// The whole body as JSON.
async fn decode<T: DeserializeOwned>(
    path: &str,
    answer: Response<Incoming>,
) -> Result<T, Error> {
    let body = answer.into_body().collect().await;
    let body = body
        .map_err(|cause| Error::Broken(std::io::Error::other(cause)))?
        .to_bytes();
    // An empty answer is `null`, so that `T = ()` or `Option` takes it.
    let text = if body.is_empty() { &b"null"[..] } else { &body[..] };
    serde_json::from_slice(text)
        .map_err(|cause| Error::Answer { path: path.to_owned(), cause })
}

/// Reads a body that does not matter, so that the daemon has finished with
/// the request when we go on.
async fn drain(answer: Response<Incoming>) -> Result<(), Error> {
    match answer.into_body().collect().await {
        Ok(_) => Ok(()),
        Err(cause) => Err(Error::Broken(std::io::Error::other(cause))),
    }
}
