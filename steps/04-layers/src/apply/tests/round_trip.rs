//! Unpack → write → unpack: nothing that a layer can say may get lost.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::diff;

/// An entry that could be in a layer.
#[derive(Debug, Clone)]
enum What {
    File(Vec<u8>),
    /// A file of mostly holes: offset and content of its one piece, and what
    /// follows it.
    Sparse(u64, Vec<u8>, u64),
    Directory,
    Opaque,
    Link(String),
    Fifo,
    Whiteout,
    Twin,
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..2000)
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => content().prop_map(What::File),
        1 => (0_u64..1 << 20, content(), 0_u64..1 << 20)
            .prop_map(|(at, content, more)| What::Sparse(at, content, more)),
        2 => Just(What::Directory),
        1 => Just(What::Opaque),
        1 => "[a-z./]{1,20}".prop_map(What::Link),
        1 => Just(What::Fifo),
        1 => Just(What::Whiteout),
        1 => Just(What::Twin),
    ]
}

/// `cap_net_raw=ep` as setcap(8) writes it: struct vfs_cap_data, version 2.
const MAY_PING: &[u8] =
    &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Name, what, mode, owner, seconds, an attribute's value.
type Item = (String, What, u32, (u32, u32), u64, Option<Vec<u8>>);

fn items() -> impl Strategy<Value = Vec<Item>> {
    let name = "[ab]/[cd]/[e-i]|[ab]/[c-f]|[a-h]|[ä-ü]{1,30}/n[0-9]{80}";
    let value =
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let item = (
        name,
        what(),
        0_u32..0o7777,
        (0_u32..70_000, 0_u32..70_000),
        0_u64..1 << 33,
        value,
    );
    proptest::collection::vec(item, 0..20)
}

fn build(items: &[Item]) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut files: Vec<&str> = Vec::new();
    for (name, what, mode, owner, mtime, value) in items {
        let mut records: Vec<(&str, &[u8])> = Vec::new();
        let whiteout = match name.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/.wh.{name}"),
            None => format!(".wh.{name}"),
        };
        let path = match what {
            What::Whiteout => &whiteout,
            _ => name,
        };
        records.push(("path", path.as_bytes()));
        let keeps = matches!(what, What::File(_) | What::Directory);
        if let (Some(value), true) = (value, keeps) {
            records.push(("SCHILY.xattr.user.note", value));
            if let What::File(_) = what {
                let key = "SCHILY.xattr.security.capability";
                records.push((key, MAY_PING));
            }
        }
        let (map, real);
        if let What::Sparse(at, content, more) = what {
            map = format!("{at},{}", content.len());
            real = (at + content.len() as u64 + more).to_string();
            records.push(("GNU.sparse.size", real.as_bytes()));
            records.push(("GNU.sparse.numblocks", b"1"));
            records.push(("GNU.sparse.map", map.as_bytes()));
        }
        let target;
        match what {
            What::Link(to) => records.push(("linkpath", to.as_bytes())),
            What::Twin => {
                target = files.first().copied().unwrap_or(name);
                records.push(("linkpath", target.as_bytes()));
            }
            _ => {}
        }
        let kind = match what {
            What::File(_) | What::Sparse(..) | What::Whiteout => b'0',
            What::Directory | What::Opaque => b'5',
            What::Link(_) => b'2',
            What::Fifo => b'6',
            What::Twin => b'1',
        };
        let head = Head {
            mode: *mode,
            owner: *owner,
            mtime: *mtime,
            ..Head::new(kind, "x")
        };
        tar = tar.pax(&records);
        tar = match what {
            What::File(content) | What::Sparse(_, content, _) => {
                tar.sized(head, content)
            }
            _ => tar.head(&head),
        };
        if let What::Opaque = what {
            let marker = format!("{name}/.wh..wh..opq");
            tar = tar.pax(&[("path", marker.as_bytes())]).file("x", "");
        }
        if let What::File(_) | What::Sparse(..) = what {
            files.push(name);
        }
    }
    tar.end()
}

/// Everything a tree has to say, a line for each path.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    let mut inodes: Vec<(u64, PathBuf)> = Vec::new();
    while let Some(dir) = todo.pop() {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let meta = fs::symlink_metadata(&path).unwrap();
            let inner = path.strip_prefix(root).unwrap().to_owned();
            let known = inodes.iter().find(|(ino, _)| *ino == meta.ino());
            let first = known.map_or(inner.clone(), |(_, path)| path.clone());
            inodes.push((meta.ino(), first.clone()));
            let content = match meta.is_file() {
                true => fs::read(&path).unwrap(),
                false => Vec::new(),
            };
            let names =
                ["trusted.overlay.opaque", "user.note", "security.capability"];
            let marks = names.map(|name| {
                let mut value = [0; 64];
                let got = rustix::fs::lgetxattr(&path, name, &mut value[..]);
                got.map(|length| value[..length].to_vec()).ok()
            });
            let whiteout = crate::merged::is_whiteout(&meta);
            lines.push(match whiteout {
                // Its owner, mode and time mean nothing.
                true => format!("{} gone", inner.display()),
                false => format!(
                    "{} {:o} {}:{} {} {:?} {:?} {} {:?}",
                    inner.display(),
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.mtime(),
                    fs::read_link(&path).ok(),
                    marks,
                    crate::Digest::of(&content).short(),
                    first,
                ),
            });
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_unpacked_is_written_and_unpacked_to_the_same(
        items in items()
    ) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: round trip: needs root");
            return Ok(());
        }
        let first = tempfile::tempdir().unwrap();
        // Some of these tars mean nothing: a file below a file, say.
        prop_assume!(unpack(first.path(), &build(&items)).is_ok());
        let mut written = Vec::new();
        diff::write_upper(first.path(), None, &mut written).unwrap();
        let second = tempfile::tempdir().unwrap();
        unpack(second.path(), &written).unwrap();
        prop_assert_eq!(listing(first.path()), listing(second.path()));
        let mut again = Vec::new();
        diff::write_upper(second.path(), None, &mut again).unwrap();
        prop_assert!(written == again, "not the same bytes");
    }
}
