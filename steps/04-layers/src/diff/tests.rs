//! A layer is what it was made from: written, unpacked, written again.

use super::*;
use crate::apply::{self, Options};
use proptest::prelude::*;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

fn shell(directory: &Path, script: &str) {
    let done = Command::new("sh")
        .arg("-ec")
        .arg(script)
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{script}: {said}");
}

fn written(upper: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    write_upper(upper, None, &mut tar).unwrap();
    tar
}

fn unpacked(tar: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::for_this_user();
    apply::apply(dir.path(), &mut &tar[..], &options).unwrap();
    dir
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
}

/// Says so and returns false where the test cannot make its files.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIP: {test}: needs root to make devices");
    }
    root
}

#[test]
fn every_kind_of_file_survives_and_gives_the_same_bytes_again() {
    if !is_root("every_kind_of_file_survives") {
        return;
    }
    let upper = tempfile::tempdir().unwrap();
    shell(
        upper.path(),
        "echo a > file; chmod 4755 file; ln file hard; ln -s ../x soft
         mkdir -m 1777 dir; echo b > dir/deep; chown 5:6 dir/deep
         mkfifo -m 0600 fifo; mknod null c 1 3
         mknod gone c 0 0; mkdir opaque; echo c > opaque/new
         touch -d 2001-02-03T04:05:06 dir/deep; touch -d 2002-01-01 dir
         long=$(printf %0200d 1); mkdir $long; echo d > $long/$long",
    );
    let mark = rustix::fs::XattrFlags::empty();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(upper.path().join(path), name, value, mark)
    };
    set("opaque", "trusted.overlay.opaque", b"y").unwrap();
    // VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE (capability.h).
    let mut capability = [0_u8; 20];
    capability[..8].copy_from_slice(&[0, 0, 0, 2, 0, 4, 0, 0]);
    set("dir/deep", "security.capability", &capability).unwrap();

    let tar = written(upper.path());
    let found = names(&tar);
    for name in [".wh.gone", "opaque/.wh..wh..opq", "fifo", "null", "dir/"] {
        assert!(found.iter().any(|f| f == name), "{name} in {found:?}");
    }
    let again = unpacked(&tar);
    assert!(written(again.path()) == tar, "not the same bytes");
    let meta = |name: &str| lstat(&again.path().join(name)).unwrap();
    assert_eq!(meta("file").ino(), meta("hard").ino());
    assert_eq!(meta("file").mode() & 0o7777, 0o4755);
    assert_eq!((meta("dir/deep").uid(), meta("dir/deep").gid()), (5, 6));
    let kept = attributes(&again.path().join("dir/deep")).unwrap();
    assert_eq!(kept[0].1, capability);
}

#[test]
fn a_long_name_survives_whatever_its_first_hundred_bytes_are() {
    let upper = tempfile::tempdir().unwrap();
    shell(
        upper.path(),
        r"bad=$(printf '\274%0150d' 1); echo a > $bad; ln $bad $bad-too
          ln -s $bad soft; mkdir $bad-dir; echo b > $bad-dir/$bad
          at=$(printf %097d 1); mkdir $at; echo c > $at/..dots
          find . -exec touch -h -d 2020-01-01 {} +",
    );
    let tar = written(upper.path());
    let again = unpacked(&tar);
    let same = std::process::Command::new("diff")
        .args(["-r".as_ref(), upper.path(), again.path()])
        .status();
    assert!(same.unwrap().success());
    assert!(written(again.path()) == tar, "not the same bytes");
}

#[test]
fn the_order_in_which_files_were_made_does_not_matter() {
    let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
    let (one, two) = (one.unwrap(), two.unwrap());
    let times = "; find . -exec touch -h -d 2020-01-01 {} +";
    let first = format!("mkdir d; echo 1 > d/a; echo 2 > b; ln -s b c{times}");
    let last = format!("ln -s b c; echo 2 > b; mkdir d; echo 1 > d/a{times}");
    shell(one.path(), &first);
    shell(two.path(), &last);
    assert!(written(one.path()) == written(two.path()));
}

#[test]
fn no_time_is_later_than_the_epoch_that_is_asked_for() {
    let upper = tempfile::tempdir().unwrap();
    shell(upper.path(), "touch -d 1999-01-01 old; touch new");
    let mut tar = Vec::new();
    write_upper(upper.path(), Some(1_000_000_000), &mut tar).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let times: Vec<u64> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().header().mtime().unwrap())
        .collect();
    assert_eq!(times[0], 1_000_000_000);
    assert!(times[1] < 1_000_000_000);
}

/// Two layers with a whiteout and an opaque directory, and a full copy of
/// what they look like together.
fn image() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    shell(
        dir.path(),
        "mkdir -p low/etc low/opaque top/etc top/opaque copy
         echo 1 > low/etc/a; echo 2 > low/etc/hidden; echo 3 > low/opaque/x
         echo 4 > low/keep; mkdir low/dir; echo 5 > low/dir/in
         mknod top/etc/hidden c 0 0; echo 6 > top/opaque/y
         cp -a low/. copy; cp -a top/opaque/. copy/opaque
         rm copy/etc/hidden copy/opaque/x
         for d in . etc opaque; do touch -r top/$d copy/$d; done",
    );
    rustix::fs::lsetxattr(
        dir.path().join("top/opaque"),
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let layers = ["low", "top"].map(|name| dir.path().join(name)).to_vec();
    (dir, layers)
}

fn listed(copy: &Path, layers: &[PathBuf]) -> Vec<String> {
    let letter = |kind| match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    };
    changes(copy, layers)
        .unwrap()
        .iter()
        .map(|change| {
            format!("{} {}", letter(change.kind), change.path.display())
        })
        .collect()
}

#[test]
fn an_untouched_copy_has_no_changes() {
    if !is_root("an_untouched_copy_has_no_changes") {
        return;
    }
    let (dir, layers) = image();
    assert_eq!(listed(&dir.path().join("copy"), &layers), [""; 0]);
}

#[test]
fn changes_of_a_copy_are_found_and_make_a_layer() {
    if !is_root("changes_of_a_copy_are_found") {
        return;
    }
    let (dir, layers) = image();
    let copy = dir.path().join("copy");
    shell(
        &copy,
        "echo new > etc/b; echo 11 > etc/a; rm keep; rm -r dir; echo f > dir
         chmod 700 opaque; mkdir -p x/y",
    );
    let found = changes(&copy, &layers).unwrap();
    insta::assert_snapshot!(listed(&copy, &layers).join("\n"));
    let mut tar = Vec::new();
    write_changes(&copy, &found, None, &mut tar).unwrap();
    insta::assert_snapshot!(names(&tar).join("\n"));
    // On top of the layers below, the copy has no changes any more.
    let layer = unpacked(&tar);
    let mut all = layers.clone();
    all.push(layer.path().to_owned());
    shell(&copy, "find . -exec touch -h -d @1500000000 {} +");
    shell(layer.path(), "find . ! -type c -exec touch -h -d @1500000000 {} +");
    for layer in &layers {
        shell(layer, "find . ! -type c -exec touch -h -d @1500000000 {} +");
    }
    assert_eq!(listed(&copy, &all), [""; 0]);
}

/// A few files of a few kinds, at paths that collide often.
fn trees() -> impl Strategy<Value = Vec<(String, u8, u32)>> {
    let path = "[ab]{1,2}(/[ab]{1,2}){0,2}";
    prop::collection::vec((path, 0..4_u8, 0..0o777_u32), 0..12)
}

fn plant(root: &Path, tree: &[(String, u8, u32)]) {
    for (path, kind, mode) in tree {
        let path = root.join(path);
        let _ = fs::create_dir_all(path.parent().unwrap());
        // What does not fit in with what is there is left out.
        let _ = match kind {
            0 => fs::create_dir(&path),
            1 => symlink("a/../b", &path),
            2 => fs::hard_link(root.join("a"), &path),
            _ => fs::write(&path, mode.to_string()),
        };
        if *kind != 1 && path.is_file() {
            let mode = Permissions::from_mode(*mode | 0o400);
            fs::set_permissions(&path, mode).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn unpacking_a_layer_and_writing_it_again_gives_the_same_bytes(
        tree in trees(),
    ) {
        let upper = tempfile::tempdir().unwrap();
        plant(upper.path(), &tree);
        let tar = written(upper.path());
        prop_assert!(written(unpacked(&tar).path()) == tar);
    }
}

#[test]
fn a_mark_that_a_container_could_have_set_itself_is_none() {
    if !crate::apply::trusted_marks() {
        let why = "as this user the mark under user. is the true one";
        return cli_api::testing::skip("forged opaque mark", why);
    }
    let upper = tempfile::tempdir().unwrap();
    fs::create_dir(upper.path().join("dir")).unwrap();
    let set = rustix::fs::setxattr(
        upper.path().join("dir"),
        "user.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    );
    if set.is_err() {
        let why = "no user attributes on this file system";
        return cli_api::testing::skip("forged opaque mark", why);
    }
    let mut tar = Vec::new();
    write_upper(upper.path(), None, &mut tar).unwrap();
    let mut tar = tar::Archive::new(&tar[..]);
    let paths = tar.entries().unwrap().map(|e| e.unwrap().path_bytes().len());
    assert_eq!(paths.collect::<Vec<_>>(), ["dir/".len()]);
}
