//! Reading a log: the last lines, a span of time, and what is yet to come.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::{Entry, Stream, numbered, packed};
use crate::Error;

/// Which lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Lines of standard output.
    pub stdout: bool,
    /// Lines of standard error.
    pub stderr: bool,
    /// Only so many lines from the end; `None` is all.
    pub tail: Option<usize>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Wait for more at the end.
    pub follow: bool,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            stdout: true,
            stderr: true,
            tail: None,
            since: None,
            until: None,
            follow: false,
        }
    }
}

/// How long a follower sleeps at most before it asks again whether the
/// process has ended. New lines wake it at once.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Hands the entries of the log at `path` to `sink`, oldest first, until
/// the log ends or `sink` breaks off.
///
/// With [`Query::follow`] it blocks at the end and goes on when the log
/// grows, across rotations, until `ended` says that no more will come.
///
/// # Errors
/// [`Error::Read`]. A log that does not exist is an empty one.
pub fn read(
    path: &Path,
    query: &Query,
    ended: &dyn Fn() -> bool,
    sink: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), Error> {
    Opened::open(path, query)?.read(ended, sink)
}

/// A log whose files are open. Who removes it from now on takes nothing away
/// from its reader.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    query: Query,
    /// Newest first.
    files: Vec<File>,
    watch: Option<OwnedFd>,
}

impl Opened {
    /// Opens the log at `path`, to be read as `query` says.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path, query: &Query) -> Result<Opened, Error> {
        // The watch comes before the files: what is appended between the two
        // would otherwise go unnoticed until the next line.
        let watch = query.follow.then(|| watch(path)).transpose()?;
        let files =
            open_all(path, |number| open_or_unpack(&numbered(path, number)))?;
        let (path, query) = (path.to_owned(), query.clone());
        Ok(Opened { path, query, files, watch })
    }

    /// As [`read`].
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(
        self,
        ended: &dyn Fn() -> bool,
        sink: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (path, query) = (self.path.as_path(), &self.query);
        let mut reader =
            Reader { path, query, sink, file: None, rest: Vec::new() };
        if reader.history(self.files)?.is_break() {
            return Ok(());
        }
        let Some(watch) = self.watch else { return Ok(()) };
        loop {
            // Asked before reading: what was written up to the end is read
            // then.
            let last = ended();
            if reader.more()?.is_break() || last {
                return Ok(());
            }
            let mut fds = [PollFd::new(&watch, PollFlags::IN)];
            if poll(&mut fds, Some(&NAP)).is_ok_and(|ready| ready > 0) {
                // The events themselves say nothing that reading does not.
                let _ = rustix::io::read(&watch, &mut [0; 4096]);
            }
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    query: &'a Query,
    sink: &'a mut dyn FnMut(Entry) -> ControlFlow<()>,
    /// The newest file, read up to where we are.
    file: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Reader<'_> {
    /// What is there already: rotated files, then the newest.
    fn history(
        &mut self,
        mut files: Vec<File>,
    ) -> Result<ControlFlow<()>, Error> {
        // They are newest first, as the search from the end wants it.
        let keep = start_of_tail(&mut files, self.query.tail)
            .map_err(Error::read(self.path))?;
        files.truncate(keep);
        while let Some(file) = files.pop() {
            self.file = Some(BufReader::new(file));
            if self.rest_of_file()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What has been added since.
    fn more(&mut self) -> Result<ControlFlow<()>, Error> {
        if self.rest_of_file()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let Some(newest) = open(self.path)? else {
            return Ok(ControlFlow::Continue(()));
        };
        if self.is_stale(&newest).map_err(Error::read(self.path))? {
            // What was added to the old file before the rename, and after
            // our last look.
            if self.rest_of_file()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.rest.clear();
            self.file = Some(BufReader::new(newest));
            return self.rest_of_file();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether the log has been rotated: another file has the name now, or
    /// the same file has become shorter than what we have read.
    fn is_stale(&mut self, newest: &File) -> std::io::Result<bool> {
        let Some(ours) = &mut self.file else { return Ok(true) };
        let (new, old) = (newest.metadata()?, ours.get_ref().metadata()?);
        Ok(new.ino() != old.ino() || new.len() < ours.stream_position()?)
    }

    /// Hands over whole lines up to the end of the file. The beginning of a
    /// line that is just being written stays in `rest` until next time.
    fn rest_of_file(&mut self) -> Result<ControlFlow<()>, Error> {
        let Some(file) = &mut self.file else {
            return Ok(ControlFlow::Continue(()));
        };
        loop {
            let got = file
                .read_until(b'\n', &mut self.rest)
                .map_err(Error::read(self.path))?;
            if got == 0 || !self.rest.ends_with(b"\n") {
                return Ok(ControlFlow::Continue(()));
            }
            let entry = Entry::parse(&self.rest);
            self.rest.clear();
            let Some(entry) = entry else { continue };
            if self.query.until.is_some_and(|until| entry.time > until) {
                return Ok(ControlFlow::Break(()));
            }
            if self.query.wants(&entry) && (self.sink)(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

impl Query {
    /// Whether an entry was asked for; the number from the end and the
    /// latest time are dealt with elsewhere.
    fn wants(&self, entry: &Entry) -> bool {
        let stream = match entry.stream {
            Stream::Stderr => self.stderr,
            _ => self.stdout,
        };
        stream && self.since.is_none_or(|since| entry.time >= since)
    }
}

/// Puts each file where the last `tail` lines of all begin, and says how
/// many of the files (newest first) hold them. Reads from the end, block by
/// block: the log may be larger than memory.
fn start_of_tail(
    files: &mut [File],
    tail: Option<usize>,
) -> std::io::Result<usize> {
    let Some(mut missing) = tail else { return Ok(files.len()) };
    for (index, file) in files.iter_mut().enumerate() {
        let mut at = file.seek(SeekFrom::End(0))?;
        let mut block = vec![0; 64 << 10];
        let mut ends = 0;
        while at > 0 {
            let length = at.min(block.len() as u64);
            at -= length;
            let block = &mut block[..usize::try_from(length).unwrap_or(0)];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(block)?;
            for position in (0..block.len()).rev() {
                if block[position] != b'\n' {
                    continue;
                }
                if ends == missing {
                    let start = at + position as u64 + 1;
                    file.seek(SeekFrom::Start(start))?;
                    return Ok(index + 1);
                }
                ends += 1;
            }
        }
        file.seek(SeekFrom::Start(0))?;
        missing -= ends;
    }
    Ok(files.len())
}

/// The log's files, newest first. A rotation in between moves what has just
/// been opened to the next number, where it is not opened again.
pub(super) fn open_all(
    path: &Path,
    mut open: impl FnMut(u32) -> Result<Option<File>, Error>,
) -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    let mut last = None;
    for number in 0.. {
        let Some(file) = open(number)? else {
            match number {
                0 => continue,
                _ => break,
            }
        };
        let about = file.metadata().map_err(Error::read(path))?;
        let this = Some((about.dev(), about.ino()));
        if last != this {
            files.push(file);
            last = this;
        }
    }
    Ok(files)
}

/// A file that is not there is nothing to read, not an error: rotation may
/// have taken it away a moment ago.
fn open(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(it) if it.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::read(path)(cause)),
    }
}

/// The same for a file that may be packed: it is unpacked into one without
/// a name, since a tail is looked for from the end.
fn open_or_unpack(path: &Path) -> Result<Option<File>, Error> {
    if let Some(file) = open(path)? {
        return Ok(Some(file));
    }
    let path = packed(path);
    let Some(file) = open(&path)? else { return Ok(None) };
    let unpack = || {
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut plain = tempfile::tempfile_in(dir)?;
        io::copy(&mut GzDecoder::new(file), &mut plain)?;
        plain.rewind()?;
        Ok(Some(plain))
    };
    unpack().map_err(Error::read(&path))
}

/// Watches the directory, not the file, which rotation replaces.
fn watch(path: &Path) -> Result<OwnedFd, Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let failed = |it: rustix::io::Errno| Error::read(dir)(it.into());
    let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).map_err(failed)?;
    let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, dir, what).map_err(failed)?;
    Ok(watch)
}
