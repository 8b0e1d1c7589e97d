//! A power cut, played: marks under the boot ID of a boot that is over.

use super::*;
use crate::store::NewImage;
use crate::{ImageConfig, Platform};

/// A store with an image of one layer for each name, and their layers.
fn store_with(root: &Path, names: &[&str]) -> Vec<DiffId> {
    let store = Store::open(root).unwrap();
    let lease = store.lease().unwrap();
    let layer = |name: &&str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(name.len() as u64);
        tar.append_data(&mut header, "file", name.as_bytes()).unwrap();
        let tar = tar.into_inner().unwrap();
        let layer = store.add_layer(&lease, &tar[..], true).unwrap();
        let mut config = ImageConfig::scratch(&Platform::host());
        config.rootfs.diff_ids.push(layer.diff_id.clone());
        let bytes = config.to_bytes();
        let known = NewImage::default();
        let id = store.put_image(&lease, &bytes, known).unwrap();
        store.tag(&name.parse().unwrap(), &id).unwrap();
        layer.diff_id
    };
    names.iter().map(layer).collect()
}

/// As if the machine had been started anew: all marks but `kept` are gone,
/// because they were settled.
fn another_boot(root: &Path, kept: impl Fn(&str) -> bool) {
    for boot in fs::read_dir(unsettled(root)).unwrap() {
        let boot = boot.unwrap().path();
        for name in names(&boot).unwrap() {
            if !kept(&name) {
                fs::remove_file(boot.join(name)).unwrap();
            }
        }
        fs::rename(&boot, unsettled(root).join("another")).unwrap();
    }
}

#[test]
fn what_was_not_on_the_disk_goes_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let layers = store_with(dir.path(), &["old:1", "new:1"]);
    another_boot(dir.path(), |mark| mark.ends_with(layers[1].hex()));
    let store = Store::open(dir.path()).unwrap();
    assert!(store.resolve("old:1").is_ok());
    assert!(store.resolve("new:1").is_err());
    assert!(store.has_layer(&layers[0]) && !store.has_layer(&layers[1]));
    let [lost] = store.lost() else { panic!("{:?}", store.lost()) };
    assert!(lost.contains("new:1") && !lost.contains("old:1"), "{lost}");
    assert_eq!(store.list().unwrap().len(), 1);
    // It is told once.
    assert_eq!(Store::open(dir.path()).unwrap().lost(), &[] as &[String]);
}

#[test]
fn a_blob_is_judged_by_its_digest_and_a_record_by_its_form() {
    let dir = tempfile::tempdir().unwrap();
    store_with(dir.path(), &["a:1", "b:1"]);
    let records = dir.path().join("images/records");
    let (a, b) = {
        let store = Store::open(dir.path()).unwrap();
        let id = |name| store.resolve(name).unwrap().id;
        let (a, b) = (id("a:1"), id("b:1"));
        // What delayed allocation leaves of a file that was renamed early.
        fs::write(store.blob_path(&a.0), "").unwrap();
        (a, b)
    };
    another_boot(dir.path(), |mark| !mark.starts_with("layer-"));
    let store = Store::open(dir.path()).unwrap();
    assert!(store.image(&a).is_err() && store.image(&b).is_ok());
    drop(store);
    let path = records.join(format!("{}.json", b.hex()));
    fs::write(path, "").unwrap();
    another_boot(dir.path(), |_| true);
    let mark = format!("another/record-{}", b.hex());
    File::create(unsettled(dir.path()).join(mark)).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.list().unwrap().len(), 0);
    let [lost] = store.lost() else { panic!("{:?}", store.lost()) };
    assert!(lost.starts_with("image b:1 was not on the disk"), "{lost}");
}

#[test]
fn what_is_on_the_disk_has_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    store_with(dir.path(), &["a:1"]);
    let store = Store::open(dir.path()).unwrap();
    let marks = &store.settling.marks;
    assert!(names(marks).unwrap().len() >= 3);
    settle(marks).unwrap();
    assert_eq!(names(marks).unwrap(), [] as [String; 0]);
    drop(store);
    another_boot(dir.path(), |_| true);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.lost(), &[] as &[String]);
    assert!(store.resolve("a:1").is_ok());
}
