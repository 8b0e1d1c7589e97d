use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A client that sends these files, in pieces of so many bytes, from the
/// file that was asked for last first.
struct Client {
    list: VecDeque<Packet>,
    contents: Vec<Vec<u8>>,
    asked: Vec<(u32, usize)>,
    piece: usize,
    fin: bool,
}

impl Client {
    fn new(files: Vec<(Stat, Vec<u8>)>, piece: usize) -> Client {
        let (stats, contents): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let list = stats.into_iter().map(Some).chain([None]);
        let list = list.map(|stat| Packet { stat, ..Packet::default() });
        let list = list.collect();
        Client { list, contents, asked: Vec::new(), piece, fin: false }
    }
}

impl Peer for Client {
    fn send(&mut self, packet: Packet) -> Result<(), Status> {
        match packet.r#type() {
            PacketType::Req => self.asked.push((packet.id, 0)),
            PacketType::Fin => self.fin = true,
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Packet>, Status> {
        if let Some(packet) = self.list.pop_front() {
            return Ok(Some(packet));
        }
        let mut packet = Packet::default();
        let Some((id, sent)) = self.asked.pop() else {
            assert!(self.fin, "it waits for what it has not asked for");
            packet.set_type(PacketType::Fin);
            return Ok(Some(packet));
        };
        let content = &self.contents[id as usize];
        let end = content.len().min(sent + self.piece);
        packet.set_type(PacketType::Data);
        packet.id = id;
        packet.data = Bytes::copy_from_slice(&content[sent..end]);
        if end > sent {
            // The next piece is of another file, if there is one.
            self.asked.insert(0, (id, end));
        }
        Ok(Some(packet))
    }
}

fn stat(path: &str, mode: u32, size: usize) -> Stat {
    let path = path.to_owned();
    Stat { path, mode, size: size as i64, ..Stat::default() }
}

fn file(path: &str, content: &[u8]) -> (Stat, Vec<u8>) {
    (stat(path, 0o644, content.len()), content.to_vec())
}

fn tar_of(client: Client) -> io::Result<Vec<u8>> {
    let mut files = Files::list(client).map_err(|it| failed(&it))?;
    let mut tar = Vec::new();
    files.read_to_end(&mut tar)?;
    Ok(tar)
}

fn unpacked(client: Client) -> io::Result<tempfile::TempDir> {
    let tar = tar_of(client)?;
    let dir = tempfile::tempdir()?;
    let options = layers::apply::Options::for_this_user();
    layers::apply::apply(dir.path(), &mut &tar[..], &options)
        .map_err(io::Error::other)?;
    Ok(dir)
}

#[test]
fn every_kind_of_file_arrives() {
    let mut link = stat("d/link", go::SYMLINK | 0o777, 4);
    link.linkname = "../a".to_owned();
    let mut hard = stat("hard", 0o644, 3);
    hard.linkname = "a".to_owned();
    let dir = unpacked(Client::new(
        vec![
            file("a", b"abc"),
            (stat("d", go::DIR | 0o755, 0), vec![]),
            file("d/empty", b""),
            (link, vec![]),
            (stat("fifo", go::FIFO | 0o644, 0), vec![]),
            (hard, b"abc".to_vec()),
            (stat("sock", go::SOCKET | 0o644, 0), vec![]),
            (stat("su", go::SETUID | 0o755, 1), vec![1]),
        ],
        2,
    ))
    .unwrap();
    use std::os::unix::fs::MetadataExt;
    let at = |name: &str| dir.path().join(name);
    assert_eq!(std::fs::read(at("d/link")).unwrap(), b"abc");
    assert_eq!(std::fs::read(at("d/empty")).unwrap(), b"");
    assert_eq!(
        at("a").metadata().unwrap().ino(),
        at("hard").metadata().unwrap().ino()
    );
    assert_eq!(at("su").metadata().unwrap().mode() & 0o7777, 0o4755);
    assert!(at("fifo").symlink_metadata().is_ok());
    assert!(at("sock").symlink_metadata().is_err());
}

#[test]
fn no_path_leads_out_of_the_context() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let mut link = stat("out", go::SYMLINK | 0o777, 0);
    link.linkname = target.clone();
    let mut hard = stat("hard", 0o644, 0);
    hard.linkname = "../../../../etc/passwd".to_owned();
    let absolute = format!("{target}/absolute");
    for files in [
        vec![file("../up", b"x")],
        vec![file("a/../../up", b"x")],
        vec![file(&absolute, b"x")],
        vec![(link, vec![]), file("out/through", b"x")],
        vec![(hard, vec![])],
    ] {
        let path = files.last().unwrap().0.path.clone();
        // Either refused, or inside of the directory.
        if let Ok(dir) = unpacked(Client::new(files, 10)) {
            assert!(!dir.path().join("../up").exists(), "{path}");
            assert!(!dir.path().join("hard").exists(), "{path}");
        }
        assert_eq!(outside.path().read_dir().unwrap().count(), 0, "{path}");
    }
}

#[test]
fn a_file_that_has_grown_is_cut_and_one_that_has_shrunk_is_an_error() {
    let content = b"longer than it was".to_vec();
    let grown = (stat("a", 0o644, 6), content.clone());
    let dir = unpacked(Client::new(vec![grown], 4)).unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"longer");
    let shrunk = (stat("a", 0o644, 60), content);
    let error = tar_of(Client::new(vec![shrunk], 4)).unwrap_err();
    assert_eq!(error.to_string(), "a became shorter while it was read");
}

#[test]
fn a_client_that_fails_or_talks_nonsense_is_quoted() {
    let said = |kind: PacketType, text: &'static [u8]| {
        let mut client = Client::new(vec![file("a", b"x")], 1);
        let mut packet = Packet::default();
        packet.set_type(kind);
        packet.data = Bytes::from_static(text);
        client.list.push_back(packet);
        tar_of(client).unwrap_err().to_string()
    };
    assert_eq!(said(PacketType::Err, b"no such file"), "no such file");
    assert_eq!(
        said(PacketType::Fin, b""),
        "the client sent something else while contents are due"
    );
    let mut client = Client::new(vec![], 1);
    client.list.clear();
    let mut packet = Packet::default();
    packet.set_type(PacketType::Data);
    client.list.push_back(packet);
    assert!(Files::list(client).is_err());
}

proptest! {
    #[test]
    fn what_is_sent_is_what_arrives(
        sizes in prop::collection::vec(0_usize..3000, 0..30),
        piece in 1_usize..2000,
    ) {
        let content = |(number, size): (usize, &usize)| {
            let bytes = (0..*size).map(|it| (it * 7 + number) as u8);
            (format!("f{number:03}"), bytes.collect::<Vec<u8>>())
        };
        let all: BTreeMap<_, _> =
            sizes.iter().enumerate().map(content).collect();
        let files = all.iter().map(|(name, bytes)| file(name, bytes));
        let tar = tar_of(Client::new(files.collect(), piece)).unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.insert(name, bytes);
        }
        prop_assert_eq!(found, all);
    }

    #[test]
    fn a_hostile_list_is_no_panic(
        paths in prop::collection::vec("[./a\\x00-]{0,6}", 1..5),
        modes in prop::collection::vec(any::<u32>(), 5),
        size in any::<i64>(),
    ) {
        let stats = paths.iter().zip(modes).map(|(path, mode)| {
            let mut stat = stat(path, mode, 0);
            stat.size = size.min(5000);
            (stat, vec![0; size.clamp(0, 5000) as usize])
        });
        let _ = tar_of(Client::new(stats.collect(), 1000));
    }
}
