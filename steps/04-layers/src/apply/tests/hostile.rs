//! Tars that want out. Each is either refused with a clear sentence or
//! contained: nothing outside of the layer's directory may change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::apply::unpack as unpack_stream;

/// What becomes of a case.
enum Fate {
    /// An error with these words in it.
    Refused(&'static str),
    /// No error; this path exists in the layer afterwards.
    Contained(&'static str),
}
use Fate::{Contained, Refused};

/// The layer's directory and something next to it that must not change.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene { dir };
        fs::create_dir(scene.layer()).unwrap();
        fs::create_dir(scene.outside()).unwrap();
        fs::write(scene.outside().join("canary"), "sings").unwrap();
        let mode = fs::Permissions::from_mode(0o750);
        fs::set_permissions(scene.outside(), mode).unwrap();
        scene
    }

    fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Panics when anything outside has changed.
    fn check(&self, case: &str) {
        let names = |dir: &Path| {
            let mut names: Vec<_> = fs::read_dir(dir)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.dir.path()), ["layer", "outside"], "{case}");
        assert_eq!(names(&self.outside()), ["canary"], "{case}");
        let canary = self.outside().join("canary");
        assert_eq!(fs::read(&canary).unwrap(), b"sings", "{case}");
        let meta = fs::metadata(&canary).unwrap();
        assert_eq!((meta.nlink(), meta.mode() & 0o777), (1, 0o644), "{case}");
        let mode = fs::metadata(self.outside()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o750, "{case}");
    }
}

/// A name, the tar (given the path of the outside), its fate.
type Case<'a> = (&'a str, &'a dyn Fn(&str) -> Tar, Fate);

fn run(cases: &[Case<'_>]) {
    for (case, make, fate) in cases {
        let scene = Scene::new();
        let outside = scene.outside().display().to_string();
        let tar = make(&outside).end();
        let limits = Limits { entries: 1_000, ..LIMITS };
        let result = unpack_within(&scene.layer(), &tar, limits);
        scene.check(case);
        match (fate, result) {
            (Refused(words), Err(error)) => {
                let text = error.to_string();
                assert!(text.contains(words), "{case}: {text}");
            }
            (Contained(path), Ok(_)) => {
                let path = scene.layer().join(path);
                assert!(path.symlink_metadata().is_ok(), "{case}: {path:?}");
            }
            (Refused(_), Ok(_)) => panic!("{case}: not refused"),
            (Contained(_), Err(error)) => panic!("{case}: {error}"),
        }
    }
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn paths_that_lead_out() {
    run(&[
        ("..", &|_| tar().file("../x", ""), Refused("leads out")),
        ("a/../..", &|_| tar().file("a/../../x", ""), Refused("leads out")),
        ("dir ..", &|_| tar().dir("../"), Refused("leads out")),
        ("absolute", &|_| tar().file("/etc/x", ""), Contained("etc/x")),
        ("/..", &|_| tar().file("/../x", ""), Refused("leads out")),
        ("link ..", &|_| tar().symlink("../x", "y"), Refused("leads out")),
        (
            "whiteout ..",
            &|_| tar().file("../.wh.canary", ""),
            Refused("leads out"),
        ),
        (
            "pax path",
            &|_| tar().pax(&[("path", b"../x")]).file("ok", ""),
            Refused("leads out"),
        ),
        ("harmless ..", &|_| tar().file("a/../b", ""), Contained("b")),
        ("root as file", &|_| tar().file("./", ""), Contained("")),
        (
            "root as link",
            &|_| tar().symlink("./", "/"),
            Refused("must be a directory"),
        ),
        ("no name", &|_| tar().file("", "x"), Refused("must be a directory")),
    ]);
}

#[test]
fn links_that_lead_out() {
    run(&[
        (
            "absolute link, file through it",
            &|out| tar().symlink("l", out).file("l/new", "x"),
            Contained("l"),
        ),
        (
            "link to an existing file outside, file over it",
            &|out| tar().symlink("f", &format!("{out}/canary")).file("f", "x"),
            Contained("f"),
        ),
        (
            "relative link up, file through it",
            &|_| tar().symlink("l", "../outside").file("l/new", "x"),
            Contained("outside/new"),
        ),
        (
            "many ups",
            &|_| tar().symlink("l", "../../../../../../..").file("l/new", "x"),
            Contained("new"),
        ),
        (
            "chain of links",
            &|out| tar().symlink("a", "b").symlink("b", out).file("a/x", ""),
            Contained("a"),
        ),
        (
            "link in the middle",
            &|out| tar().dir("d").symlink("d/l", out).file("d/l/e/x", ""),
            Contained("d/l"),
        ),
        (
            "loop",
            &|_| tar().symlink("a", "b").symlink("b", "a").file("a/x", ""),
            Refused("ELOOP"),
        ),
        (
            "link to itself",
            &|_| tar().symlink("a", "a").file("a/x", ""),
            Refused("ELOOP"),
        ),
        (
            "directory over a link, with a mode",
            &|out| {
                tar()
                    .symlink("d", out)
                    .head(&Head { mode: 0o777, ..Head::new(b'5', "d/") })
                    .file("d/x", "")
            },
            Contained("d/x"),
        ),
        (
            "/proc/self/root",
            &|_| tar().symlink("p", "/proc/self/root").file("p/tmp/x", ""),
            Contained("proc/self/root/tmp/x"),
        ),
        (
            "/proc/self/cwd as hard link",
            &|_| {
                tar()
                    .symlink("p", "/proc/self/cwd")
                    .hard_link("h", "p/Cargo.toml")
            },
            Refused("not in the layer"),
        ),
        (
            "whiteout through a link",
            &|_| tar().symlink("l", "../outside").file("l/.wh.canary", ""),
            Contained("outside/canary"),
        ),
        (
            "opaque through a link",
            &|_| tar().symlink("l", "../outside").file("l/.wh..wh..opq", ""),
            Contained("outside"),
        ),
        (
            "fifo through a link",
            &|_| tar().symlink("l", "../outside").head(&Head::new(b'6', "l/x")),
            Contained("outside/x"),
        ),
        ("no target", &|_| tar().symlink("l", ""), Refused("proper target")),
        (
            "directory with contents, then a link, then a file through it",
            &|out| tar().file("d/x", "").symlink("d", out).file("d/x", ""),
            Contained("d"),
        ),
    ]);
}

#[test]
fn hard_links_that_lead_out() {
    run(&[
        (
            "..",
            &|_| tar().hard_link("h", "../outside/canary"),
            Refused("leads out"),
        ),
        (
            "absolute",
            &|out| tar().hard_link("h", &format!("{out}/canary")),
            Refused("not in the layer"),
        ),
        (
            "through a link",
            &|out| tar().symlink("l", out).hard_link("h", "l/canary"),
            Refused("not in the layer"),
        ),
        (
            "to a link that leads out, then written",
            &|out| {
                tar()
                    .symlink("l", &format!("{out}/canary"))
                    .hard_link("h", "l")
                    .file("h", "x")
            },
            Contained("h"),
        ),
        (
            "to a directory",
            &|_| tar().dir("d").hard_link("h", "d"),
            Refused("hard link to a directory"),
        ),
        (
            "to the root",
            &|_| tar().hard_link("h", "."),
            Refused("hard link to a directory"),
        ),
        (
            "to nothing",
            &|_| tar().hard_link("h", ""),
            Refused("hard link to a directory"),
        ),
        (
            "to itself",
            &|_| tar().file("f", "x").hard_link("f", "f"),
            Contained("f"),
        ),
        (
            "to a whiteout",
            &|_| tar().file(".wh.f", "").hard_link("h", "f"),
            Refused("deleted file"),
        ),
        (
            "before its target",
            &|_| tar().hard_link("h", "f").file("f", ""),
            Refused("not in the layer"),
        ),
    ]);
}

#[test]
fn tricks_with_types() {
    let size = |size| Head { size, ..Head::new(b'2', "l") };
    run(&[
        (
            "device 0:0",
            &|_| tar().head(&Head::new(b'3', "x")),
            Refused("means a deleted file"),
        ),
        (
            "unknown type",
            &|_| tar().head(&Head::new(b'Z', "x")),
            Refused("no meaning in a layer"),
        ),
        (
            "file as a directory",
            &|_| tar().file("a", "").file("a/b", ""),
            Refused("ENOTDIR"),
        ),
        (
            "file over a directory",
            &|_| tar().file("a/b/c", "").file("a", ""),
            Contained("a"),
        ),
        (
            "directory over a file",
            &|_| tar().file("a", "").file("a", "").dir("a/").file("a/b", ""),
            Contained("a/b"),
        ),
        // Opened instead of replaced, it would wait for ever.
        (
            "file over a fifo",
            &|_| tar().head(&Head::new(b'6', "f")).file("f", "x"),
            Contained("f"),
        ),
        (
            "whiteout of nothing",
            &|_| tar().file(".wh.", ""),
            Refused("names nothing"),
        ),
        (
            "whiteout of .",
            &|_| tar().file("d/.wh..", ""),
            Refused("names nothing"),
        ),
        (
            "whiteout of ..",
            &|_| tar().file("d/.wh...", ""),
            Refused("names nothing"),
        ),
        (
            "overlay's redirect",
            &|_| {
                tar()
                    .pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
                    .dir("d")
            },
            Refused("how the layers are stacked"),
        ),
        (
            "overlay's opaque, unprivileged",
            &|_| {
                tar()
                    .pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")])
                    .dir("d")
            },
            Refused("how the layers are stacked"),
        ),
        (
            "attribute without a name",
            &|_| tar().pax(&[("SCHILY.xattr.", b"y")]).dir("d"),
            Refused("without a proper name"),
        ),
        // Content that one parser skips and another reads as headers.
        (
            "a link with a size",
            &move |_| {
                tar().head(&Head { link: b"x", ..size(512) }).file("seen", "")
            },
            Contained("seen"),
        ),
        (
            "two sizes",
            &|_| {
                tar()
                    .pax(&[("size", b"512")])
                    .head(&Head::new(b'0', "f"))
                    .file("hidden in the content of f", "")
                    .file("after", "")
            },
            Contained("after"),
        ),
    ]);
}

#[test]
fn numbers_and_names_beyond_reason() {
    let long = "d/".repeat(600);
    let name = "n".repeat(300);
    let path = vec![b'p'; 5000];
    let big = vec![b'x'; (1 << 20) + 1];
    let many =
        |count: usize| (0..count).fold(tar(), |tar, _| tar.file("same", ""));
    let field = |from: usize, bytes: &'static [u8]| {
        move |block: &mut [u8; 512]| {
            block[from..from + bytes.len()].copy_from_slice(bytes);
        }
    };
    let huge = field(124, b"\x80\0\0\0\x40\0\0\0\0\0\0\0");
    let negative =
        field(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    let letters = field(124, b"zzzzzzzzzzz\0");
    let uid = field(108, b"\x80\0\0\x01\0\0\0\0");
    let head = Head::new(b'0', "f");
    run(&[
        ("2^62 bytes", &|_| tar().bent(&head, huge), Refused("limit")),
        ("negative", &|_| tar().bent(&head, negative), Refused("negative")),
        ("letters", &|_| tar().bent(&head, letters), Refused("no number")),
        ("uid 2^32", &|_| tar().bent(&head, uid), Refused("out of range")),
        (
            "uid -1",
            &|_| tar().pax(&[("uid", b"4294967295")]).file("f", ""),
            Refused("out of range"),
        ),
        (
            "deep",
            &|_| tar().pax(&[("path", long.as_bytes())]).dir("d"),
            Refused("600 components"),
        ),
        (
            "long name",
            &|_| tar().pax(&[("path", name.as_bytes())]).file("f", ""),
            Refused("ENAMETOOLONG"),
        ),
        (
            "long path",
            &|_| tar().pax(&[("path", &path)]).file("f", ""),
            Refused("5000 bytes"),
        ),
        (
            "large pax",
            &|_| tar().pax(&[("comment", &big)]).file("f", ""),
            Refused("extended header"),
        ),
        (
            "large name",
            &|_| tar().sized(Head::new(b'L', "x"), &big),
            Refused("extended header"),
        ),
        ("1001 entries", &|_| many(1001), Refused("1001 entries")),
        (
            "1001 extensions",
            &|_| (0..1001).fold(tar(), |tar, _| tar.pax(&[("comment", b"")])),
            Refused("1001 entries"),
        ),
    ]);
}

#[test]
fn damage() {
    let sparse = |records: &[(&str, &[u8])], content: &[u8]| {
        tar().pax(records).sized(Head::new(b'0', "f"), content)
    };
    let modern: [(&str, &[u8]); 2] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"99")];
    let old: [(&str, &[u8]); 1] = [("GNU.sparse.size", b"10")];
    let with = |map: &'static [u8]| [old[0], ("GNU.sparse.map", map)];
    let pax = |data: &'static [u8]| {
        tar().sized(Head::new(b'x', "pax"), data).file("f", "")
    };
    let block = |text: &str| {
        let mut block = text.as_bytes().to_vec();
        block.resize(512, 0);
        block
    };
    run(&[
        ("noise", &|_| tar().bytes(&[7; 2048]), Refused("checksum")),
        ("text", &|_| tar().bytes(&[b'a'; 512]), Refused("checksum")),
        ("pax length", &|_| pax(b"99 a=b\n"), Refused("bad length")),
        ("pax length 0", &|_| pax(b"0 a=b\n"), Refused("bad length")),
        ("pax without =", &|_| pax(b"5 ab\n"), Refused("without =")),
        (
            "pax NUL in path",
            &|_| tar().pax(&[("path", b"a\0b")]).file("f", ""),
            Refused("NUL"),
        ),
        (
            "pax uid",
            &|_| tar().pax(&[("uid", b"+1")]).file("f", ""),
            Refused("no number"),
        ),
        (
            "pax mtime",
            &|_| tar().pax(&[("mtime", b"1.x")]).file("f", ""),
            Refused("no time"),
        ),
        (
            "sparse overlap",
            &|_| sparse(&with(b"4,4,0,4"), b"12345678"),
            Refused("overlap"),
        ),
        (
            "sparse past the end",
            &|_| sparse(&with(b"8,4"), b"1234"),
            Refused("past the file's end"),
        ),
        (
            "sparse overflow",
            &|_| sparse(&with(b"18446744073709551615,4"), b"1234"),
            Refused("past the file's end"),
        ),
        ("sparse odd", &|_| sparse(&with(b"1"), b""), Refused("odd length")),
        (
            "sparse too little",
            &|_| sparse(&with(b"0,4"), b"12"),
            Refused("does not fit"),
        ),
        (
            "sparse endless",
            &|_| sparse(&modern, &block("3\n0\n1\n")),
            Refused("no end"),
        ),
        (
            "sparse count",
            &|_| sparse(&modern, &block("99999999\n0\n1\n")),
            Refused("without end"),
        ),
        (
            "sparse text",
            &|_| sparse(&modern, &block("x\n")),
            Refused("sparse map with"),
        ),
    ]);
}

#[test]
fn a_decompression_bomb_is_stopped_at_the_limit() {
    let scene = Scene::new();
    let size = 64 << 20;
    let bomb = tar().sized(Head::new(b'0', "f"), &vec![0; size]).end();
    let limits = Limits { ratio: 100, ratio_from: 1 << 20, ..LIMITS };
    let options = Options { limits, ..Options::for_this_user() };
    let mut gzip =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &bomb).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&bomb[..], 3).unwrap();
    for stream in [gzip, zstd] {
        let layer = scene.layer();
        let result = unpack_stream(&stream[..], &layer, None, &options);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("decompression bomb"), "{error}");
        let written = fs::metadata(layer.join("f")).map_or(0, |m| m.len());
        assert!(written < size as u64 / 2, "{written}");
    }
}

#[test]
fn a_damaged_stream_is_an_error_and_not_a_short_layer() {
    let scene = Scene::new();
    let options = Options::for_this_user();
    let tar = tar().file("f", &"content ".repeat(10_000)).end();
    let mut gzip =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let whole = gzip.finish().unwrap();
    let unpack =
        |stream: &[u8]| unpack_stream(stream, &scene.layer(), None, &options);
    unpack(&whole).unwrap();
    for cut in [3, 20, whole.len() / 2, whole.len() - 1] {
        let error = unpack(&whole[..cut]).unwrap_err().to_string();
        assert!(error.contains("cannot read the tar"), "{cut}: {error}");
    }
    let mut bent = whole.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 0x55;
    assert!(unpack(&bent).is_err());
}
