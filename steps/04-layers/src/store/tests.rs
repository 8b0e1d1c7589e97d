use std::io::Write;

use super::*;
use crate::config::ImageConfig;
use crate::digest::{DiffId, Digest, ImageId};
use crate::error::Error;
use crate::platform::Platform;
use crate::reference::Reference;

/// A store, and the directory that goes with it.
fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn layer(store: &Store, lease: &Lease, content: &str) -> DiffId {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "file", content.as_bytes()).unwrap();
    let tar = tar.into_inner().unwrap();
    store.add_layer(lease, &tar[..], true).unwrap().diff_id
}

/// An image of one layer, whose file says `content`.
fn image(store: &Store, content: &str, name: Option<&str>) -> ImageId {
    let lease = store.lease().unwrap();
    let mut config = ImageConfig::scratch(&Platform::host());
    config.rootfs.diff_ids = vec![layer(store, &lease, content)];
    child(store, &lease, &config, None, name)
}

fn child(
    store: &Store,
    lease: &Lease,
    config: &ImageConfig,
    parent: Option<ImageId>,
    name: Option<&str>,
) -> ImageId {
    let known = NewImage { parent, manifest: None };
    let id = store.put_image(lease, &config.to_bytes(), known).unwrap();
    if let Some(name) = name {
        store.tag(&reference(name), &id).unwrap();
    }
    id
}

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

fn nobody() -> Vec<User> {
    Vec::new()
}

const GENTLE: RemoveOptions = RemoveOptions { force: false, parents: true };
const FORCE: RemoveOptions = RemoveOptions { force: true, parents: true };

#[test]
fn an_image_is_found_by_every_kind_of_name() {
    let (_dir, store) = store();
    let id = image(&store, "a", Some("nginx"));
    for name in [
        "nginx",
        "nginx:latest",
        "docker.io/library/nginx:latest",
        id.as_str(),
        id.hex(),
        id.short(),
    ] {
        assert_eq!(store.resolve(name).unwrap().id, id, "{name}");
    }
    let error = store.resolve("redis").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "No such image: redis:latest");
}

#[test]
fn an_id_prefix_that_fits_two_images_is_refused() {
    let (_dir, store) = store();
    let ids: Vec<ImageId> =
        (0..40).map(|n| image(&store, &n.to_string(), None)).collect();
    // Of forty, two begin with the same digit.
    let first = |id: &ImageId| id.hex().chars().next().unwrap();
    let twins = ids
        .iter()
        .find(|a| ids.iter().any(|b| a != &b && first(a) == first(b)));
    let prefix = first(twins.unwrap()).to_string();
    let error = store.resolve(&prefix).unwrap_err().to_string();
    let sentence = format!("multiple IDs found with provided prefix: {prefix}");
    assert!(error.starts_with(&sentence), "{error}");
}

#[test]
fn a_name_that_is_also_an_id_prefix_is_the_name() {
    let (_dir, store) = store();
    let first = image(&store, "a", None);
    let second = image(&store, "b", Some(first.short()));
    assert_eq!(store.resolve(first.short()).unwrap().id, second);
    assert_eq!(store.resolve(first.hex()).unwrap().id, first);
}

#[test]
fn removing_by_name_takes_the_name_and_then_the_image() {
    let (_dir, store) = store();
    let id = image(&store, "a", Some("one"));
    store.tag(&reference("two:x"), &id).unwrap();
    let removed = store.remove("one", GENTLE, &nobody).unwrap();
    assert_eq!(removed, [Removed::Untagged("one:latest".into())]);
    let layer = store.image(&id).unwrap().layers()[0].clone();
    let removed = store.remove("two:x", GENTLE, &nobody).unwrap();
    assert_eq!(
        removed,
        [
            Removed::Untagged("two:x".into()),
            Removed::Deleted(id.to_string()),
            Removed::Deleted(layer.to_string()),
        ]
    );
    assert!(!store.layer_dir(&layer).exists());
    assert_eq!(store.layers().unwrap(), []);
}

#[test]
fn what_a_container_uses_is_not_removed() {
    let (_dir, store) = store();
    let id = image(&store, "a", Some("one"));
    let layers = store.image(&id).unwrap().layers().to_vec();
    let user = |running| {
        let user = User {
            container: "0123456789abcdef".into(),
            running,
            image: id.clone(),
            layers: layers.clone(),
        };
        move || vec![user.clone()]
    };
    let message = |name: &str, options, running| {
        let removed = store.remove(name, options, &user(running));
        removed.unwrap_err().to_string()
    };
    insta::with_settings!({filters => vec![(id.short(), "<id>")]}, {
        insta::assert_snapshot!([
            message("one", GENTLE, true),
            message(id.hex(), GENTLE, true),
            message(id.hex(), FORCE, true),
            message(id.hex(), GENTLE, false),
        ].join("\n"), @r#"
        conflict: unable to remove repository reference "one" (must force) - container 0123456789ab is using its referenced image <id>
        conflict: unable to delete <id> (cannot be forced) - image is being used by running container 0123456789ab
        conflict: unable to delete <id> (cannot be forced) - image is being used by running container 0123456789ab
        conflict: unable to delete <id> (must be forced) - image is being used by stopped container 0123456789ab
        "#);
    });
    // Forced away, but its layers stay for the container.
    store.remove(id.hex(), FORCE, &user(false)).unwrap();
    assert!(store.resolve("one").is_err());
    assert!(store.has_layer(&layers[0]));
    store.sweep(&nobody).unwrap();
    assert!(!store.has_layer(&layers[0]));
}

#[test]
fn an_image_with_children_stays_and_goes_with_the_last_of_them() {
    let (_dir, store) = store();
    let base = image(&store, "a", None);
    let lease = store.lease().unwrap();
    let mut config = store.image(&base).unwrap().config;
    config.config.working_dir = "/w".into();
    let top = child(&store, &lease, &config, Some(base.clone()), Some("top"));
    drop(lease);
    let error = store.remove(base.hex(), FORCE, &nobody).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("(cannot be forced) - image has dependent child images")
    );
    let removed = store.remove("top", GENTLE, &nobody).unwrap();
    let gone =
        |id: &ImageId| removed.contains(&Removed::Deleted(id.to_string()));
    assert!(gone(&top) && gone(&base), "{removed:?}");
}

#[test]
fn a_lease_keeps_what_no_image_names_yet() {
    let (_dir, store) = store();
    let lease = store.lease().unwrap();
    let diff_id = layer(&store, &lease, "a");
    store.sweep(&nobody).unwrap();
    assert!(store.has_layer(&diff_id));
    drop(lease);
    let swept = store.sweep(&nobody).unwrap();
    // A byte in a file, and the tar that it came in.
    assert_eq!((swept.layers, swept.bytes), (vec![diff_id], 1 + 2048));
}

#[test]
fn a_lease_of_another_process_counts_and_a_dead_ones_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Store::open(dir.path()).unwrap();
    let theirs = Store::open(dir.path()).unwrap();
    let lease = theirs.lease().unwrap();
    let diff_id = layer(&theirs, &lease, "a");
    ours.sweep(&nobody).unwrap();
    assert!(ours.has_layer(&diff_id));
    drop((lease, theirs));
    ours.sweep(&nobody).unwrap();
    assert!(!ours.has_layer(&diff_id));
}

#[test]
fn what_a_killed_process_left_half_made_is_removed() {
    let (dir, store) = store();
    drop(store);
    // A session that nobody holds a lock on any more.
    let litter = dir.path().join("tmp/s-dead");
    fs::create_dir_all(litter.join("layer-x/diff/a/b")).unwrap();
    fs::write(litter.join("alive"), "").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(!litter.exists());
    assert!(store.scratch().exists());
}

#[test]
fn a_blob_with_the_wrong_digest_is_refused_and_leaves_nothing() {
    let (_dir, store) = store();
    let lease = store.lease().unwrap();
    let expected = Digest::of(b"right");
    let mut writer = store.blob_writer(&expected).unwrap();
    writer.write_all(b"wrong").unwrap();
    let error = writer
        .commit(&store, &lease, "config of a:b", Some(&expected))
        .unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }));
    let text = error.to_string();
    assert!(text.contains(expected.as_str()), "{text}");
    assert!(text.contains(Digest::of(b"wrong").as_str()), "{text}");
    assert!(!store.has_blob(&expected));
    assert!(!store.has_blob(&Digest::of(b"wrong")));
}

#[test]
fn the_names_file_is_the_one_that_docker_writes() {
    let (dir, store) = store();
    let id = image(&store, "a", Some("localhost:5000/a/b:c"));
    let digest = Digest::of(b"manifest");
    store.tag(&reference("nginx").with_digest(digest.clone()), &id).unwrap();
    let text = fs::read_to_string(dir.path().join("images/repositories.json"));
    let json: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let repositories = &json["Repositories"];
    assert_eq!(
        repositories["localhost:5000/a/b"]["localhost:5000/a/b:c"],
        id.as_str()
    );
    let by_digest = format!("nginx@{digest}");
    assert_eq!(repositories["nginx"][&by_digest], id.as_str());
    let names = store.names(&id).unwrap();
    assert_eq!(names.tags, ["localhost:5000/a/b:c"]);
    assert_eq!(names.digests, [by_digest]);
}

#[test]
fn a_moved_tag_leaves_a_nameless_image_that_prune_takes() {
    let (_dir, store) = store();
    let old = image(&store, "a", Some("app"));
    let new = image(&store, "b", Some("app"));
    assert_eq!(store.resolve("app").unwrap().id, new);
    let (removed, bytes) = store.prune(false, &|_| true, &nobody).unwrap();
    assert!(removed.contains(&Removed::Deleted(old.to_string())));
    assert_eq!(bytes, 1 + 2048, "a file, and the tar that it came in");
    assert_eq!(store.ids().unwrap(), [new]);
}

#[test]
fn a_layer_made_here_gives_its_tar_again_without_a_kept_blob() {
    let (_dir, store) = store();
    let lease = store.lease().unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/file"), "content").unwrap();
    let mut tar = Vec::new();
    crate::diff::write_upper(source.path(), None, &mut tar).unwrap();
    let layer = store.add_layer(&lease, &tar[..], false).unwrap();
    let mut again = Vec::new();
    let mut reader = store.layer_tar(&layer.diff_id).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut again).unwrap();
    assert_eq!(again, tar);
}

#[test]
fn neither_sweep_nor_prune_takes_what_others_are_just_bringing() {
    let (_dir, store) = store();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bring = |thread: usize| {
            for round in 0..20 {
                let content = format!("{}", round % 3);
                let name = format!("t{thread}");
                let id = image(&store, &content, Some(&name));
                // Whole, whatever was swept meanwhile.
                for diff_id in store.image(&id).unwrap().layers() {
                    let file = store.layer_dir(diff_id).join("file");
                    assert_eq!(fs::read_to_string(file).unwrap(), content);
                }
                store.remove(&name, GENTLE, &nobody).unwrap();
            }
        };
        let workers: Vec<_> =
            (0..3).map(|n| scope.spawn(move || bring(n))).collect();
        let sweeper = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store.sweep(&nobody).unwrap();
                store.prune(false, &|_| true, &nobody).unwrap();
            }
        });
        let results: Vec<_> =
            workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        sweeper.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });
    store.sweep(&nobody).unwrap();
    assert_eq!(store.layers().unwrap(), []);
    assert_eq!(store.ids().unwrap(), []);
}
