//! `moby.filesync.v1.FileSync/DiffCopy`: a directory of the client's, as tar.
//!
//! The client lists its files first, in the order of a walk; then the daemon
//! asks for the contents, file by file, and they come in pieces that may be
//! mixed. Here both become one tar, which is unpacked as any other build
//! context is: so there is one place that has to be careful about paths that
//! lead out, and this one only translates.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tar::EntryType;

use super::grpc::{Status, failed, unknown};
use super::wire::session::{Packet, PacketType, Stat};

/// No directory that somebody builds from has more files; a list without an
/// end must not fill the memory.
const MOST_FILES: usize = 4 << 20;
/// Files are asked for ahead of their turn until so much is on its way,
/// or the way there and back would be waited for at each.
const AHEAD: u64 = 1 << 20;
/// And so many: a request that nobody reads because the answers are waited
/// for must not be waited for, either.
const MOST_AHEAD: usize = 256;
/// How long the list may be, in bytes.
const MOST_LIST: u64 = 256 << 20;
/// A tar's block (POSIX ustar).
const BLOCK: u64 = 512;

/// The other end.
pub(super) trait Peer {
    /// Sends a packet.
    fn send(&mut self, packet: Packet) -> Result<(), Status>;
    /// Waits for one; `None` if there are no more.
    fn receive(&mut self) -> Result<Option<Packet>, Status>;
}

/// Reads as tar what the peer sends.
pub(super) struct Files<P> {
    peer: P,
    /// All there are, by their numbers.
    stats: Vec<Stat>,
    /// The number of the next entry.
    next: usize,
    /// The number of the first that was not asked for.
    asked: usize,
    /// Asked for and not come to the end of, in bytes as announced.
    ahead: u64,
    /// Contents that came before their turn.
    early: HashMap<u32, Content>,
    now: Option<Now>,
    ready: VecDeque<Bytes>,
    ended: bool,
    /// How many bytes came.
    received: u64,
}

/// Pieces of a file that waits.
#[derive(Default)]
struct Content {
    pieces: VecDeque<Bytes>,
    length: u64,
    whole: bool,
}

/// The file whose turn it is.
struct Now {
    id: u32,
    /// What of its announced size is missing.
    missing: u64,
    padding: u64,
}

impl<P> fmt::Debug for Files<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("next", &self.next).finish()
    }
}

impl<P: Peer> Files<P> {
    /// Hears what there is.
    ///
    /// # Errors
    /// What the peer says, or too many files.
    pub(super) fn list(mut peer: P) -> Result<Files<P>, Status> {
        let mut stats = Vec::new();
        let mut received = 0;
        loop {
            let packet = expect(&mut peer)?;
            received += prost::Message::encoded_len(&packet) as u64;
            if packet.r#type() != PacketType::Stat {
                return Err(confused("contents before the end of the list"));
            }
            let Some(stat) = packet.stat else { break };
            if received > MOST_LIST {
                return Err(confused("a list without an end"));
            }
            if stats.len() == MOST_FILES {
                let text = format!("more than {MOST_FILES} files");
                return Err(confused(&text));
            }
            stats.push(stat);
        }
        Ok(Files {
            peer,
            stats,
            next: 0,
            asked: 0,
            ahead: 0,
            early: HashMap::new(),
            now: None,
            ready: VecDeque::new(),
            ended: false,
            received,
        })
    }

    /// How many bytes have come so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Brings the next piece of the tar into `ready`.
    fn advance(&mut self) -> Result<(), Status> {
        if let Some(now) = self.now.take() {
            return self.content(now);
        }
        let Some(stat) = self.stats.get(self.next) else {
            return self.finish();
        };
        let header = entry(stat)?;
        let now = has_content(stat).then(|| Now {
            id: number(self.next),
            missing: size(stat),
            padding: size(stat).next_multiple_of(BLOCK) - size(stat),
        });
        self.next += 1;
        self.ready.extend(header);
        if now.is_some() {
            self.ask_ahead()?;
        }
        self.now = now;
        Ok(())
    }

    /// A piece of the file whose turn it is. What has grown since it was
    /// listed is cut where it ended then, as tar(1) does.
    fn content(&mut self, mut now: Now) -> Result<(), Status> {
        let content = self.early.entry(now.id).or_default();
        if let Some(mut piece) = content.pieces.pop_front() {
            let length = now.missing.min(piece.len() as u64);
            piece.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            now.missing -= length;
            content.length -= length;
            self.ready.push_back(piece);
            self.now = Some(now);
            return Ok(());
        }
        if !content.whole {
            self.now = Some(now);
            return self.hear();
        }
        self.early.remove(&now.id);
        if now.missing > 0 {
            let stat = &self.stats[now.id as usize];
            let text =
                format!("{} became shorter while it was read", stat.path);
            return Err(unknown(text));
        }
        let zeros = &[0; BLOCK as usize][..now.padding as usize];
        self.ready.push_back(Bytes::from_static(&[]));
        self.ready.push_back(Bytes::copy_from_slice(zeros));
        Ok(())
    }

    /// Always the one whose turn it is, and then as many as fit.
    fn ask_ahead(&mut self) -> Result<(), Status> {
        while let Some(stat) = self.stats.get(self.asked) {
            let (id, length) = (number(self.asked), size(stat));
            let due = self.asked < self.next;
            let enough =
                self.ahead + length > AHEAD || self.early.len() >= MOST_AHEAD;
            if !due && enough {
                break;
            }
            if has_content(stat) {
                self.ahead += length;
                self.early.insert(id, Content::default());
                let mut packet = Packet { id, ..Packet::default() };
                packet.set_type(PacketType::Req);
                self.peer.send(packet)?;
            }
            self.asked += 1;
        }
        Ok(())
    }

    /// Waits for one piece of one of the files that were asked for.
    fn hear(&mut self) -> Result<(), Status> {
        let packet = expect(&mut self.peer)?;
        if packet.r#type() != PacketType::Data {
            return Err(confused("something else while contents are due"));
        }
        self.received += packet.data.len() as u64;
        let Some(content) = self.early.get_mut(&packet.id) else {
            return Err(confused("contents that were not asked for"));
        };
        if content.whole {
            return Err(confused("contents behind their end"));
        }
        let stat = &self.stats[packet.id as usize];
        if packet.data.is_empty() {
            content.whole = true;
            self.ahead = self.ahead.saturating_sub(size(stat));
            return Ok(());
        }
        let due = self.now.as_ref();
        let room = match due.filter(|now| now.id == packet.id) {
            Some(now) => now.missing,
            None => size(stat),
        };
        // What is longer than it was announced need not be kept.
        let room = room.saturating_sub(content.length);
        let length = room.min(packet.data.len() as u64);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        content.length += length as u64;
        // A slice would keep all of the message that it came in.
        let piece = Bytes::copy_from_slice(&packet.data[..length]);
        if !piece.is_empty() {
            content.pieces.push_back(piece);
        }
        Ok(())
    }

    /// Tells the peer that it has done all, and ends the tar.
    fn finish(&mut self) -> Result<(), Status> {
        let mut packet = Packet::default();
        packet.set_type(PacketType::Fin);
        self.peer.send(packet)?;
        let last = self.peer.receive()?;
        let end = last.is_none_or(|it| it.r#type() == PacketType::Fin);
        if !end {
            return Err(confused("something behind the end"));
        }
        self.ended = true;
        self.ready.push_back(Bytes::from_static(&[0; 2 * BLOCK as usize]));
        Ok(())
    }
}

impl<P: Peer> Read for Files<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(piece) = self.ready.front_mut() {
                let length = buffer.len().min(piece.len());
                piece.copy_to_slice(&mut buffer[..length]);
                if piece.is_empty() {
                    self.ready.pop_front();
                }
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
                continue;
            }
            if self.ended {
                return Ok(0);
            }
            self.advance().map_err(|it| failed(&it))?;
        }
    }
}

fn expect(peer: &mut impl Peer) -> Result<Packet, Status> {
    let Some(packet) = peer.receive()? else {
        return Err(confused("nothing any more, in the middle"));
    };
    match packet.r#type() {
        PacketType::Err => Err(unknown(String::from_utf8_lossy(&packet.data))),
        _ => Ok(packet),
    }
}

fn confused(what: &str) -> Status {
    unknown(format!("the client sent {what}"))
}

/// The list is shorter than [`MOST_FILES`].
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.size).unwrap_or_default()
}

/// Only these are asked for; an empty one need not be.
fn has_content(stat: &Stat) -> bool {
    kind(stat) == Some(EntryType::Regular) && stat.size > 0
}

/// The bits of Go's `os.FileMode` that say what a file is.
pub(super) mod go {
    pub(in super::super) const DIR: u32 = 1 << 31;
    pub(in super::super) const SYMLINK: u32 = 1 << 27;
    pub(in super::super) const DEVICE: u32 = 1 << 26;
    pub(in super::super) const FIFO: u32 = 1 << 25;
    pub(in super::super) const SOCKET: u32 = 1 << 24;
    pub(in super::super) const SETUID: u32 = 1 << 23;
    pub(in super::super) const SETGID: u32 = 1 << 22;
    pub(in super::super) const CHAR: u32 = 1 << 21;
    pub(in super::super) const STICKY: u32 = 1 << 20;
    pub(in super::super) const IRREGULAR: u32 = 1 << 19;
}

/// `None` for what no image has: a socket belongs to the process behind it.
fn kind(stat: &Stat) -> Option<EntryType> {
    let is = |bit| stat.mode & bit != 0;
    Some(match () {
        () if is(go::SOCKET) || is(go::IRREGULAR) => return None,
        () if is(go::DIR) => EntryType::Directory,
        () if is(go::SYMLINK) => EntryType::Symlink,
        () if is(go::FIFO) => EntryType::Fifo,
        () if is(go::DEVICE) && is(go::CHAR) => EntryType::Char,
        () if is(go::DEVICE) => EntryType::Block,
        () if !stat.linkname.is_empty() => EntryType::Link,
        () => EntryType::Regular,
    })
}

/// A file's header in tar, and nothing for what has none.
fn entry(stat: &Stat) -> Result<Option<Bytes>, Status> {
    let Some(kind) = kind(stat) else { return Ok(None) };
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    let special = [
        (go::SETUID, libc::S_ISUID),
        (go::SETGID, libc::S_ISGID),
        (go::STICKY, libc::S_ISVTX),
    ];
    let set = special.into_iter().filter(|(bit, _)| stat.mode & bit != 0);
    header.set_mode(set.fold(stat.mode & 0o777, |mode, (_, bit)| mode | bit));
    // Whoever owns it on the client's machine is nobody here.
    header.set_uid(0);
    header.set_gid(0);
    let time = Duration::from_nanos(stat.mod_time.try_into().unwrap_or(0));
    header.set_mtime(time.as_secs());
    header.set_size(if has_content(stat) { size(stat) } else { 0 });
    let bad = |cause: io::Error| {
        unknown(format!("{:?} is no file's path: {cause}", stat.path))
    };
    let mut tar = tar::Builder::new(Vec::new());
    match kind {
        EntryType::Symlink | EntryType::Link => {
            tar.append_link(&mut header, &stat.path, &stat.linkname)
        }
        _ => {
            let number = |it: i64| u32::try_from(it).unwrap_or_default();
            if let EntryType::Char | EntryType::Block = kind {
                header.set_device_major(number(stat.devmajor)).map_err(bad)?;
                header.set_device_minor(number(stat.devminor)).map_err(bad)?;
            }
            tar.append_data(&mut header, &stat.path, io::empty())
        }
    }
    .map_err(bad)?;
    Ok(Some(Bytes::from(std::mem::take(tar.get_mut()))))
}

#[cfg(test)]
mod tests;
