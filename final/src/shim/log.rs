//! The container's log as the shim keeps it: written at once, or from a
//! buffer, so that the container never waits for the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use cli_api::frames::Stream;
use cli_api::jsonlog::{Rotation, Writer};

use super::spec;

/// Where output goes besides the attachers.
#[derive(Debug)]
pub(super) enum Log {
    /// Nowhere.
    None,
    /// To the disk, before anybody else sees it.
    AtOnce(Tolerant),
    /// To the disk, when it has time (`mode=non-blocking`).
    Behind(Behind),
}

impl Log {
    /// The log has to be there before the first output, and a container
    /// without one is better than none.
    pub(super) fn open(wanted: &spec::Log) -> Log {
        let spec::Log::JsonFile {
            path,
            max_size,
            max_file,
            compress,
            buffer,
            attrs,
        } = wanted
        else {
            return Log::None;
        };
        let (max_size, max_file) = (*max_size, *max_file);
        let rotation = Rotation { max_size, max_file, compress: *compress };
        let writer = match Writer::open(path, rotation) {
            Ok(writer) => writer.with_attrs(attrs.clone()),
            Err(error) => {
                eprintln!("{error}");
                return Log::None;
            }
        };
        let writer = Tolerant { writer, failed: false };
        match buffer {
            None => Log::AtOnce(writer),
            Some(bytes) => Log::Behind(Behind::start(writer, *bytes)),
        }
    }

    /// Takes what has just been read from the process.
    pub(super) fn push(&mut self, stream: Stream, output: &[u8]) {
        match self {
            Log::None => {}
            Log::AtOnce(writer) => {
                writer.write(&Piece::Output(stream, output.to_vec()));
            }
            Log::Behind(buffer) => buffer.push(stream, output),
        }
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, stream: Stream) {
        match self {
            Log::None => {}
            Log::AtOnce(writer) => writer.write(&Piece::End(stream)),
            Log::Behind(buffer) => buffer.queue.put(Piece::End(stream)),
        }
    }

    /// Blocks until everything is on disk: who hears of the end of a
    /// container may read its log at once.
    pub(super) fn settle(&mut self) {
        if let Log::Behind(buffer) = self {
            buffer.queue.wait_until_written();
        }
    }
}

/// What goes into a log.
#[derive(Debug)]
enum Piece {
    Output(Stream, Vec<u8>),
    End(Stream),
}

/// A log that cannot be written (a full disk) must not stop the container.
/// It is said once.
#[derive(Debug)]
pub(super) struct Tolerant {
    writer: Writer,
    failed: bool,
}

impl Tolerant {
    fn write(&mut self, piece: &Piece) {
        let done = match piece {
            Piece::Output(stream, bytes) => self.writer.push(*stream, bytes),
            Piece::End(stream) => self.writer.finish(*stream),
        };
        if let (Err(error), false) = (&done, self.failed) {
            eprintln!("{error}");
        }
        self.failed = done.is_err();
    }
}

/// A thread that writes, and what waits for it.
#[derive(Debug)]
pub(super) struct Behind {
    queue: Arc<Queue>,
    most: u64,
    thread: Option<JoinHandle<()>>,
}

impl Behind {
    fn start(mut writer: Tolerant, most: u64) -> Behind {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            while let Some(piece) = theirs.take() {
                writer.write(&piece);
                theirs.written();
            }
        });
        Behind { queue, most, thread: Some(thread) }
    }

    fn push(&self, stream: Stream, output: &[u8]) {
        // A single piece is taken however large it is, as in Docker.
        let waiting = lock(&self.queue.waiting).bytes;
        if waiting == 0 || waiting + output.len() as u64 <= self.most {
            self.queue.put(Piece::Output(stream, output.to_vec()));
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        lock(&self.queue.waiting).over = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    bytes: u64,
    /// One has been taken and is not on disk yet.
    writing: bool,
    /// Nothing more will come.
    over: bool,
}

impl Queue {
    fn put(&self, piece: Piece) {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += size(&piece);
        waiting.pieces.push_back(piece);
        self.changed.notify_all();
    }

    /// The next piece, as soon as there is one; `None` at the end.
    fn take(&self) -> Option<Piece> {
        let idle = |it: &mut Waiting| it.pieces.is_empty() && !it.over;
        let mut waiting = self.wait_while(idle);
        let piece = waiting.pieces.pop_front()?;
        waiting.bytes -= size(&piece);
        waiting.writing = true;
        Some(piece)
    }

    fn written(&self) {
        lock(&self.waiting).writing = false;
        self.changed.notify_all();
    }

    fn wait_until_written(&self) {
        let busy = |it: &mut Waiting| it.writing || !it.pieces.is_empty();
        drop(self.wait_while(busy));
    }

    fn wait_while(
        &self,
        condition: impl FnMut(&mut Waiting) -> bool,
    ) -> MutexGuard<'_, Waiting> {
        let waiting = lock(&self.waiting);
        let waited = self.changed.wait_while(waiting, condition);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(piece: &Piece) -> u64 {
    match piece {
        Piece::Output(_, bytes) => bytes.len() as u64,
        Piece::End(_) => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &std::path::Path, buffer: Option<u64>) -> spec::Log {
        spec::Log::JsonFile {
            path: path.to_owned(),
            max_size: None,
            max_file: 1,
            compress: false,
            buffer,
            attrs: Default::default(),
        }
    }

    #[test]
    fn what_fits_into_the_buffer_is_on_disk_when_the_log_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&wanted(&path, Some(1 << 20)));
        for number in 0..1000 {
            log.push(Stream::Stdout, format!("{number}\n").as_bytes());
        }
        log.push(Stream::Stdout, b"last");
        log.finish(Stream::Stdout);
        log.settle();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1001);
        assert!(text.lines().last().unwrap().contains(r#""log":"last""#));
    }

    #[test]
    fn what_does_not_fit_is_lost_and_nobody_waits() {
        let queue = Arc::new(Queue::default());
        let full = Behind { queue, most: 10, thread: None };
        for text in ["12345678", "123", "12"] {
            full.push(Stream::Stdout, text.as_bytes());
        }
        let sizes: Vec<_> =
            lock(&full.queue.waiting).pieces.iter().map(size).collect();
        assert_eq!(sizes, [8, 2]);
    }
}
