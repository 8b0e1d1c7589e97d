//! TCP with TLS to listen on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// How long a client may take until both sides have agreed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 22;
/// What somebody gets who speaks plain HTTP. Go's servers answer with this
/// sentence, and Go's clients, such as the docker command, look for it.
const PLAIN_HTTP: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// A port behind which only those are heard who have shown what they must;
/// see [`crate::tls::daemon`].
pub struct SecureListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    /// Those who have connected and not proven themselves yet. Each has a
    /// task of its own, so that one who stays silent keeps nobody waiting.
    arriving: JoinSet<io::Result<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl std::fmt::Debug for SecureListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecureListener").field("tcp", &self.tcp).finish()
    }
}

impl SecureListener {
    pub(super) fn new(
        tcp: TcpListener,
        config: Arc<ServerConfig>,
    ) -> SecureListener {
        let acceptor = TlsAcceptor::from(config);
        SecureListener { tcp, acceptor, arriving: JoinSet::new() }
    }
}

impl axum::serve::Listener for SecureListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        use axum::serve::Listener;
        loop {
            tokio::select! {
                // axum's own accept: it waits a second where there are too
                // many open files, instead of spinning.
                (stream, from) = Listener::accept(&mut self.tcp) => {
                    let acceptor = self.acceptor.clone();
                    self.arriving.spawn(async move {
                        Ok((greet(acceptor, stream).await?, from))
                    });
                }
                // Not as a pattern: one that does not match would leave this
                // branch out until the next client comes, and all who are
                // arriving would wait for that one.
                next = self.arriving.join_next(),
                    if !self.arriving.is_empty() =>
                {
                    // Whoever fails is gone; the reason was told to them.
                    if let Some(Ok(Ok(arrived))) = next {
                        return arrived;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn greet(
    acceptor: TlsAcceptor,
    mut stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let slow = |_| io::Error::from(io::ErrorKind::TimedOut);
    let greeting = async {
        let mut first = [0];
        stream.peek(&mut first).await?;
        if first != [HANDSHAKE] {
            let _ = stream.write_all(PLAIN_HTTP).await;
            part(stream).await;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let accepted = acceptor.accept(stream).into_fallible().await;
        match accepted {
            Ok(stream) => Ok(stream),
            Err((cause, stream)) => {
                part(stream).await;
                Err(cause)
            }
        }
    };
    tokio::time::timeout(PATIENCE, greeting).await.map_err(slow)?
}

/// Lets somebody go who has been told why. A client sends its request right
/// behind its certificate, and to close a socket with unread input resets
/// the connection: the reason would be lost on its way. So the input is read
/// until the client has closed, or the patience for it is over.
async fn part(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}
