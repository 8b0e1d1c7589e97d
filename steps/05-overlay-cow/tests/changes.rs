//! What `diff` says about a container, and what its layer's tar holds.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Bench, listing};

/// Every kind of change that a program can make to its image.
fn change_everything(root: &std::path::Path) {
    fs::write(root.join("etc/motd"), "changed").unwrap();
    fs::remove_file(root.join("etc/gone")).unwrap();
    fs::create_dir(root.join("srv")).unwrap();
    fs::write(root.join("srv/new"), "new").unwrap();
    fs::hard_link(root.join("srv/new"), root.join("srv/link")).unwrap();
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(root.join("usr/bin/tool"), mode).unwrap();
    // Removed and made again: an opaque directory.
    fs::remove_dir_all(root.join("var/cache")).unwrap();
    fs::create_dir(root.join("var/cache")).unwrap();
    fs::write(root.join("var/cache/b"), "other").unwrap();
    fs::write(root.join("var/cache/c"), "new").unwrap();
    // A directory that becomes a file, and a file that becomes a directory.
    fs::remove_dir_all(root.join("opt")).unwrap();
    fs::write(root.join("opt"), "a file now").unwrap();
    fs::remove_file(root.join("home")).unwrap();
    fs::create_dir(root.join("home")).unwrap();
    // Made and removed again: no change at all.
    fs::write(root.join("tmp"), "").unwrap();
    fs::remove_file(root.join("tmp")).unwrap();
    fs::rename(root.join("lib/old/deep"), root.join("lib/moved")).unwrap();
}

fn changed() -> Option<Bench> {
    let bench = Bench::new("changes")?;
    let layers = bench.layers(&[
        &[
            ("etc/motd", "old"),
            ("etc/gone", ""),
            ("etc/same", ""),
            ("usr/bin/tool", "#!"),
            ("var/cache/a", ""),
            ("opt/x", ""),
            ("home", "a file"),
            ("lib/old/deep", "1"),
        ],
        &[("var/cache/b", "2"), ("var/cache/sub/d", "2")],
    ]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    change_everything(&root);
    Some(bench)
}

#[test]
fn every_kind_of_change_has_its_letter() {
    let Some(bench) = changed() else { return };
    insta::assert_snapshot!(listing(&bench.snapshots, "c1").join("\n"));
}

#[test]
fn the_tar_says_the_same_in_the_words_of_the_image_format() {
    let Some(bench) = changed() else { return };
    let mut tar = Vec::new();
    bench.snapshots.pack("c1", None, &mut tar).unwrap();
    let mut lines = Vec::new();
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mode = entry.header().mode().unwrap();
        let kind = entry.header().entry_type();
        let link = entry.link_name().unwrap();
        let link = link.map_or(String::new(), |to| format!(" → {to:?}"));
        lines.push(format!("{kind:?} {mode:o} {path}{link}"));
    }
    insta::assert_snapshot!(lines.join("\n"));

    let mut again = Vec::new();
    bench.snapshots.pack("c1", None, &mut again).unwrap();
    assert_eq!(tar, again, "the same changes give the same bytes");
}

#[test]
fn reading_and_listing_change_nothing() {
    let Some(bench) = Bench::new("reading") else { return };
    let layers = bench.layers(&[&[("etc/a", "1"), ("etc/b/c", "2")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    fs::read(root.join("etc/a")).unwrap();
    fs::read_dir(root.join("etc/b")).unwrap().count();
    assert!(listing(&bench.snapshots, "c1").is_empty());
    assert!(bench.snapshots.copied_up("c1").unwrap().is_empty());
}

#[test]
fn a_file_written_in_place_does_not_change_its_directory() {
    let Some(bench) = Bench::new("in place") else { return };
    let layers = bench.layers(&[&[("etc/deep/a", "1")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    let mut file =
        fs::File::options().append(true).open(root.join("etc/deep/a")).unwrap();
    std::io::Write::write_all(&mut file, b"2").unwrap();
    let lines = listing(&bench.snapshots, "c1");
    assert_eq!(lines.last().unwrap(), "C /etc/deep/a");
}

/// With `redirect_dir` the kernel would leave a mark in the upper directory
/// that no layer's tar can carry. mv(1) copies when it gets this errno.
#[test]
fn a_directory_of_the_image_cannot_be_renamed_only_copied() {
    let Some(bench) = Bench::new("rename") else { return };
    let layers = bench.layers(&[&[("lib/old/deep", "1")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    let error = fs::rename(root.join("lib"), root.join("lib2")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::CrossesDevices);
}
