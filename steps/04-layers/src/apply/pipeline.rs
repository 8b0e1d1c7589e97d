//! The way of a layer: stream → hash → inflate → hash → files.
//!
//! Nothing waits for a whole: the bytes go from the socket to their files
//! through two threads. One takes in (network, hash of the blob, inflate),
//! the other puts away (hash of the tar, files): the two halves cost about
//! the same, so a layer takes half the time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::{Limits, Options, Summary, TarError, apply};
use crate::compress::{self, Compression};
use crate::digest::{DiffId, Hasher};
use crate::error::{Error, Result};
use crate::store::BlobWriter;

/// Bytes that change hands at once: they stay in the L2 cache.
const CHUNK: usize = 128 << 10;
/// Chunks between the threads: how far one may run ahead of the other.
const AHEAD: usize = 8;

/// A layer that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// How the stream was compressed.
    pub compression: Compression,
    /// Bytes in the regular files.
    pub size: u64,
    /// See [`Summary::implied`].
    pub implied: Vec<String>,
    /// See [`Summary::warnings`].
    pub warnings: Vec<String>,
}

/// Unpacks a layer, in whatever compression, into an empty directory. With
/// `blob`, what was read is written there too (and hashed by it).
///
/// A stream that turns out to be damaged is still read to its end, so that
/// `blob` can tell which digest it had.
pub fn unpack(
    input: impl Read + Send,
    dir: &Path,
    blob: Option<&mut BlobWriter>,
    options: &Options,
) -> Result<Unpacked> {
    let bytes = AtomicU64::new(0);
    let mut tee = Tee { input, blob, bytes: &bytes };
    let result = two_threads(&mut tee, &bytes, dir, options);
    if let Err(TarError::Read(_) | TarError::Header { .. }) = &result {
        // Its own error would only hide the one that matters.
        let _ = io::copy(&mut tee, &mut io::sink());
    }
    result.map_err(|error| match error {
        // One of ours (cancelled, network) that passed through `Read`.
        TarError::Read(e) if e.get_ref().is_some_and(|e| e.is::<Error>()) => {
            match e.into_inner().map(|e| e.downcast::<Error>()) {
                Some(Ok(error)) => *error,
                _ => Error::Cancelled,
            }
        }
        source => Error::Tar { layer: "stream".to_owned(), source },
    })
}

/// The scope ends when both have: an error here makes the other thread's next
/// send fail, and it stops.
fn two_threads(
    input: &mut (impl Read + Send),
    bytes: &AtomicU64,
    dir: &Path,
    options: &Options,
) -> Result<Unpacked, TarError> {
    let input = BufReader::with_capacity(CHUNK, input);
    let (compression, input) =
        compress::detected(input).map_err(TarError::Read)?;
    let decoder =
        compress::decoder_of(compression, input).map_err(TarError::Read)?;
    let (full, take) = sync_channel(AHEAD);
    let (give, empty) = channel();
    std::thread::scope(|scope| {
        let limits = options.limits;
        let feed = Feed { full, empty, bytes, limits };
        scope.spawn(move || feed.run(decoder));
        let hasher = Hasher::sha256();
        let mut tar = Chunks { take, give, chunk: Vec::new(), at: 0, hasher };
        let summary = apply(dir, &mut tar, options)?;
        tar.drain().map_err(TarError::Read)?;
        let diff_id = DiffId(tar.hasher.finish());
        let Summary { size, implied, warnings, .. } = summary;
        Ok(Unpacked { diff_id, compression, size, implied, warnings })
    })
}

/// What is read also goes to the blob.
struct Tee<'a, R> {
    input: R,
    blob: Option<&'a mut BlobWriter>,
    bytes: &'a AtomicU64,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        if let Some(blob) = &mut self.blob {
            blob.write_all(&buffer[..read])?;
        }
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The thread that inflates.
///
/// Its errors travel as the last message.
struct Feed<'a> {
    full: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    /// Bytes before decompression.
    bytes: &'a AtomicU64,
    limits: Limits,
}

impl Feed<'_> {
    /// Ends when the stream does, or when nobody wants more: then the error
    /// lies with the receiver.
    fn run(self, mut decoder: impl Read) {
        let mut out = 0;
        loop {
            let mut chunk = self.empty.try_recv().unwrap_or_default();
            // A chunk that comes back is not cleared again.
            chunk.resize(CHUNK, 0);
            let read = fill(&mut decoder, &mut chunk);
            let read = read.and_then(|read| {
                out += read as u64;
                self.believable(out)?;
                chunk.truncate(read);
                Ok(chunk)
            });
            let stop = read.as_ref().map_or(true, Vec::is_empty);
            if self.full.send(read).is_err() || stop {
                return;
            }
        }
    }

    /// Refuses a decompression bomb before it fills the disk.
    fn believable(&self, out: u64) -> io::Result<()> {
        let Limits { bytes: most, ratio, ratio_from, .. } = self.limits;
        let taken = self.bytes.load(Ordering::Relaxed);
        let problem = if out > most {
            format!("more than {most} bytes come out of it")
        } else if out > ratio_from && out / taken.max(1) > ratio {
            format!(
                "{out} bytes come out of {taken}, more than {ratio} times as \
                 many: a decompression bomb"
            )
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match input.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// What the other thread sent, as a reader that hashes.
struct Chunks {
    take: Receiver<io::Result<Vec<u8>>>,
    give: Sender<Vec<u8>>,
    /// What is being read; its buffer goes back afterwards, so that a layer
    /// of any size needs the memory of a few chunks.
    chunk: Vec<u8>,
    at: usize,
    hasher: Hasher,
}

impl Chunks {
    /// Reads what follows the end of the archive: it counts for the digest.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.fill_buf()?.len();
            if bytes == 0 {
                return Ok(());
            }
            self.consume(bytes);
        }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            // A closed channel is the end, which was signalled before.
            let next = self.take.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.hasher.update(&next);
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            // The other thread may be through already.
            let _ = self.give.send(used);
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let take = bytes.len().min(buffer.len());
        buffer[..take].copy_from_slice(&bytes[..take]);
        self.consume(take);
        Ok(take)
    }
}
