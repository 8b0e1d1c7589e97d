//! Archives as directories: an OCI image layout, where other tools can look at
//! the files one by one, and the files of an image.

use std::io::{self, BufRead, Read};
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use cli_api::client::Payload;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use layers::apply::{Options, apply};
use tokio::sync::mpsc;

use crate::cli::download;
use crate::cli::interrupt::Interrupt;

/// Pieces between the connection and the files.
const QUEUE: usize = 16;

/// Says why no directory can be made at `path`, before anything is sent. An
/// earlier one is not mixed with: what an index no longer names would stay.
///
/// # Errors
/// As said.
pub(super) fn check_target(path: &Path) -> anyhow::Result<()> {
    let Ok(mut entries) = std::fs::read_dir(path) else {
        // Nothing there, or a file, or a path that leads nowhere.
        anyhow::ensure!(
            path.symlink_metadata().is_err(),
            "{} is there and is no directory",
            path.display()
        );
        return download::check_target(path);
    };
    anyhow::ensure!(
        entries.next().is_none(),
        "{0} is there already and not empty: name another directory, or \
         remove it first (rm -r {0})",
        path.display()
    );
    Ok(())
}

/// Unpacks an archive that is being received. The directory appears when it
/// is complete; one that is there already must be empty.
///
/// # Errors
/// If the connection breaks or something cannot be written.
pub(super) async fn save(
    answer: Response<Incoming>,
    dir: &Path,
) -> anyhow::Result<()> {
    let failed = || format!("failed to save to {}", dir.display());
    let above = match dir.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    let making = tempfile::tempdir_in(above).with_context(failed)?;
    unpack(answer, making.path()).await.with_context(failed)?;
    open_to_others(making.path()).with_context(failed)?;
    std::fs::rename(making.path(), dir).with_context(failed)?;
    // Nothing of it is left at the old path.
    let _ = making.keep();
    Ok(())
}

/// Unpacks an archive that is being received into a directory, over what is
/// there. All of it becomes ours, and a link in it leads nowhere else.
///
/// # Errors
/// If the connection breaks or something cannot be written.
pub(super) async fn unpack(
    answer: Response<Incoming>,
    dir: &Path,
) -> anyhow::Result<()> {
    let (pieces, received) = mpsc::channel(QUEUE);
    let to = dir.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut archive = Pieces { received, piece: Bytes::new() };
        let options = Options {
            owners: false,
            whiteouts: false,
            privileges: false,
            ..Options::for_this_user()
        };
        apply(&to, &mut archive, &options)?;
        // What follows the archive's end is for nobody.
        io::copy(&mut archive, &mut io::sink()).map(drop)?;
        anyhow::Ok(())
    });
    let mut interrupt = Interrupt::catch()?;
    let received = tokio::select! {
        received = pass_on(answer.into_body(), pieces) => received,
        end = interrupt.come() => Err(end.into()),
    };
    // In any case it has to have ended before the directory can go.
    let unpacked = unpacking.await?;
    received.and(unpacked)
}

async fn pass_on(
    mut body: Incoming,
    pieces: mpsc::Sender<Bytes>,
) -> anyhow::Result<()> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if pieces.send(data).await.is_err() {
            // It has failed, and says of what.
            break;
        }
    }
    Ok(())
}

/// A temporary directory is closed to others, which a saved one is not.
fn open_to_others(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755))
}

/// A directory as the archive that the daemon wants: an OCI layout, or what
/// somebody has unpacked of an archive.
///
/// # Errors
/// If it is neither.
pub(super) fn upload(dir: &Path) -> anyhow::Result<Payload> {
    anyhow::ensure!(
        !dir.join("version").is_file(),
        "{0} is in the format of skopeo's dir:, which is not read here; copy \
         it first: skopeo copy dir:{0} oci:OTHER",
        dir.display()
    );
    let known = ["index.json", "manifest.json"];
    anyhow::ensure!(
        known.iter().any(|name| dir.join(name).is_file()),
        "{} is a directory without images: it has neither the index.json of \
         an OCI layout nor the manifest.json of an unpacked archive",
        dir.display()
    );
    let dir = dir.to_owned();
    Ok(download::written("application/x-tar", move |out| {
        let mut tar = tar::Builder::new(out);
        tar.append_dir_all("", &dir)?;
        tar.finish()
    }))
}

/// Pieces of a body for blocking code.
struct Pieces {
    received: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, bytes: usize) {
        bytes::Buf::advance(&mut self.piece, bytes);
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}
