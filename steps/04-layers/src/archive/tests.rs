use std::io::Write;

use super::*;
use crate::reference::Reference;
use crate::store::RemoveOptions;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn tar(name: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

/// One kept layer, one that is written anew from its files.
fn image(store: &Store, name: &str) -> ImageId {
    let lease = store.lease().unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("made"), name).unwrap();
    let mut made = Vec::new();
    crate::diff::write_upper(files.path(), None, &mut made).unwrap();
    let pulled = tar("pulled", "same in all");
    let mut config = ImageConfig::scratch(&Platform::host());
    for (tar, keep) in [(pulled, true), (made, false)] {
        let layer = store.add_layer(&lease, &tar[..], keep).unwrap();
        config.rootfs.diff_ids.push(layer.diff_id);
    }
    let bytes = config.to_bytes();
    let id = store.put_image(&lease, &bytes, NewImage::default()).unwrap();
    let name: Reference = name.parse().unwrap();
    store.tag(&name, &id).unwrap();
    id
}

fn saved(store: &Store, names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    save(store, names, &mut out).unwrap();
    out
}

#[test]
fn a_saved_image_loads_elsewhere_with_its_id_and_names() {
    let (_a, ours) = store();
    let one = image(&ours, "one:1");
    let two = image(&ours, "localhost:5000/two:2");
    ours.tag(&"other".parse().unwrap(), &one).unwrap();
    let names = ["one:1", "other", "localhost:5000/two:2"];
    let archive = saved(&ours, &names);
    let (_b, theirs) = store();
    let loaded = load(&theirs, &archive[..]).unwrap();
    let names = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect();
    let expected = [
        Loaded { image: one, names: names(&["one:1", "other:latest"]) },
        Loaded { image: two, names: names(&["localhost:5000/two:2"]) },
    ];
    assert_eq!(loaded, expected);
    for (name, id) in
        [("one:1", &expected[0].image), ("other", &expected[0].image)]
    {
        assert_eq!(&theirs.resolve(name).unwrap().id, id);
    }
    let image = theirs.image(&expected[0].image).unwrap();
    let top = theirs.layer_dir(&image.layers()[1]);
    assert_eq!(std::fs::read(top.join("made")).unwrap(), b"one:1");
    // And out again: the same bytes.
    assert_eq!(saved(&theirs, &["one:1"]), saved(&ours, &["one:1"]));
}

#[test]
fn saving_is_deterministic_and_an_image_by_id_has_no_name() {
    let (_a, ours) = store();
    let id = image(&ours, "app");
    let archive = saved(&ours, &[id.short()]);
    assert_eq!(archive, saved(&ours, &[id.short()]));
    let (_b, theirs) = store();
    let loaded = load(&theirs, &archive[..]).unwrap();
    assert_eq!(loaded, [Loaded { image: id, names: vec![] }]);
}

#[test]
fn a_load_for_a_platform_takes_only_images_for_it() {
    let (_a, ours) = store();
    let id = image(&ours, "app");
    let archive = saved(&ours, &["app"]);
    let (_b, theirs) = store();
    let other: Platform = "linux/s390x".parse().unwrap();
    let refused = load_for(&theirs, &archive[..], &other).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the archive: it holds no image for linux/s390x"
    );
    assert_eq!(theirs.list().unwrap().len(), 0);
    let host = Platform::host();
    let loaded = load_for(&theirs, &archive[..], &host).unwrap();
    assert_eq!(loaded[0].image, id);
}

#[test]
fn a_layout_directory_loads_as_well_as_a_tar_and_a_compressed_tar() {
    let (_a, ours) = store();
    let id = image(&ours, "app");
    let dir = tempfile::tempdir().unwrap();
    save_dir(&ours, &["app"], dir.path()).unwrap();
    let (_b, theirs) = store();
    assert_eq!(load_dir(&theirs, dir.path()).unwrap()[0].image, id);
    let gzip = flate2::write::GzEncoder::new;
    let mut gzip = gzip(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&saved(&ours, &["app"])).unwrap();
    let (_c, third) = store();
    let loaded = load(&third, &gzip.finish().unwrap()[..]).unwrap();
    assert_eq!(loaded[0].image, id);
}

/// What `docker save` wrote before version 25: a directory for each layer,
/// layers that repeat as links.
#[test]
fn the_older_archives_of_docker_load() {
    let layer = tar("f", "content");
    let diff_id = crate::Digest::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":
           {{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":["old:1"],
        "Layers":["aa/layer.tar","bb/layer.tar"]}]"#;
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    add("aa/layer.tar", &layer);
    add("c.json", config.as_bytes());
    add("manifest.json", manifest.as_bytes());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    let link = "../aa/layer.tar";
    tar.append_link(&mut header, "bb/layer.tar", link).unwrap();
    let archive = tar.into_inner().unwrap();
    let (_a, store) = store();
    let loaded = load(&store, &archive[..]).unwrap();
    assert_eq!(loaded[0].names, ["old:1"]);
    let image = store.image(&loaded[0].image).unwrap();
    assert_eq!(image.layers().len(), 2);
    assert_eq!(image.id.0, crate::Digest::of(config.as_bytes()));
}

#[test]
fn what_is_no_archive_or_lies_leaves_nothing() {
    let (_a, ours) = store();
    image(&ours, "app");
    let good = saved(&ours, &["app"]);
    let mut bad = good.clone();
    let at = bad.windows(11).position(|w| w == b"same in all").unwrap();
    bad[at] = b'S';
    let (dir, theirs) = store();
    let blobs = || {
        let dir = dir.path().join("images/blobs/sha256");
        std::fs::read_dir(dir).unwrap().count()
    };
    for (tar, words) in [
        (tar("f", "x"), "becomes an image by import"),
        (good[..good.len() / 2].to_vec(), ""),
        (bad, "is corrupted: expected digest sha256:"),
        (b"not a tar at all".to_vec(), "ends in the middle"),
    ] {
        let error = load(&theirs, &tar[..]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(blobs(), 0, "{words}");
        assert_eq!(theirs.layers().unwrap(), []);
    }
}

#[test]
fn an_imported_file_system_is_an_image_of_one_layer() {
    let (_a, store) = store();
    let lease = store.lease().unwrap();
    let options = ImportOptions {
        config: ContainerConfig {
            cmd: Some(vec!["sh".into()]),
            ..ContainerConfig::default()
        },
        message: "Imported from -".into(),
        platform: Platform::host(),
    };
    let id = import(&store, &lease, &tar("f", "x")[..], options).unwrap();
    let image = store.image(&id).unwrap();
    assert_eq!(image.layers().len(), 1);
    assert_eq!(image.config.config.cmd, Some(vec!["sh".into()]));
    let comment = image.config.history[0].comment.as_deref();
    assert_eq!(comment, Some("Imported from -"));
    drop(lease);
    let options = RemoveOptions { force: true, parents: true };
    store.remove(id.as_str(), options, &Vec::new).unwrap();
}
