//! Paths and links that lead out of the layer.

use super::*;

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
