//! A request after which the connection is a plain byte stream.
//!
//! The counterpart of [`crate::server::hijack`]. The two halves can be used
//! by different tasks, and closed one by one: shutdown(2) of the writing
//! half says *no more input*, and reading goes on.

use hyper::{Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::{Client, Payload, refusal};
use crate::Error;

/// Reads what the daemon sends.
pub type Output = ReadHalf<TokioIo<hyper::upgrade::Upgraded>>;
/// Writes what the process reads; close it with
/// [`shutdown`](AsyncWriteExt::shutdown), the output goes on.
pub type Input = WriteHalf<TokioIo<hyper::upgrade::Upgraded>>;

/// Both directions of a hijacked connection.
#[derive(Debug)]
pub struct Tunnel {
    /// What comes back.
    pub output: Output,
    /// What goes there.
    pub input: Input,
}

impl Tunnel {
    /// Says that nothing will be sent: the process's standard input ends.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub async fn close_input(&mut self) -> Result<(), Error> {
        self.input.shutdown().await.map_err(Error::Broken)
    }
}

impl Client {
    /// POST that turns its connection into a [`Tunnel`].
    ///
    /// # Errors
    /// [`Error::NotUpgraded`] if the daemon answers with something else.
    pub async fn hijack(
        &self,
        path: &str,
        body: Payload,
    ) -> Result<Tunnel, Error> {
        let mut request = self.request(Method::POST, path, body, &[])?;
        let headers = request.headers_mut();
        let value = header::HeaderValue::from_static;
        headers.insert(header::CONNECTION, value("Upgrade"));
        headers.insert(header::UPGRADE, value("tcp"));
        let answer = self.exchange(request).await?;
        if answer.status().as_u16() >= 400 {
            return Err(refusal(answer).await);
        }
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = answer.status().as_u16();
            return Err(Error::NotUpgraded { status });
        }
        let io = hyper::upgrade::on(answer)
            .await
            .map_err(|cause| Error::Broken(std::io::Error::other(cause)))?;
        let (output, input) = tokio::io::split(TokioIo::new(io));
        Ok(Tunnel { output, input })
    }
}
