//! Overlays as the kernel makes them.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use common::{Bench, listing};
use overlay_cow::{Error, OverlaySnapshots};

#[test]
fn a_write_goes_to_the_upper_directory_and_leaves_the_image_alone() {
    let Some(bench) = Bench::new("write") else { return };
    let layers = bench.layers(&[&[("etc/motd", "from below\n")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    fs::write(root.join("etc/motd"), "changed\n").unwrap();

    assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "changed\n");
    let below = bench.layer_file(&layers[0], "etc/motd");
    assert_eq!(fs::read_to_string(below).unwrap(), "from below\n");
    let upper = bench.snapshots.directories("c1").unwrap().upper;
    assert_eq!(
        fs::read_to_string(upper.join("etc/motd")).unwrap(),
        "changed\n"
    );
    assert_eq!(bench.snapshots.usage("c1").unwrap().bytes, 8);
}

#[test]
fn two_containers_of_an_image_do_not_see_each_other() {
    let Some(bench) = Bench::new("two") else { return };
    let layers = bench.layers(&[&[("a", "1")]]);
    let one = bench.snapshots.mount("one", &layers).unwrap();
    let two = bench.snapshots.mount("two", &layers).unwrap();
    fs::remove_file(one.join("a")).unwrap();
    assert_eq!(fs::read_to_string(two.join("a")).unwrap(), "1");
}

#[test]
fn a_removed_file_of_the_image_becomes_a_character_device_0_0() {
    let Some(bench) = Bench::new("whiteout") else { return };
    let layers = bench.layers(&[&[("a", "1"), ("b", "2")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    fs::remove_file(root.join("a")).unwrap();

    assert!(!root.join("a").exists());
    let upper = bench.snapshots.directories("c1").unwrap().upper;
    let meta = fs::symlink_metadata(upper.join("a")).unwrap();
    assert!(meta.file_type().is_char_device());
    assert_eq!(meta.rdev(), 0);
    assert_eq!(listing(&bench.snapshots, "c1"), ["D /a"]);
}

#[test]
fn one_changed_bit_of_a_files_mode_copies_the_whole_file() {
    let Some(bench) = Bench::new("copyup") else { return };
    let big = "x".repeat(1 << 20);
    let layers = bench.layers(&[&[("usr/big", &big), ("usr/other", "")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    assert_eq!(bench.snapshots.usage("c1").unwrap().bytes, 0);
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(root.join("usr/big"), mode).unwrap();

    assert_eq!(bench.snapshots.usage("c1").unwrap().bytes, 1 << 20);
    let copied = bench.snapshots.copied_up("c1").unwrap();
    assert_eq!(copied.len(), 1);
    assert_eq!(copied[0].path.to_str(), Some("/usr/big"));
    assert_eq!(copied[0].original, Some(1 << 20));
    assert_eq!(listing(&bench.snapshots, "c1"), ["C /usr/big"]);
}

#[test]
fn three_hundred_layers_are_one_file_system_and_the_topmost_wins() {
    let Some(bench) = Bench::new("many") else { return };
    let names: Vec<String> = (0..300).map(|n| format!("only-{n}")).collect();
    let files: Vec<[(&str, &str); 2]> =
        names.iter().map(|name| [(name.as_str(), ""), ("who", name)]).collect();
    let files: Vec<&[(&str, &str)]> = files.iter().map(|it| &it[..]).collect();
    let layers = bench.layers(&files);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    assert_eq!(fs::read_to_string(root.join("who")).unwrap(), "only-299");
    assert!(root.join("only-0").exists() && root.join("only-299").exists());
}

#[test]
fn five_hundred_and_one_layers_are_refused_with_the_reason() {
    let Some(bench) = Bench::new("toomany") else { return };
    let files: Vec<&[(&str, &str)]> = vec![&[]; 501];
    let layers = bench.layers(&files);
    let error = bench.snapshots.mount("c1", &layers).unwrap_err();
    insta::assert_snapshot!(error);
    assert!(bench.snapshots.list().unwrap().is_empty(), "nothing stays");
}

#[test]
fn a_layer_that_is_not_on_disk_is_named_and_nothing_stays() {
    let Some(bench) = Bench::new("missing") else { return };
    let layers = bench.layers(&[&[("a", "")], &[("b", "")]]);
    for gone in &layers {
        let dir = bench.layer_file(gone, "");
        let moved = dir.with_file_name("moved");
        fs::rename(&dir, &moved).unwrap();
        let error = bench.snapshots.mount("c1", &layers).unwrap_err();
        match error {
            Error::MissingLayer { layer, .. } => assert_eq!(layer, gone.hex()),
            other => panic!("{other}"),
        }
        assert!(bench.snapshots.list().unwrap().is_empty());
        fs::rename(&moved, &dir).unwrap();
    }
}

#[test]
fn an_image_without_layers_still_has_the_mount_points() {
    let Some(bench) = Bench::new("scratch") else { return };
    let root = bench.snapshots.mount("c1", &[]).unwrap();
    for path in ["proc", "sys", "dev", "etc/resolv.conf", "etc/hosts"] {
        assert!(root.join(path).exists(), "{path}");
    }
    assert!(listing(&bench.snapshots, "c1").is_empty());
}

#[test]
fn what_was_written_is_there_again_after_unmounting() {
    let Some(bench) = Bench::new("again") else { return };
    let layers = bench.layers(&[&[("a", "1")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    fs::write(root.join("new"), "kept").unwrap();
    bench.snapshots.release("c1").unwrap();
    assert!(!bench.snapshots.is_mounted("c1").unwrap());
    assert!(!root.join("new").exists());

    // Another process, as after a crash of the daemon.
    let again = OverlaySnapshots::open(&bench.root).unwrap();
    assert_eq!(again.mount("c1", &layers).unwrap(), root);
    assert_eq!(fs::read_to_string(root.join("new")).unwrap(), "kept");
    again.mount("c1", &layers).unwrap();
    assert_eq!(bench.mounts().len(), 1, "mounting twice is mounting once");
}

#[test]
fn a_name_that_is_taken_over_other_layers_is_refused() {
    let Some(bench) = Bench::new("taken") else { return };
    let layers = bench.layers(&[&[("a", "1")], &[("b", "1")]]);
    bench.snapshots.mount("c1", &layers).unwrap();
    let error = bench.snapshots.mount("c1", &layers[..1]).unwrap_err();
    assert!(matches!(error, Error::OtherLayers { .. }), "{error}");
    assert!(bench.snapshots.is_mounted("c1").unwrap(), "and left alone");
}

#[test]
fn a_busy_mount_does_not_stop_the_removal() {
    let Some(bench) = Bench::new("busy") else { return };
    let layers = bench.layers(&[&[("a", "1")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    let open = fs::File::create(root.join("open")).unwrap();
    bench.snapshots.delete("c1").unwrap();
    assert!(bench.mounts().is_empty());
    assert!(bench.snapshots.list().unwrap().is_empty());
    drop(open);
    bench.snapshots.delete("c1").unwrap();
}

#[test]
fn removals_and_creations_that_a_crash_cut_short_are_finished() {
    let Some(bench) = Bench::new("crash") else { return };
    let layers = bench.layers(&[&[("a", "1")]]);
    // Half removed: renamed, but not empty yet.
    fs::create_dir_all(bench.root.join("removing-old/diff/x")).unwrap();
    // Half made: directories, but no list of layers.
    fs::create_dir_all(bench.root.join("c1/diff")).unwrap();

    let snapshots = OverlaySnapshots::open(&bench.root).unwrap();
    assert!(!bench.root.join("removing-old").exists());
    let root = snapshots.mount("c1", &layers).unwrap();
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");

    // Half made and never finished: removing it is enough.
    fs::create_dir_all(bench.root.join("c2/work")).unwrap();
    assert_eq!(snapshots.list().unwrap(), ["c1", "c2"]);
    snapshots.delete("c2").unwrap();
    assert_eq!(snapshots.list().unwrap(), ["c1"]);
}

#[test]
fn a_volatile_overlay_can_be_mounted_again_until_the_next_boot() {
    let Some(bench) = Bench::new("volatile") else { return };
    let layers = bench.layers(&[&[("a", "1")]]);
    let root = bench.snapshots.mount_volatile("c1", &layers).unwrap();
    fs::write(root.join("b"), "2").unwrap();
    assert_eq!(listing(&bench.snapshots, "c1"), ["A /b"]);
    bench.snapshots.release("c1").unwrap();
    bench.snapshots.mount_volatile("c1", &layers).unwrap();
    assert_eq!(fs::read_to_string(root.join("b")).unwrap(), "2");
    bench.snapshots.release("c1").unwrap();

    // As if that had been before a reboot.
    fs::write(bench.root.join("c1/volatile"), "another boot").unwrap();
    for _ in 0..2 {
        let again = bench.snapshots.mount_volatile("c1", &layers);
        let error = again.unwrap_err().to_string();
        assert!(error.contains("last booted"), "{error}");
    }
    bench.snapshots.delete("c1").unwrap();
}

#[test]
fn an_image_that_is_only_copied_from_has_no_mount_points_of_a_container() {
    let Some(bench) = Bench::new("image") else { return };
    let names = |root: &Path| {
        let entries = fs::read_dir(root).unwrap();
        Vec::from_iter(entries.map(|it| it.unwrap().file_name()))
    };
    let layers = bench.layers(&[&[("a", "1")]]);
    let root = bench.snapshots.mount_image("full", &layers).unwrap();
    assert_eq!(names(&root), ["a"]);
    // FROM scratch, and nothing since.
    let root = bench.snapshots.mount_image("empty", &[]).unwrap();
    assert!(names(&root).is_empty());
    for id in ["full", "empty"] {
        bench.snapshots.delete(id).unwrap();
    }
}

#[test]
fn a_data_root_with_a_very_long_or_odd_path_works() {
    let Some(bench) = Bench::new("long") else { return };
    for part in [&"d".repeat(200), "a,b:c\\d e"] {
        let root = bench.root.join(part).join("e".repeat(100));
        let bench = Bench::at(&root);
        let layers = bench.layers(&[&[("a", "1")], &[("b", "1")]]);
        let merged = bench.snapshots.mount("c1", &layers).unwrap();
        assert!(merged.join("a").exists() && merged.join("b").exists());
    }
}

#[test]
fn an_upper_directory_on_another_overlay_is_refused_with_the_way_out() {
    let Some(bench) = Bench::new("nested") else { return };
    let layers = bench.layers(&[&[("a", "1")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    let error = OverlaySnapshots::open(root.join("inner")).unwrap_err();
    let text = error.to_string().replace(root.to_str().unwrap(), "[root]");
    insta::assert_snapshot!(text);
}

/// The test runs itself again as root of a user namespace, which is what an
/// ordinary user has: `trusted.*` is out of reach there.
#[test]
fn in_a_user_namespace_the_marks_are_user_attributes() {
    if std::env::var_os("IN_USER_NAMESPACE").is_none() {
        let test = "in_a_user_namespace_the_marks_are_user_attributes";
        let inner = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("IN_USER_NAMESPACE", "yes")
            .output();
        match inner {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let refused = text.contains("unshare failed");
                assert!(refused, "{text}{output:?}");
                println!("SKIP: {test}: no user namespaces here");
            }
            Err(_) => println!("SKIP: {test}: no unshare program"),
        }
        return;
    }
    let Some(bench) = Bench::new("userns") else { return };
    let layers = bench.layers(&[&[("a", "1"), ("d/x", "1")]]);
    let root = bench.snapshots.mount("c1", &layers).unwrap();
    fs::remove_file(root.join("a")).unwrap();
    fs::remove_dir_all(root.join("d")).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    assert_eq!(listing(&bench.snapshots, "c1"), ["D /a", "C /d", "D /d/x"]);
    let upper = bench.snapshots.directories("c1").unwrap().upper;
    let mut value = [0; 1];
    let mark = "user.overlay.opaque";
    let length = rustix::fs::lgetxattr(upper.join("d"), mark, &mut value[..]);
    assert_eq!((length, value), (Ok(1), *b"y"));
}
