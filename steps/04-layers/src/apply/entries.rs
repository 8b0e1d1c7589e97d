//! Reading a tar: blocks of 512 bytes, a header and then content.
//!
//! ```text
//! ┌────────┬─────────────┬────────┬────────┬───────┬────┬────┐
//! │ header │ PAX records │ header │ header │ data… │ 0… │ 0… │
//! │ type x │ path=…      │ of the │ of the │       │    │    │
//! │        │ mtime=…     │ entry  │ next   │       │ end mark│
//! └────────┴─────────────┴────────┴────────┴───────┴────┴────┘
//!   512      n × 512       512      512      n × 512
//! ```
//!
//! There is no table of contents, and no checksum but that of each header:
//! a program finds the next entry only by believing the size of this one.
//!
//! Names and sparse maps are read by the `tar` crate's [`tar::Header`]. The
//! order of things is ours, because it decides what is believed: names and
//! extended headers are limited in length, and only regular files have
//! content (Go's rule, hence Docker's: a parser that skips content where
//! another sees headers can be shown two different archives,
//! CVE-2025-62518).

use std::io::BufRead;

use rustix::fs::Timespec;
use tar::Header;

use super::number::Field;
use super::pax::Pax;
use super::sparse::{self, PaxSparse, Sparse};
use super::{Limits, TarError};

/// The unit of everything in a tar: headers are one, content is filled up to
/// a whole number of them. A tape drive wanted it so in 1979.
const BLOCK: usize = 512;
/// Longer names and extended headers than this have no honest use (Go's
/// limit too).
const EXTENSION_MAX: u64 = 1 << 20;
/// PATH_MAX of the kernel, its NUL included: longer paths cannot be opened
/// (ENAMETOOLONG), and only a hostile tar has them.
const PATH_MAX: usize = 4096;

/// What an entry wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `0`, NUL, and what nobody has used for decades (`7`, contiguous).
    File,
    Directory,
    /// Its target is text that means something only in the container.
    Symlink,
    /// A second name for an entry that came before.
    HardLink,
    Char,
    Block,
    Fifo,
}

/// One entry, its extensions already applied.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As in the tar, not cleaned.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Target of a symbolic or hard link.
    pub(crate) link: Vec<u8>,
    /// Permission bits, with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timespec,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<Sparse>,
}

/// The entries of a tar, one after another.
pub(crate) struct Entries<'a> {
    input: &'a mut dyn BufRead,
    limits: Limits,
    /// Bytes taken from `input`.
    at: u64,
    /// Where the last header began.
    start: u64,
    /// Content of the current entry not yet taken, and its padding.
    left: u64,
    padding: u64,
    count: u64,
}

/// Extensions that precede the entry they belong to.
#[derive(Default)]
struct Ahead {
    pax: Option<Pax>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<'a> Entries<'a> {
    /// Reads nothing yet. `input` is better a buffer in memory than a file:
    /// headers are read by 512 bytes each.
    pub(crate) fn new(
        input: &'a mut dyn BufRead,
        limits: Limits,
    ) -> Entries<'a> {
        Entries {
            input,
            limits,
            at: 0,
            start: 0,
            left: 0,
            padding: 0,
            count: 0,
        }
    }

    /// The next entry; its content is then read with [`Entries::content`],
    /// and what is not read is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut ahead = Ahead::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else { return Ok(None) };
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(TarError::Limit {
                    what: format!("{} entries", self.count),
                    limit: self.limits.entries,
                });
            }
            let size = self.number(&header, Field::Size)?;
            match header.as_bytes()[156] {
                b'x' => {
                    let data = self.extension(size)?;
                    let pax = Pax::parse(&data).map_err(|e| self.bad(e))?;
                    ahead.pax = Some(pax);
                }
                b'L' => ahead.path = Some(self.long_name(size)?),
                b'K' => ahead.link = Some(self.long_name(size)?),
                // Defaults for all entries. Only git writes it, for a comment.
                b'g' => drop(self.extension(size)?),
                _ => return self.entry(&header, ahead).map(Some),
            }
        }
    }

    /// The next piece of the current entry's content; empty at its end.
    pub(crate) fn content(&mut self) -> Result<&[u8], TarError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf().map_err(TarError::Read)?;
        if bytes.is_empty() {
            return Err(truncated());
        }
        let take =
            bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&bytes[..take])
    }

    /// Says that so many bytes of [`Entries::content`] are done with.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.at += bytes as u64;
        self.left -= bytes as u64;
    }

    /// Puts together what the header and the extensions before it say. Where
    /// both speak, the extension counts: it exists because the header's field
    /// is too small or too poor.
    fn entry(
        &mut self,
        header: &Header,
        ahead: Ahead,
    ) -> Result<Entry, TarError> {
        let mut pax = ahead.pax.unwrap_or_default();
        let in_pax = sparse::from_pax(&mut pax).map_err(|e| self.bad(e))?;
        let path = pax.path.take().or(ahead.path);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.take().or(ahead.link);
        let link = link
            .or_else(|| header.link_name_bytes().map(|l| l.into_owned()))
            .unwrap_or_default();
        let kind = self.kind(header, &path)?;
        let mut entry = Entry {
            kind,
            link,
            mode: self.mode(header)?,
            uid: self.id(header, Field::Uid, pax.uid)?,
            gid: self.id(header, Field::Gid, pax.gid)?,
            mtime: self.mtime(&pax, header)?,
            device: self.device(kind, header)?,
            xattrs: std::mem::take(&mut pax.xattrs),
            sparse: None,
            path,
        };
        if kind == Kind::File {
            let size = self.number(header, Field::Size)?;
            self.expect(pax.size.unwrap_or(size))?;
            entry.sparse = self.sparse(header, in_pax)?;
        }
        check_names(&entry)?;
        Ok(entry)
    }

    /// Notes how much content follows.
    fn expect(&mut self, size: u64) -> Result<(), TarError> {
        if size > self.limits.bytes {
            return Err(TarError::Limit {
                what: format!("a file of {size} bytes"),
                limit: self.limits.bytes,
            });
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// An unknown type is refused and not skipped: POSIX says to take it for
    /// a file, and then two programs would see different layers.
    fn kind(&self, header: &Header, path: &[u8]) -> Result<Kind, TarError> {
        Ok(match header.as_bytes()[156] {
            // Before POSIX a directory was a file with a slash at the end.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let problem = format!(
                    "entry type {:?} has no meaning in a layer",
                    char::from(other)
                );
                return Err(TarError::entry(path, &problem));
            }
        })
    }

    /// A field that must not be negative, with the place of the header in the
    /// error.
    fn number(&self, header: &Header, field: Field) -> Result<u64, TarError> {
        field.natural(header.as_bytes()).map_err(|e| self.bad(e))
    }

    /// Some old archives have the file type in the mode; it is not ours.
    fn mode(&self, header: &Header) -> Result<u32, TarError> {
        let mode = self.number(header, Field::Mode)? & 0o7777;
        u32::try_from(mode).map_err(|e| self.bad(e))
    }

    fn id(
        &self,
        header: &Header,
        field: Field,
        pax: Option<u64>,
    ) -> Result<u32, TarError> {
        let id = match pax {
            Some(id) => id,
            None => self.number(header, field)?,
        };
        // The last one means "leave it" to chown(2).
        u32::try_from(id)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| self.bad(format!("{field:?} {id} is out of range")))
    }

    /// May be negative: before 1970.
    fn mtime(&self, pax: &Pax, header: &Header) -> Result<Timespec, TarError> {
        if let Some(time) = pax.mtime {
            return Ok(time);
        }
        let read = Field::Mtime.read(header.as_bytes());
        let tv_sec = read.map_err(|e| self.bad(e))?;
        Ok(Timespec { tv_sec, tv_nsec: 0 })
    }

    /// Two numbers that name a driver and one of its devices; only for the
    /// types that have them, because other tars leave rubbish there.
    fn device(
        &self,
        kind: Kind,
        header: &Header,
    ) -> Result<(u32, u32), TarError> {
        if !matches!(kind, Kind::Char | Kind::Block) {
            return Ok((0, 0));
        }
        let part = |field| {
            let number = self.number(header, field)?;
            u32::try_from(number).map_err(|e| self.bad(e))
        };
        Ok((part(Field::Major)?, part(Field::Minor)?))
    }

    /// Whichever of the four forms is used, the pieces must account for every
    /// byte of content: otherwise the rest would be read as headers.
    fn sparse(
        &mut self,
        header: &Header,
        pax: PaxSparse,
    ) -> Result<Option<Sparse>, TarError> {
        let found = match pax {
            PaxSparse::Map(map) => map,
            PaxSparse::InContent(real) => self.map_in_content(real)?,
            PaxSparse::No if header.as_bytes()[156] == b'S' => {
                self.old_map(header)?
            }
            PaxSparse::No => return Ok(None),
        };
        if found.stored() != self.left {
            return Err(self.bad("a sparse map that does not fit the content"));
        }
        Ok(Some(found))
    }

    /// Old GNU: four pieces in the header, 21 in each block that follows.
    /// Those blocks are not part of the content's size.
    fn old_map(&mut self, header: &Header) -> Result<Sparse, TarError> {
        let gnu = header.as_gnu();
        let gnu = gnu.ok_or_else(|| self.bad("type S in another format"))?;
        let real = gnu.real_size().map_err(|e| self.bad(e))?;
        let mut map = Vec::new();
        let mut add = |pieces: &[tar::GnuSparseHeader]| {
            for piece in pieces.iter().filter(|p| !p.is_empty()) {
                map.push((piece.offset()?, piece.length()?));
            }
            Ok::<(), std::io::Error>(())
        };
        add(&gnu.sparse).map_err(|e| self.bad(e))?;
        let mut more = gnu.is_extended();
        let mut blocks = 0;
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            self.read_exact(block.as_mut_bytes())?;
            add(&block.sparse).map_err(|e| self.bad(e))?;
            more = block.is_extended();
            blocks += 1;
            if blocks > sparse::PIECES_MAX / 21 {
                return Err(self.bad("a sparse map without end"));
            }
        }
        Sparse { map, real }.checked().map_err(|e| self.bad(e))
    }

    /// PAX 1.0: the count, then offsets and lengths, a number a line, filled
    /// up to a whole block.
    fn map_in_content(&mut self, real: u64) -> Result<Sparse, TarError> {
        let mut text = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = 1;
        while numbers.len() < wanted {
            let mut block = [0; BLOCK];
            if self.left < BLOCK as u64 {
                return Err(self.bad("a sparse map that has no end"));
            }
            self.read_exact(&mut block)?;
            self.left -= BLOCK as u64;
            text.extend_from_slice(&block);
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let number = sparse::number(&line[..end]);
                numbers.push(number.map_err(|e| self.bad(e))?);
                let count = usize::try_from(numbers[0]).unwrap_or(usize::MAX);
                if count > sparse::PIECES_MAX {
                    return Err(self.bad("a sparse map without end"));
                }
                wanted = 1 + 2 * count;
                if numbers.len() == wanted {
                    break;
                }
            }
        }
        let map = sparse::pairs(&numbers[1..]);
        map.and_then(|map| Sparse { map, real }.checked())
            .map_err(|e| self.bad(e))
    }

    /// The next header; `None` at the end mark, or where the file just ends
    /// (GNU tar and Go accept that too).
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        if self.input.fill_buf().map_err(TarError::Read)?.is_empty() {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.start = self.at;
        self.read_exact(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        // The sum of all bytes, with the sum's own field taken as spaces.
        let byte = |(n, b): (usize, &u8)| match n {
            148..156 => u32::from(b' '),
            _ => u32::from(*b),
        };
        let sum: u32 = bytes.iter().enumerate().map(byte).sum();
        match Field::Checksum.natural(bytes) {
            Ok(expected) if expected == u64::from(sum) => Ok(Some(header)),
            _ => Err(self.bad("wrong checksum in a header")),
        }
    }

    /// The content of an extension: small, or refused.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_MAX {
            return Err(TarError::Limit {
                what: format!("an extended header of {size} bytes"),
                limit: EXTENSION_MAX,
            });
        }
        self.expect(size)?;
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_exact(&mut data)?;
        self.left = 0;
        Ok(data)
    }

    /// GNU tar's way to say a name that does not fit into the header: an
    /// entry of its own before, whose content is the name, with a NUL at its
    /// end.
    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.extension(size)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// What the caller did not read is still in the way, and so is what fills
    /// the last block.
    fn skip_content(&mut self) -> Result<(), TarError> {
        while self.left > 0 {
            let bytes = self.content()?.len();
            self.consume(bytes);
        }
        self.left = std::mem::take(&mut self.padding);
        while self.left > 0 {
            // `docker build -f -` ends its tar right after the last file's
            // content; Go accepts that, so it is met in the wild.
            if self.input.fill_buf().map_err(TarError::Read)?.is_empty() {
                self.left = 0;
                return Ok(());
            }
            let bytes = self.content()?.len();
            self.consume(bytes);
        }
        Ok(())
    }

    /// All of `bytes`, or "ends in the middle".
    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), TarError> {
        self.input.read_exact(bytes).map_err(TarError::Read)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// With the offset of the header: `dd` or a hex viewer finds the place.
    fn bad(&self, problem: impl ToString) -> TarError {
        TarError::Header { at: self.start, problem: problem.to_string() }
    }
}

/// Before anybody allocates, splits or opens anything with them.
fn check_names(entry: &Entry) -> Result<(), TarError> {
    for name in [&entry.path, &entry.link] {
        if name.len() >= PATH_MAX {
            return Err(TarError::Limit {
                what: format!("a path of {} bytes", name.len()),
                limit: PATH_MAX as u64,
            });
        }
    }
    Ok(())
}

/// The same error as a short read elsewhere.
fn truncated() -> TarError {
    TarError::Read(std::io::ErrorKind::UnexpectedEof.into())
}
