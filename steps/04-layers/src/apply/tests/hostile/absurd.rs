//! Types, numbers and names that no honest tar has.

use super::*;

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
