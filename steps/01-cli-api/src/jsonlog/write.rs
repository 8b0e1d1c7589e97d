//! Writing a log: cutting output into lines, and files into pieces.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::{
    Attributes, Line, MAX_LINE, Stream, numbered, packed, remove_numbered,
};
use crate::Error;

/// When a new file begins, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Docker's `max-size`, in bytes; `None` is one file without end.
    pub max_size: Option<u64>,
    /// Docker's `max-file`: files in all, at least 1.
    pub max_file: u32,
    /// Docker's `compress`: all but the newest file are packed.
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { max_size: None, max_file: 1, compress: false }
    }
}

/// Appends what a process writes to its log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    open: [Partial; 2],
    attrs: Attributes,
    /// A file that is being packed, which takes longer than a process may
    /// be kept waiting for its log.
    packing: Option<JoinHandle<()>>,
}

/// The beginning of a line whose end has not been read yet.
#[derive(Debug, Default)]
struct Partial {
    text: Vec<u8>,
    since: Option<Timestamp>,
}

impl Writer {
    /// Opens the log at `path`, to go on at its end.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn open(path: &Path, rotation: Rotation) -> Result<Writer, Error> {
        let file = append_to(path)?;
        let size = file.metadata().map_err(Error::read(path))?.len();
        Ok(Writer {
            path: path.to_owned(),
            rotation,
            file,
            size,
            open: Default::default(),
            attrs: Attributes::new(),
            packing: None,
        })
    }

    /// The same with these attributes in every line.
    #[must_use]
    pub fn with_attrs(mut self, attrs: Attributes) -> Writer {
        self.attrs = attrs;
        self
    }

    /// Takes what has just been read from the process. Whole lines are in
    /// the file when this returns; the beginning of a line waits for its
    /// end, or for [`finish`](Writer::finish).
    ///
    /// # Errors
    /// [`Error::Write`], for example with a full disk. The lines of this
    /// call may be lost then; the next call tries again.
    pub fn push(
        &mut self,
        stream: Stream,
        mut output: &[u8],
    ) -> Result<(), Error> {
        let now = Timestamp::now();
        let mut lines = Vec::new();
        while !output.is_empty() {
            let partial = self.partial(stream);
            // A program that never writes a newline must not fill our
            // memory.
            let room = MAX_LINE - partial.text.len();
            let newline = output.iter().position(|byte| *byte == b'\n');
            let (take, ends) = match newline {
                Some(at) if at < room => (at + 1, true),
                _ => (room.min(output.len()), output.len() >= room),
            };
            let since = *partial.since.get_or_insert(now);
            partial.text.extend_from_slice(&output[..take]);
            output = &output[take..];
            if ends {
                let rest = cut_inside_character(&mut partial.text);
                let text = std::mem::replace(&mut partial.text, rest);
                partial.since = (!partial.text.is_empty()).then_some(now);
                let entry = (text.as_slice(), stream, since);
                encode(&mut lines, entry, &self.attrs)?;
            }
        }
        self.append(&lines)
    }

    /// The stream has ended: writes a last line that has no `\n`.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(&mut self, stream: Stream) -> Result<(), Error> {
        let partial = std::mem::take(self.partial(stream));
        let Some(since) = partial.since else { return Ok(()) };
        let mut line = Vec::new();
        let entry = (partial.text.as_slice(), stream, since);
        encode(&mut line, entry, &self.attrs)?;
        self.append(&line)
    }

    /// A line that was begun on one stream is not ended by the other.
    fn partial(&mut self, stream: Stream) -> &mut Partial {
        &mut self.open[usize::from(stream == Stream::Stderr)]
    }

    /// One write(2) for all lines: with O_APPEND it cannot be torn apart by
    /// another writer, and a reader sees whole lines.
    fn append(&mut self, lines: &[u8]) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.rotation.max_size.is_some_and(|max| self.size >= max) {
            self.rotate()?;
        }
        self.file
            .write_all(lines)
            .map_err(Error::write("append to the log", &self.path))?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Shifts `NAME.1` to `NAME.2` and so on, oldest first, so that a crash
    /// in between loses no file but the one that was to go anyway.
    fn rotate(&mut self) -> Result<(), Error> {
        self.wait_for_packing();
        let keep = self.rotation.max_file.max(1);
        if keep == 1 {
            // Nothing may be kept. Readers notice that the file is shorter.
            self.file
                .set_len(0)
                .map_err(Error::write("empty the log", &self.path))?;
        }
        for number in (0..keep - 1).rev() {
            self.shift(number)?;
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        if self.rotation.compress && keep > 1 {
            let file = numbered(&self.path, 1);
            // One that cannot be packed is kept as it is, and read so.
            self.packing = Some(std::thread::spawn(move || {
                let _ = pack(&file);
            }));
        }
        Ok(())
    }

    /// Gives a file the next number, packed or not.
    fn shift(&self, number: u32) -> Result<(), Error> {
        remove_numbered(&self.path, number + 1)?;
        let plain = [number, number + 1].map(|it| numbered(&self.path, it));
        let gz = plain.each_ref().map(|it| packed(it));
        for [from, to] in [plain, gz] {
            if from.exists() {
                fs::rename(&from, &to)
                    .map_err(Error::write("rotate the log", &from))?;
            }
        }
        Ok(())
    }

    fn wait_for_packing(&mut self) {
        if let Some(packing) = self.packing.take() {
            // It has nothing to tell.
            let _ = packing.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.wait_for_packing();
    }
}

/// Packs a file. Whoever reads meanwhile, or after a crash half-way, finds
/// the one or the other, and never half of it.
fn pack(file: &Path) -> io::Result<()> {
    let target = packed(file);
    let half = target.with_extension("tmp");
    let half_file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o640)
        .open(&half)?;
    let mut packer = GzEncoder::new(half_file, Compression::default());
    io::copy(&mut File::open(file)?, &mut packer)?;
    packer.finish()?;
    fs::rename(&half, &target)?;
    fs::remove_file(file)
}

/// With O_APPEND every write goes to the end, wherever that is by then.
fn append_to(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .append(true)
        // Output may contain secrets; Docker's logs are 0640.
        .mode(0o640)
        .open(path)
        .map_err(Error::write("open the log", path))
}

/// Adds one line to `out`. Bytes that are not UTF-8, which JSON cannot
/// hold, become U+FFFD, as in Docker.
fn encode(
    out: &mut Vec<u8>,
    (text, stream, time): (&[u8], Stream, Timestamp),
    attrs: &Attributes,
) -> Result<(), Error> {
    let line = Line {
        log: String::from_utf8_lossy(text),
        stream: stream.name(),
        attrs: Cow::Borrowed(attrs),
        time: time.to_string().into(),
    };
    serde_json::to_writer(&mut *out, &line).map_err(Error::Encode)?;
    out.push(b'\n');
    Ok(())
}

/// Splits off the first bytes of a UTF-8 character at the end of a piece
/// that was cut by length, so that the character stays whole in the next.
fn cut_inside_character(text: &mut Vec<u8>) -> Vec<u8> {
    if text.ends_with(b"\n") {
        return Vec::new();
    }
    match std::str::from_utf8(text) {
        // No error length: the input ended too early, it is not wrong.
        Err(it) if it.error_len().is_none() && it.valid_up_to() > 0 => {
            text.split_off(it.valid_up_to())
        }
        _ => Vec::new(),
    }
}
