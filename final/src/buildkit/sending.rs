//! `type=local`: the files of an image, into a directory of the client's.
//!
//! The counterpart of [`super::files`]: here the daemon lists, and the client
//! asks for contents.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::files::{Peer, go};
use super::grpc::{Status, unknown};
use super::wire::session::{Packet, PacketType, Stat};

/// How much of a file is in one message.
const PIECE: usize = 32 << 10;

/// Sends all that is in a directory.
///
/// # Errors
/// What cannot be read, or what the client says.
pub(super) fn send(dir: &Path, peer: &mut impl Peer) -> Result<(), Status> {
    let mut list = List { peer, files: Vec::new(), links: HashMap::new() };
    list.below(dir, Path::new(""))?;
    let files = list.files;
    peer.send(packet(PacketType::Stat))?;
    while let Some(asked) = peer.receive()? {
        match asked.r#type() {
            PacketType::Req => {
                let path = files.get(asked.id as usize);
                let path = path.and_then(Option::as_ref).ok_or_else(|| {
                    unknown(format!("invalid file id {}", asked.id))
                })?;
                content(path, asked.id, peer)?;
            }
            PacketType::Fin => return peer.send(packet(PacketType::Fin)),
            PacketType::Err => {
                let text = String::from_utf8_lossy(&asked.data);
                return Err(unknown(text));
            }
            _ => return Err(unknown("the client sent no request")),
        }
    }
    Err(unknown("the client has gone away in the middle"))
}

/// The list on its way.
struct List<'a, P> {
    peer: &'a mut P,
    /// By their numbers. Only files have contents: a link's would be the
    /// host's, and a FIFO's never come.
    files: Vec<Option<PathBuf>>,
    /// Files with several names, by device and inode, with their first.
    links: HashMap<(u64, u64), String>,
}

impl<P: Peer> List<'_, P> {
    /// Depth first, names in the order of their bytes, as the receiver
    /// expects it.
    fn below(&mut self, dir: &Path, name: &Path) -> Result<(), Status> {
        let read = |cause: io::Error| unreadable(dir, &cause);
        let entries = fs::read_dir(dir).map_err(read)?;
        let names = entries.map(|it| it.map(|it| it.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>().map_err(read)?;
        names.sort();
        for entry in names {
            let (path, name) = (dir.join(&entry), name.join(&entry));
            let meta = fs::symlink_metadata(&path)
                .map_err(|it| unreadable(&path, &it))?;
            let stat = self.stat(&path, &name, &meta)?;
            self.files.push(meta.is_file().then(|| path.clone()));
            let stat = Some(stat);
            self.peer.send(Packet { stat, ..Packet::default() })?;
            if meta.is_dir() {
                self.below(&path, &name)?;
            }
        }
        Ok(())
    }

    fn stat(
        &mut self,
        path: &Path,
        name: &Path,
        meta: &Metadata,
    ) -> Result<Stat, Status> {
        let name = name.to_str().ok_or_else(|| {
            let text = format!("{}: its name is not UTF-8", path.display());
            unknown(text)
        })?;
        let linkname = if meta.is_symlink() {
            let to = fs::read_link(path).map_err(|it| unreadable(path, &it))?;
            to.to_string_lossy().into_owned()
        } else if meta.is_file() && meta.nlink() > 1 {
            let inode = (meta.dev(), meta.ino());
            let first = self.links.entry(inode);
            match first {
                std::collections::hash_map::Entry::Occupied(first) => {
                    first.get().clone()
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(name.to_owned());
                    String::new()
                }
            }
        } else {
            String::new()
        };
        let seconds = meta.mtime().saturating_mul(1_000_000_000);
        let number = |it: u32| i64::from(it);
        Ok(Stat {
            path: name.to_owned(),
            mode: go_mode(meta),
            uid: meta.uid(),
            gid: meta.gid(),
            size: i64::try_from(meta.len()).unwrap_or(i64::MAX),
            mod_time: seconds.saturating_add(meta.mtime_nsec()),
            linkname,
            devmajor: number(rustix::fs::major(meta.rdev())),
            devminor: number(rustix::fs::minor(meta.rdev())),
        })
    }
}

/// `st_mode` as Go's `os.FileMode`.
fn go_mode(meta: &Metadata) -> u32 {
    let kind = meta.file_type();
    let has = |bit: u32| meta.mode() & bit != 0;
    [
        (kind.is_dir(), go::DIR),
        (kind.is_symlink(), go::SYMLINK),
        (kind.is_fifo(), go::FIFO),
        (kind.is_socket(), go::SOCKET),
        (kind.is_block_device(), go::DEVICE),
        (kind.is_char_device(), go::DEVICE | go::CHAR),
        (has(libc::S_ISUID), go::SETUID),
        (has(libc::S_ISGID), go::SETGID),
        (has(libc::S_ISVTX), go::STICKY),
    ]
    .into_iter()
    .filter(|(is, _)| *is)
    .fold(meta.mode() & 0o777, |mode, (_, bit)| mode | bit)
}

/// One file in pieces; the last one is empty.
fn content(path: &Path, id: u32, peer: &mut impl Peer) -> Result<(), Status> {
    let read = |cause: io::Error| unreadable(path, &cause);
    let mut file = File::open(path).map_err(read)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let length = file.read(&mut buffer).map_err(read)?;
        let data = Bytes::copy_from_slice(&buffer[..length]);
        peer.send(Packet { id, data, ..packet(PacketType::Data) })?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn packet(kind: PacketType) -> Packet {
    Packet { r#type: kind as i32, ..Packet::default() }
}

fn unreadable(path: &Path, cause: &io::Error) -> Status {
    unknown(format!("cannot read {}: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct End(Sender<Packet>, Receiver<Packet>);

    impl Peer for End {
        fn send(&mut self, packet: Packet) -> Result<(), Status> {
            self.0.send(packet).map_err(unknown)
        }

        fn receive(&mut self) -> Result<Option<Packet>, Status> {
            Ok(self.1.recv().ok())
        }
    }

    #[test]
    fn what_one_side_sends_the_other_receives() {
        let from = tempfile::tempdir().unwrap();
        let at = |name: &str| from.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), vec![7; 100_000]).unwrap();
        fs::write(at("d.x"), "beside").unwrap();
        fs::hard_link(at("d/file"), at("e")).unwrap();
        symlink("d/file", at("link")).unwrap();
        let ((to, there), (back, here)) = (channel(), channel());
        let dir = from.path().to_owned();
        let sender = std::thread::spawn(move || {
            send(&dir, &mut End(to, here)).map_err(|it| it.message().to_owned())
        });
        let mut files = Files::list(End(back, there)).unwrap();
        let mut tar = Vec::new();
        files.read_to_end(&mut tar).unwrap();
        sender.join().unwrap().unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
        let found: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let (path, kind) = (entry.path(), entry.header().entry_type());
                format!("{} {kind:?} {}", path.unwrap().display(), entry.size())
            })
            .collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        d Directory 0
        d/file Regular 100000
        d.x Regular 6
        e Link 0
        link Symlink 0
        ");
    }
}
