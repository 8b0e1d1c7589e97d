//! What a layer says comes out on disk.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::*;

fn unpacked(tar: Tar) -> (tempfile::TempDir, Summary) {
    let dir = tempfile::tempdir().unwrap();
    let summary = unpack(dir.path(), &tar.end()).unwrap();
    (dir, summary)
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn overlay(name: &str) -> String {
    let space = match Options::for_this_user().trusted {
        true => "trusted",
        false => "user",
    };
    format!("{space}.overlay.{name}")
}

#[test]
fn modes_times_and_sizes_are_kept_and_directories_times_too() {
    let suid = Head { mode: 0o4755, ..Head::new(b'0', "d/suid") };
    let d = Head { mode: 0o1777, mtime: 1_000, ..Head::new(b'5', "d/") };
    let tar = Tar::default()
        .head(&Head { mode: 0o700, ..Head::new(b'5', "./") })
        .head(&d)
        .pax(&[("mtime", b"1234.567891234")])
        .sized(suid, b"12345")
        .file("d/later", "x")
        .file("implied/file", "y");
    let (dir, summary) = unpacked(tar);
    let meta = |path: &str| fs::metadata(dir.path().join(path)).unwrap();
    assert_eq!((summary.size, summary.entries), (7, 5));
    assert_eq!(meta("").mode() & 0o7777, 0o700);
    assert_eq!(meta("d").mode() & 0o7777, 0o1777);
    assert_eq!(meta("d").mtime(), 1_000);
    assert_eq!(meta("d/suid").mode() & 0o7777, 0o4755);
    assert_eq!(meta("d/suid").mtime(), 1_234);
    assert_eq!(meta("d/suid").mtime_nsec(), 567_891_234);
    // A directory nobody announced: never the time of the unpacking.
    assert_eq!(meta("implied").mtime(), 0);
    assert_eq!(meta("implied").mode() & 0o7777, 0o755);
}

#[test]
fn links_fifos_and_duplicates_become_what_they_are() {
    let tar = Tar::default()
        .file("old", "old")
        .file("a", "a")
        .hard_link("b", "./a")
        .symlink("s", "/nowhere/at/all")
        .hard_link("s2", "s")
        .head(&Head::new(b'6', "fifo"))
        .file("old", "newer");
    let (dir, _) = unpacked(tar);
    let meta = |p: &str| fs::symlink_metadata(dir.path().join(p)).unwrap();
    assert_eq!(meta("a").ino(), meta("b").ino());
    let target = fs::read_link(dir.path().join("s")).unwrap();
    assert_eq!(target, Path::new("/nowhere/at/all"));
    assert_eq!(meta("s").mtime(), 1_700_000_000);
    assert_eq!(meta("s").ino(), meta("s2").ino());
    assert!(meta("fifo").file_type().is_fifo());
    assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"newer");
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    let tar = Tar::default()
        .dir("d/")
        .file("d/.wh.gone", "")
        .dir("o/")
        .file("o/.wh..wh..opq", "")
        .file("o/kept", "")
        .file(".wh.again", "")
        .dir("again/")
        .dir("before/")
        .file(".wh.before", "")
        .file(".wh.file", "")
        .file("file", "new")
        .file("d/.wh..wh.plnk", "");
    let dir = tempfile::tempdir().unwrap();
    // tmpfs keeps user attributes only since Linux 6.6.
    let opaque = overlay("opaque");
    let flags = rustix::fs::XattrFlags::empty();
    let able = rustix::fs::setxattr(dir.path(), opaque.as_str(), b"y", flags);
    if able.is_err() {
        eprintln!("SKIP: whiteouts: no extended attributes in $TMPDIR");
        return;
    }
    unpack(dir.path(), &tar.end()).unwrap();
    let gone = fs::symlink_metadata(dir.path().join("d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for (path, is) in
        [("d", false), ("o", true), ("again", true), ("before", true)]
    {
        let found = xattr(&dir.path().join(path), &opaque);
        assert_eq!(found.is_some(), is, "{path}");
    }
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"new");
    let mut names: Vec<_> = fs::read_dir(dir.path().join("d"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["gone"]);
}

#[test]
fn extended_attributes_and_devices_are_kept_when_we_are_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: attributes and devices: needs root");
        return;
    }
    // cap_net_bind_service=ep, VFS_CAP_REVISION_2 (capabilities(7)).
    let cap = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", &cap),
            ("SCHILY.xattr.trusted.note", b"a\nb=c\0"),
            ("SCHILY.xattr.security.selinux", b"somebody_elses:label"),
        ])
        .head(&Head { owner: (12, 34), ..Head::new(b'0', "ping") })
        .head(&Head { device: (1, 3), ..Head::new(b'3', "null") })
        .head(&Head { owner: (7, 8), ..Head::new(b'6', "fifo") });
    let (dir, _) = unpacked(tar);
    let ping = dir.path().join("ping");
    let meta = fs::metadata(&ping).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (12, 34));
    assert_eq!(xattr(&ping, "security.capability").unwrap(), cap);
    assert_eq!(xattr(&ping, "trusted.note").unwrap(), b"a\nb=c\0");
    assert_ne!(
        xattr(&ping, "security.selinux").as_deref(),
        Some(&b"somebody_elses:label"[..])
    );
    let null = fs::metadata(dir.path().join("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    let fifo = fs::metadata(dir.path().join("fifo")).unwrap();
    assert_eq!((fifo.uid(), fifo.gid()), (7, 8));
}

#[test]
fn no_privileges_are_left_where_they_are_not_wanted() {
    let cap = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .head(&Head { mode: 0o7755, ..Head::new(b'5', "dir") })
        .pax(&[("SCHILY.xattr.security.capability", &cap)])
        .head(&Head { mode: 0o6755, ..Head::new(b'0', "dir/su") })
        .head(&Head { device: (1, 3), ..Head::new(b'3', "dir/null") })
        .end();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        owners: false,
        privileges: false,
        ..Options::for_this_user()
    };
    apply(dir.path(), &mut tar.as_slice(), &options).unwrap();
    for name in ["dir", "dir/su"] {
        let path = dir.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(xattr(&path, "security.capability"), None);
    }
    assert!(!dir.path().join("dir/null").exists());
}

#[test]
fn names_longer_than_a_header_come_from_gnu_and_pax_extensions() {
    let long = format!("{}/file", vec!["a".repeat(80); 4].join("/"));
    let name = |kind, text: &str| {
        let head = Head::new(kind, "././@LongLink");
        Tar::default().sized(head, text.as_bytes())
    };
    let gnu = name(b'L', &format!("{long}\0")).file("short", "gnu");
    let (dir, _) = unpacked(gnu);
    assert_eq!(fs::read(dir.path().join(&long)).unwrap(), b"gnu");
    let tar = Tar::default()
        .pax(&[("path", long.as_bytes()), ("linkpath", b"x/y")])
        .symlink("short", "z");
    let (dir, _) = unpacked(tar);
    let target = fs::read_link(dir.path().join(&long)).unwrap();
    assert_eq!(target, Path::new("x/y"));
}

#[test]
fn all_four_forms_of_sparse_files_are_read() {
    let expected = {
        let mut bytes = vec![0; 10_000];
        bytes[4096..4101].copy_from_slice(b"first");
        bytes[8192..8196].copy_from_slice(b"last");
        bytes
    };
    let data = b"firstlast";
    let old = Tar::default()
        .bent(&Head { size: 9, ..Head::new(b'S', "f") }, |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            // A GNU header has the map where ustar has the prefix.
            block[329..345].fill(0);
            let mut at = 386;
            for (offset, length) in [(4096, 5), (8192, 4)] {
                octal(&mut block[at..at + 12], offset);
                octal(&mut block[at + 12..at + 24], length);
                at += 24;
            }
            octal(&mut block[483..495], 10_000);
        })
        .bytes(data);
    let pax_0 = |records: &[(&str, &[u8])]| {
        let mut all = vec![("GNU.sparse.size", &b"10000"[..])];
        all.extend(records);
        Tar::default().pax(&all).sized(Head::new(b'0', "f"), data)
    };
    let zero = pax_0(&[
        ("GNU.sparse.offset", b"4096"),
        ("GNU.sparse.numbytes", b"5"),
        ("GNU.sparse.offset", b"8192"),
        ("GNU.sparse.numbytes", b"4"),
    ]);
    let one = pax_0(&[("GNU.sparse.map", b"4096,5,8192,4")]);
    let mut content = b"2\n4096\n5\n8192\n4\n".to_vec();
    content.resize(512, 0);
    content.extend(data);
    let modern = Tar::default()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"f"),
            ("GNU.sparse.realsize", b"10000"),
        ])
        .sized(Head::new(b'0', "GNUSparseFile.0/f"), &content);
    for (name, tar) in
        [("old", old), ("0.0", zero), ("0.1", one), ("1.0", modern)]
    {
        let (dir, summary) = unpacked(tar);
        let found = fs::read(dir.path().join("f")).unwrap();
        assert!(found == expected, "{name}");
        assert_eq!(summary.size, 10_000, "{name}");
    }
}

#[test]
fn a_tar_without_an_end_mark_is_whole_and_one_cut_in_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default().file("a", "content").0;
    unpack(dir.path(), &tar).unwrap();
    let error = unpack(dir.path(), &tar[..515]).unwrap_err().to_string();
    assert!(error.contains("ends in the middle"), "{error}");
}

#[test]
fn a_tar_may_end_where_its_last_file_does() {
    let mut tar = Tar::default().file("a", "1").file("b", "2").end();
    // Two blocks of zeros, and what fills the last file's block.
    tar.truncate(tar.len() - 1024 - 511);
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), &tar).unwrap();
    assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"2");
    tar.pop();
    assert!(unpack(dir.path(), &tar).is_err());
}
