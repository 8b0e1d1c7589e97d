//! Pull and push against a real registry, with skopeo on the other side.

mod common;

use std::fs;
use std::sync::Mutex;

use common::*;
use layers::registry::{Progress, pull, pull_all_tags, push};
use layers::store::{RemoveOptions, Store};
use layers::{Error, Platform, archive};

const FORCE: RemoveOptions = RemoveOptions { force: true, parents: true };

/// The lines of a pull, bytes left out.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn add(&self, progress: Progress) {
        let line = match progress.id.as_str() {
            "" => progress.status,
            id => format!("{id}: {}", progress.status),
        };
        let mut lines = self.0.lock().unwrap();
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }

    fn text(self) -> String {
        self.0.into_inner().unwrap().join("\n")
    }
}

fn three_layers() -> Vec<Vec<u8>> {
    vec![
        tar(&[("etc/base", "base"), ("etc/gone", "x")]),
        tar(&[("big", &noise(3 << 20, 1))]),
        tar(&[("etc/.wh.gone", ""), ("hello", "hello")]),
    ]
}

#[test]
fn what_was_pushed_comes_back_by_tag_and_by_digest_under_the_same_id() {
    let Some(registry) = Registry::start("push and pull") else { return };
    let (_a, ours) = store();
    let name = registry.name("team/app:1");
    let id = image(&ours, &name, &host(), &three_layers());
    let reference = registry.reference("team/app:1");
    let pushed = push(&ours, &reference, &options(), &|_| {}).unwrap();

    let (_b, theirs) = store();
    let lines = Lines::default();
    let pulled =
        pull(&theirs, &reference, &options(), &|p| lines.add(p)).unwrap();
    assert_eq!((&pulled.image, pulled.newer), (&id, true));
    assert_eq!(pulled.digest, pushed.digest);
    let text = lines.text();
    for line in [
        "1: Pulling from team/app",
        ": Pulling fs layer",
        ": Downloading",
        ": Verifying Checksum",
        ": Download complete",
        ": Extracting",
        ": Pull complete",
        &format!("Digest: {}", pushed.digest),
        &format!("Status: Downloaded newer image for {name}"),
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let again = pull(&theirs, &reference, &options(), &|_| {}).unwrap();
    assert!(!again.newer);

    let (_c, third) = store();
    let by_digest = reference.with_digest(pushed.digest.clone());
    let pulled = pull(&third, &by_digest, &options(), &|_| {}).unwrap();
    assert_eq!(pulled.image, id);
    let names = third.names(&id).unwrap();
    assert_eq!(names.tags, Vec::<String>::new());
    assert_eq!(names.digests, [by_digest.familiar()]);
    assert_eq!(third.resolve(pushed.digest.as_str()).unwrap().id, id);
    // A pulled image is pushed with the bytes it came with.
    let other = registry.reference("team/copy:2");
    third.tag(&other, &id).unwrap();
    let lines = Lines::default();
    let copy = push(&third, &other, &options(), &|p| lines.add(p)).unwrap();
    assert_eq!(copy.digest, pushed.digest);
    let text = lines.text();
    assert!(text.contains(": Mounted from team/app"), "{text}");
}

#[test]
fn a_layer_that_is_there_is_not_downloaded_again() {
    let Some(registry) = Registry::start("shared layer") else { return };
    let (_a, ours) = store();
    let mut layers = three_layers();
    image(&ours, &registry.name("a"), &host(), &layers);
    layers.push(tar(&[("more", "more")]));
    image(&ours, &registry.name("b"), &host(), &layers);
    for name in ["a", "b"] {
        push(&ours, &registry.reference(name), &options(), &|_| {}).unwrap();
    }
    let (_b, theirs) = store();
    pull(&theirs, &registry.reference("a"), &options(), &|_| {}).unwrap();
    let lines = Lines::default();
    let b = registry.reference("b");
    pull(&theirs, &b, &options(), &|p| lines.add(p)).unwrap();
    let text = lines.text();
    assert_eq!(text.matches(": Already exists").count(), 3, "{text}");
    for line in [": Pulling fs layer", ": Pull complete"] {
        assert_eq!(text.matches(line).count(), 1, "{text}");
    }
}

#[test]
fn gzip_and_zstd_layers_from_skopeo_are_pulled() {
    let test = "layers from skopeo";
    let Some(registry) = Registry::start(test) else { return };
    for format in ["gzip", "zstd"] {
        // Of its own content: skopeo sends no blob twice, in whatever
        // compression the registry has it.
        let mut layers = three_layers();
        layers[1] =
            tar(&[("big", &noise(1 << 20, u64::from(format.as_bytes()[0])))]);
        layers.push(tar(&[("format", format)]));
        let (dir, ours) = store();
        let id = image(&ours, "app", &host(), &layers);
        let file = dir.path().join("app.tar");
        let mut out = fs::File::create(&file).unwrap();
        archive::save(&ours, &["app"], &mut out).unwrap();
        let from = format!("docker-archive:{}", file.display());
        let to = format!("docker://{}:1", registry.name(format));
        let arguments = [
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            "--format=oci",
            &format!("--dest-compress-format={format}"),
            &from,
            &to,
        ];
        if run(test, "skopeo", &arguments).is_none() {
            return;
        }
        let (_b, theirs) = store();
        let reference = registry.reference(&format!("{format}:1"));
        pull(&theirs, &reference, &options(), &|_| {}).unwrap();
        let image = theirs.resolve(&reference.to_string()).unwrap();
        assert_eq!(image.layers(), ours.image(&id).unwrap().layers());
        let kept = theirs.layer_record(&image.layers()[3]).unwrap();
        let kind = &kept.blobs[0].media_type;
        assert!(kind.ends_with(&format!("+{format}")), "{kind}");
        let top = theirs.layer_dir(&image.layers()[2]);
        assert_eq!(fs::read(top.join("hello")).unwrap(), b"hello");
    }
}

#[test]
fn of_an_index_the_image_for_the_platform_is_taken() {
    let test = "image index";
    let Some(registry) = Registry::start(test) else { return };
    let layout = tempfile::tempdir().unwrap();
    let ids = two_platforms(layout.path());
    let from = format!("oci:{}:both", layout.path().display());
    let to = format!("docker://{}:1", registry.name("both"));
    let arguments = [
        "--insecure-policy",
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &from,
        &to,
    ];
    if run(test, "skopeo", &arguments).is_none() {
        return;
    }
    let reference = registry.reference("both:1");
    for (platform, id) in ["linux/amd64", "linux/arm64"].iter().zip(&ids) {
        let (_b, theirs) = store();
        let mut options = options();
        options.platform = Some(platform.parse().unwrap());
        let pulled = pull(&theirs, &reference, &options, &|_| {}).unwrap();
        assert_eq!(&pulled.image, id, "{platform}");
    }
    let (_c, theirs) = store();
    let mut options = options();
    options.platform = Some(Platform::linux("s390x"));
    let error = pull(&theirs, &reference, &options, &|_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no matching manifest for linux/s390x in the manifest list \
             entries of {}; it has: linux/amd64, linux/arm64/v8",
            reference.familiar()
        )
    );
}

#[test]
fn a_corrupted_blob_is_refused_with_both_digests_and_leaves_nothing() {
    let Some(registry) = Registry::start("corrupted blob") else { return };
    let (_a, ours) = store();
    image(&ours, &registry.name("bad"), &host(), &three_layers());
    let reference = registry.reference("bad");
    push(&ours, &reference, &options(), &|_| {}).unwrap();
    let image = ours.resolve(&registry.name("bad")).unwrap();
    let record = ours.layer_record(&image.layers()[1]).unwrap();
    let blob = record
        .blobs
        .iter()
        .find(|blob| blob.media_type.ends_with("gzip"))
        .unwrap();
    let file = registry.blob_file(blob.digest.hex());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&file, &bytes).unwrap();

    let (dir, theirs) = store();
    let before = files(dir.path());
    let error = pull(&theirs, &reference, &options(), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(blob.digest.as_str()), "{text}");
    let got = layers::Digest::of(&bytes);
    assert!(text.contains(got.as_str()), "{text}");
    assert_eq!(files(dir.path()), before);
}

#[test]
fn two_pulls_of_one_image_share_their_downloads() {
    let Some(registry) = Registry::start("shared download") else { return };
    let (_a, ours) = store();
    image(&ours, &registry.name("x"), &host(), &three_layers());
    let reference = registry.reference("x");
    push(&ours, &reference, &options(), &|_| {}).unwrap();
    let (_b, theirs) = store();
    let verified = Mutex::new(0);
    let count = |progress: Progress| {
        if progress.status == "Verifying Checksum" {
            *verified.lock().unwrap() += 1;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                pull(&theirs, &reference, &options(), &count).unwrap();
            });
        }
    });
    assert_eq!(*verified.lock().unwrap(), 3);
}

#[test]
fn a_cancelled_pull_leaves_nothing() {
    let Some(registry) = Registry::start("cancelled pull") else { return };
    let (_a, ours) = store();
    image(&ours, &registry.name("x"), &host(), &three_layers());
    let reference = registry.reference("x");
    push(&ours, &reference, &options(), &|_| {}).unwrap();
    let (dir, theirs) = store();
    let before = files(dir.path());
    let options = options();
    let stop = |progress: Progress| {
        if progress.status == "Downloading" {
            options.cancel.cancel();
        }
    };
    let error = pull(&theirs, &reference, &options, &stop).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(files(dir.path()), before);
}

#[test]
fn all_tags_are_pulled_and_what_is_missing_is_said() {
    let Some(registry) = Registry::start("all tags") else { return };
    let (_a, ours) = store();
    let id = image(&ours, &registry.name("x:1"), &host(), &three_layers());
    for tag in ["x:1", "x:2", "x:3"] {
        let reference = registry.reference(tag);
        ours.tag(&reference, &id).unwrap();
        push(&ours, &reference, &options(), &|_| {}).unwrap();
    }
    let (_b, theirs) = store();
    let repository = registry.reference("x");
    let all = pull_all_tags(&theirs, &repository, &options(), &|_| {});
    assert_eq!(all.unwrap().len(), 3);
    assert_eq!(theirs.names(&id).unwrap().tags.len(), 3);
    removed_again(&theirs, &id);

    let missing = registry.reference("x:9");
    let error = pull(&theirs, &missing, &options(), &|_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "manifest for {} not found: manifest unknown: manifest unknown",
            missing.familiar()
        )
    );
}

#[test]
fn an_image_from_an_archive_is_pushed_compressed() {
    let Some(registry) = Registry::start("push what was loaded") else {
        return;
    };
    let (_a, made) = store();
    let name = registry.name("x:1");
    image(&made, &name, &host(), &three_layers());
    let mut tar = Vec::new();
    archive::save(&made, &[&name], &mut tar).unwrap();
    let (_b, loaded) = store();
    archive::load(&loaded, &tar[..]).unwrap();
    let reference = registry.reference("x:1");
    push(&loaded, &reference, &options(), &|_| {}).unwrap();
    let (_c, theirs) = store();
    let pulled = pull(&theirs, &reference, &options(), &|_| {}).unwrap();
    for layer in theirs.image(&pulled.image).unwrap().layers() {
        let kept = theirs.layer_record(layer).unwrap().blobs;
        assert!(kept[0].media_type.ends_with("+gzip"), "{kept:?}");
    }
}

fn removed_again(store: &Store, id: &layers::ImageId) {
    store.remove(id.as_str(), FORCE, &Vec::new).unwrap();
    assert_eq!(store.layers().unwrap(), []);
}

#[test]
fn a_certificate_that_nobody_vouches_for_will_do_on_this_machine_only() {
    let Some(registry) = Registry::start_tls("certificates") else { return };
    let (_a, ours) = store();
    image(&ours, &registry.name("x"), &host(), &three_layers());
    let reference = registry.reference("x");
    push(&ours, &reference, &options(), &|_| {}).unwrap();
    pull(&store().1, &reference, &options(), &|_| {}).unwrap();
    // The same server under a name that does not count as this machine.
    let name = format!("[::ffff:7f00:1]:{}", registry.port);
    let far = format!("{name}/x").parse().unwrap();
    let error = pull(&store().1, &far, &options(), &|_| {}).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("certificate is not trusted"), "{text}");
    assert!(text.contains("--insecure-registry"), "{text}");
    let mut options = options();
    options.config.insecure = vec![name];
    pull(&store().1, &far, &options, &|_| {}).unwrap();
}
