use std::os::unix::fs::MetadataExt;

use super::*;
use crate::store::NewImage;
use crate::{ImageConfig, Platform};

/// An entry of a layer: a path with a slash at its end and a mode, or a file.
type Item = (&'static str, u32);

/// Stacks these layers as an image and returns them, lowest first.
fn stack(store: &Store, layers: &[&[Item]]) -> Vec<DiffId> {
    let lease = store.lease().unwrap();
    let mut config = ImageConfig::scratch(&Platform::host());
    for items in layers {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, mode) in *items {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(1_000_000_000);
            header.set_size(0);
            if path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_uid(7);
            }
            tar.append_data(&mut header, path, &b""[..]).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let layer = store.add_layer(&lease, &tar[..], true).unwrap();
        config.rootfs.diff_ids.push(layer.diff_id);
    }
    let bytes = config.to_bytes();
    store.put_image(&lease, &bytes, NewImage::default()).unwrap();
    config.rootfs.diff_ids
}

/// Mode, owner and time of a directory in a layer.
fn says(store: &Store, layer: &DiffId, path: &str) -> (u32, u32, i64) {
    let meta = fs::metadata(store.layer_dir(layer).join(path)).unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.mtime())
}

fn store() -> Option<(tempfile::TempDir, Store)> {
    if !rustix::process::geteuid().is_root() {
        let why = "only root can give files to another user";
        cli_api::testing::skip("implied directories", why);
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    Some((dir, store))
}

const BELOW: (u32, u32, i64) = (0o1777, 7, 1_000_000_000);
const MADE_UP: (u32, u32, i64) = (0o755, 0, 0);

#[test]
fn a_directory_without_an_entry_is_as_the_layers_below_have_it() {
    let Some((_dir, store)) = store() else { return };
    let layers = stack(
        &store,
        &[
            &[("tmp/", 0o1777), ("tmp/a/", 0o1777), ("x", 0o644)],
            &[("other", 0o644)],
            &[("tmp/a/one", 0o644), ("new/two", 0o644)],
            &[("tmp/a/.wh.one", 0o644)],
            &[("tmp/", 0o700), ("tmp/a/three", 0o644)],
        ],
    );
    for layer in &layers[2..4] {
        assert_eq!(says(&store, layer, "tmp"), BELOW);
        assert_eq!(says(&store, layer, "tmp/a"), BELOW);
    }
    assert_eq!(says(&store, &layers[2], "new"), MADE_UP);
    // Its own word counts.
    assert_eq!(says(&store, &layers[4], "tmp").0, 0o700);
    assert_eq!(says(&store, &layers[4], "tmp/a"), BELOW);
    let open = |n: usize| store.layer_record(&layers[n]).unwrap().implied;
    assert_eq!(open(2), ["new"]);
    assert_eq!(open(3), [] as [String; 0]);
}

#[test]
fn what_was_deleted_or_is_no_directory_says_nothing() {
    let Some((_dir, store)) = store() else { return };
    let bottom: &[Item] = &[("a/", 0o1777), ("b/c/", 0o1777)];
    for hides in [".wh.a", "a"] {
        let layers =
            stack(&store, &[bottom, &[(hides, 0o644)], &[("a/x", 0o644)]]);
        assert_eq!(says(&store, &layers[2], "a"), MADE_UP, "{hides}");
    }
    let opaque: &[Item] = &[("b/", 0o700), ("b/.wh..wh..opq", 0o644)];
    let layers = stack(&store, &[bottom, opaque, &[("b/c/x", 0o644)]]);
    assert_eq!(says(&store, &layers[2], "b").0, 0o700);
    assert_eq!(says(&store, &layers[2], "b/c"), MADE_UP);
}
