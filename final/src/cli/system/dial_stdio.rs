//! `system dial-stdio`: our standard input and output become a connection to
//! the daemon, for clients that reach this machine by ssh.

use cli_api::frames::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::cli::context::Context;
use crate::cli::streams;

/// Until the daemon has said everything. That our input has ended is passed
/// on as half a close, and is not the end: an answer may still come.
pub(crate) async fn dial_stdio(context: &Context) -> anyhow::Result<u8> {
    let wire = context.client.dial().await?;
    let (output, input) = tokio::io::split(wire);
    tokio::select! {
        shown = show(output) => shown.map(|()| 0),
        broken = send(input) => Err(broken.into()),
    }
}

async fn show<W>(mut output: ReadHalf<W>) -> anyhow::Result<()>
where
    W: tokio::io::AsyncRead,
{
    let mut buffer = vec![0; 32 << 10];
    loop {
        match output.read(&mut buffer).await? {
            0 => return Ok(()),
            length => streams::write(Stream::Stdout, &buffer[..length])?,
        }
    }
}

/// Comes back only with an error.
async fn send<W>(mut input: WriteHalf<W>) -> std::io::Error
where
    W: tokio::io::AsyncWrite,
{
    let mut typed = streams::read_stdin();
    let sent = async {
        while let Some(bytes) = typed.recv().await {
            input.write_all(&bytes).await?;
            input.flush().await?;
        }
        input.shutdown().await
    };
    match sent.await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}
