//! Changes one thing at a time and looks whether the key changes.

use exercises::{Verdict, observed};

use super::learner::{Source, key};

const PARENT: &str = "sha256:aa";
const LINE: &str = "COPY . /srv";

fn file(path: &str, content: &str, mode: u32, mtime: u64) -> Source {
    let (path, content) = (path.to_owned(), content.as_bytes().to_vec());
    Source { path, content, mode, mtime }
}

pub fn check() -> Verdict {
    let files =
        || [file("app.py", "print()", 0o644, 5), file("b", "bc", 0o644, 5)];
    let first = key(PARENT, LINE, &files());
    let must_differ: [(&str, &str, String); 5] = [
        (
            "parent",
            "the layer below is another one",
            key("sha256:bb", LINE, &files()),
        ),
        (
            "instruction",
            "the instruction is another one",
            key(PARENT, "COPY . /opt", &files()),
        ),
        ("content", "the content of a file is another one", {
            let mut files = files();
            files[0].content = b"exit()!".to_vec();
            key(PARENT, LINE, &files)
        }),
        ("mode", "a file has become executable", {
            let mut files = files();
            files[0].mode = 0o755;
            key(PARENT, LINE, &files)
        }),
        ("path", "a file has another name", {
            let mut files = files();
            files[0].path = "app.rb".to_owned();
            key(PARENT, LINE, &files)
        }),
    ];
    for (cause, what, other) in must_differ {
        if other == first {
            return Err(observed(
                cause,
                format!("{what}; the key is the same"),
            ));
        }
    }
    let mut touched = files();
    touched[0].mtime = 6;
    if key(PARENT, LINE, &touched) != first {
        return Err(observed(
            "mtime",
            "after `touch app.py` the key is another one",
        ));
    }
    let mut turned = files();
    turned.reverse();
    if key(PARENT, LINE, &turned) != first {
        return Err(observed(
            "order",
            "the same files, listed in another order, have another key",
        ));
    }
    let glued = [
        key(PARENT, LINE, &[file("a", "bc", 0o644, 5)]),
        key(PARENT, LINE, &[file("ab", "c", 0o644, 5)]),
        key("x", "yz", &[]),
        key("xy", "z", &[]),
    ];
    let lines = [
        key(PARENT, LINE, &[file("a", "b", 0o644, 5), file("c", "", 0o644, 5)]),
        key(PARENT, LINE, &[file("a", "", 0o644, 5), file("bc", "", 0o644, 5)]),
    ];
    if glued[0] == glued[1] || glued[2] == glued[3] || lines[0] == lines[1] {
        return Err(observed(
            "glued",
            "two different inputs have the same key: parent `x` with \
             instruction `yz`, and parent `xy` with `z`",
        ));
    }
    Ok(vec![
        "parent, instruction, name, mode and content: each changes the key"
            .to_owned(),
        "`touch` and the order of a directory do not".to_owned(),
    ])
}
