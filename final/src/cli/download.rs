//! Bodies of answers into files, and files into bodies of requests.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cli_api::client::Payload;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::failure::{cannot_open, errno};
use super::interrupt::Interrupt;

/// Refuses to write an archive to a terminal.
///
/// # Errors
/// As said.
pub(crate) fn refuse_terminal(output: Option<&Path>) -> anyhow::Result<()> {
    anyhow::ensure!(
        output.is_some() || !std::io::stdout().is_terminal(),
        "cowardly refusing to save to a terminal. Use the -o flag or redirect"
    );
    Ok(())
}

/// Says why no file can be made at `path`, in Docker's words and as early.
///
/// # Errors
/// As said.
pub(crate) fn check_target(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let dir = directory_of(path);
    if let Err(why) = dir.metadata() {
        anyhow::bail!(
            "invalid output path: stat {}: {}",
            dir.display(),
            errno(&why)
        );
    }
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_char_device() => "a character device file",
        () if kind.is_block_device() => "a block device file",
        () if kind.is_fifo() => "a named pipe file",
        () if kind.is_socket() => "a socket file",
        () => return Ok(()),
    };
    anyhow::bail!("cannot write to {what}")
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

/// Writes a body to a file, which appears when it is complete, or to
/// standard output.
///
/// # Errors
/// If writing fails or the connection breaks.
pub(crate) async fn save(
    answer: Response<Incoming>,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let mut body = answer.into_body();
    let Some(path) = output else {
        let mut out = std::io::stdout().lock();
        return copy(&mut body, &mut out).await;
    };
    let dir = directory_of(path);
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(dir)
        .map_err(|why| {
            anyhow::anyhow!("failed to save to {}: {why}", path.display())
        })?;
    let mut interrupt = Interrupt::catch()?;
    tokio::select! {
        copied = copy(&mut body, file.as_file_mut()) => copied?,
        end = interrupt.come() => return Err(end.into()),
    }
    file.persist(path)?;
    Ok(())
}

/// Writes a body to `out`.
///
/// # Errors
/// If writing fails or the connection breaks.
pub(crate) async fn copy(
    body: &mut Incoming,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            out.write_all(data)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// A file as a body, or standard input without one.
///
/// # Errors
/// If it cannot be opened.
pub(crate) async fn upload(
    input: Option<&PathBuf>,
    content_type: &'static str,
) -> anyhow::Result<Payload> {
    match input {
        None => Ok(reader(tokio::io::stdin(), content_type)),
        Some(path) => {
            let file = tokio::fs::File::open(path).await;
            let file = file.map_err(|why| cannot_open(path, &why))?;
            // read(2) would say so too, but in the middle of the request.
            anyhow::ensure!(
                !file.metadata().await?.is_dir(),
                "read {}: is a directory",
                path.display()
            );
            Ok(reader(file, content_type))
        }
    }
}

fn reader(
    from: impl AsyncRead + Send + Unpin + 'static,
    content_type: &'static str,
) -> Payload {
    let stream = futures_util::stream::try_unfold(from, async |mut from| {
        let mut piece = bytes::BytesMut::with_capacity(64 << 10);
        let length = from.read_buf(&mut piece).await?;
        Ok((length > 0).then(|| (piece.freeze(), from)))
    });
    Payload::stream(content_type, stream)
}

/// A body that `make` writes on a thread of its own, such as a tar archive.
/// Its failure breaks the request off.
pub(crate) fn written(
    content_type: &'static str,
    make: impl FnOnce(&mut Pipe) -> std::io::Result<()> + Send + 'static,
) -> Payload {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        let mut pipe = Pipe { sender, pending: Vec::new() };
        let done = make(&mut pipe).and_then(|()| pipe.flush());
        if let Err(why) = done {
            let _ = pipe.sender.blocking_send(Err(why));
        }
    });
    let stream = futures_util::stream::unfold(receiver, async |mut it| {
        let piece = it.recv().await?;
        Some((piece, it))
    });
    Payload::stream(content_type, stream)
}

/// The writing end of [`written`].
#[derive(Debug)]
pub(crate) struct Pipe {
    sender: tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
    /// Small writes are collected: each piece is a chunk of HTTP.
    pending: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.pending.extend_from_slice(data);
        if self.pending.len() >= 64 << 10 {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.pending));
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
