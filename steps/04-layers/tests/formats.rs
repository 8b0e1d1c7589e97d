//! Archives that other tools made are loaded, and ours are read by them.

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::*;
use layers::archive::{load, load_dir, load_for, save, save_dir};
use layers::{ImageId, Platform, Store};

fn layers_of(store: &Store) -> ImageId {
    let layers = [
        tar(&[("etc/base", "base"), ("etc/gone", "x")]),
        tar(&[("etc/.wh.gone", ""), ("hello", "hello")]),
    ];
    image(store, "team/app:1", &host(), &layers)
}

fn skopeo(test: &str, from: &str, to: &str) -> bool {
    let arguments = ["--insecure-policy", "copy", from, to];
    run(test, "skopeo", &arguments).is_some()
}

#[test]
fn what_we_save_skopeo_reads_and_what_skopeo_writes_we_load() {
    let test = "archives and skopeo";
    let (_a, ours) = store();
    let id = layers_of(&ours);
    let expected = ours.image(&id).unwrap().layers().to_vec();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut file = File::create(path("ours.tar")).unwrap();
    save(&ours, &["team/app:1"], &mut file).unwrap();
    save_dir(&ours, &["team/app:1"], Path::new(&path("ours"))).unwrap();
    let sources = [
        format!("docker-archive:{}", path("ours.tar")),
        format!("oci-archive:{}", path("ours.tar")),
        format!("oci:{}:1", path("ours")),
    ];
    for (number, source) in sources.iter().enumerate() {
        let kinds = ["docker-archive", "oci-archive", "oci"];
        for kind in kinds {
            let to = path(&format!("{kind}-{number}"));
            let target = match kind {
                "oci" => format!("{kind}:{to}"),
                _ => format!("{kind}:{to}:team/app:1"),
            };
            if !skopeo(test, source, &target) {
                return;
            }
            let (_b, theirs) = store();
            let loaded = match kind {
                "oci" => load_dir(&theirs, Path::new(&to)).unwrap(),
                _ => load(&theirs, File::open(&to).unwrap()).unwrap(),
            };
            let image = theirs.image(&loaded[0].image).unwrap();
            assert_eq!(image.layers(), expected, "{source} to {kind}");
            let names: &[&str] = match kind {
                "oci" => &[],
                _ => &["team/app:1"],
            };
            assert_eq!(loaded[0].names, names, "{source} to {kind}");
        }
    }
}

#[test]
fn of_an_image_for_two_machines_the_one_for_this_or_a_named_one_is_loaded() {
    let test = "archives for two machines";
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let layout = dir.path().join("layout");
    let ids = two_platforms(&layout);
    let from = format!("oci:{}:both", layout.display());
    let (tar, zstd) = (path("both.tar"), path("zstd"));
    let all = ["--insecure-policy", "copy", "--all"];
    let out = format!("oci-archive:{tar}:both");
    let copy = [&all[..], &[&from, &out]].concat();
    if run(test, "skopeo", &copy).is_none() {
        return;
    }
    let out = format!("oci:{zstd}:both");
    let packed = ["--dest-compress-format=zstd", &from, &out];
    run(test, "skopeo", &[&all[..], &packed].concat()).unwrap();
    let platforms = ["linux/amd64", "linux/arm64"];
    for (platform, id) in platforms.iter().zip(&ids) {
        let platform: Platform = platform.parse().unwrap();
        let (_b, theirs) = store();
        let file = File::open(&tar).unwrap();
        let loaded = load_for(&theirs, file, &platform).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(&loaded[0].image, id, "{platform}");
        if Platform::host().suits(&platform).is_none() {
            continue;
        }
        for dir in [layout.as_path(), Path::new(&zstd)] {
            let (_c, theirs) = store();
            let loaded = load_dir(&theirs, dir).unwrap();
            assert_eq!(&loaded[0].image, id);
            let layer = &theirs.image(id).unwrap().layers()[0].clone();
            let content = fs::read(theirs.layer_dir(layer).join("arch"));
            assert!(content.unwrap().starts_with(b"linux/"));
        }
    }
}

#[test]
fn umoci_unpacks_our_layout() {
    let test = "layout and umoci";
    if !cli_api::testing::root_or_skip(test) {
        return;
    }
    let (_a, ours) = store();
    layers_of(&ours);
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    save_dir(&ours, &["team/app:1"], &layout).unwrap();
    let image = format!("{}:1", layout.display());
    let bundle = dir.path().join("bundle").display().to_string();
    let arguments = ["unpack", "--image", &image, &bundle];
    if run(test, "umoci", &arguments).is_none() {
        return;
    }
    let rootfs = dir.path().join("bundle/rootfs");
    assert_eq!(fs::read(rootfs.join("hello")).unwrap(), b"hello");
    assert!(rootfs.join("etc/base").exists());
    assert!(!rootfs.join("etc/gone").exists());
    // And an image that umoci changed comes back.
    fs::write(rootfs.join("more"), "more").unwrap();
    let arguments = ["repack", "--image", &image, &bundle];
    run(test, "umoci", &arguments).unwrap();
    let (_b, theirs) = store();
    let loaded = load_dir(&theirs, &layout).unwrap();
    let image = theirs.image(&loaded[0].image).unwrap();
    let top = theirs.layer_dir(image.layers().last().unwrap());
    assert_eq!(fs::read(top.join("more")).unwrap(), b"more");
}
