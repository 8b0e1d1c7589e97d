//! More than two hundred Dockerfiles of our own, built by `skiff` and compared
//! with what other builders made of them: the config, and every file that is
//! not as in the base image. See `build-conformance/README.md`.

#[path = "build-conformance/cases.rs"]
mod cases;
#[path = "build-conformance/image.rs"]
mod image;
#[path = "build-conformance/peers.rs"]
mod peers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cases::Peer;
use cli_api::testing;
use peers::Builder;

/// Where our image is another one than the peer's, on purpose: the case, what
/// the lines that differ have in them, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "config: workdir with a variable and a slash",
        "WorkingDir",
        "BuildKit tidies the path; the classic builder keeps the last slash",
    ),
    (
        "copy: modes are kept and owners are not",
        "x/setuid",
        "BuildKit keeps the bit; the classic builder loses it in its chown",
    ),
    (
        "copy: chown by number",
        "d 755 ",
        "with BuildKit directories made on the way belong to the same owner; \
         with the classic builder to root",
    ),
    (
        "copy: chown by user alone",
        "",
        "BuildKit takes the user's own group; the classic builder fails \
         without a group of the user's name",
    ),
    (
        "run: a volume forgets what is made after it",
        "vol/x",
        "BuildKit keeps it; only the classic builder throws it away",
    ),
];

const THEMES: [&str; 8] =
    ["config", "words", "copy", "ignore", "run", "stages", "add", "buildkit"];

#[test]
fn an_image_is_the_same_whoever_builds_it() {
    let test = "an_image_is_the_same_whoever_builds_it";
    if !testing::root_or_skip(test) {
        return;
    }
    if !Path::new("/bin/busybox").exists() {
        testing::skip(test, "needs /bin/busybox (Debian: busybox-static)");
        return;
    }
    let room = tempfile::tempdir().unwrap();
    if let Err(error) = overlay_cow::check_host(room.path()) {
        testing::skip(test, &error.to_string());
        return;
    }
    if env::var_os("SKIFF_RECORD_PEERS").is_some() {
        record();
    }
    let skiff = Builder::skiff(room.path());
    let mut differences = Vec::new();
    let mut count = 0;
    for theme in THEMES {
        let known = recorded(theme);
        for case in cases::read(&folder().join(format!("{theme}.txt"))) {
            count += 1;
            let name = format!("{theme}: {}", case.name);
            let Some(theirs) = known.get(&case.name) else {
                differences.push(format!("{name}: no peer was asked yet"));
                continue;
            };
            let ours = skiff.describe(&case);
            differences.extend(compare(&name, &ours, theirs));
        }
    }
    assert!(count >= 150, "only {count} cases");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The lines that only one of the two has, unless the table explains them. A
/// row of the table that explains nothing is a difference, too.
fn compare(name: &str, ours: &str, theirs: &str) -> Vec<String> {
    let explained = |line: &str| {
        DIFFERENCES
            .iter()
            .any(|(case, part, _)| *case == name && line.contains(part))
    };
    let only = |here: &str, there: &str| -> Vec<String> {
        let there: Vec<&str> = there.lines().collect();
        let lines = here.lines().filter(|line| !there.contains(line));
        lines.map(str::to_owned).collect()
    };
    let (mine, other) = (only(ours, theirs), only(theirs, ours));
    let mut found = Vec::new();
    for (who, lines) in [("skiff", &mine), ("peer", &other)] {
        let lines = lines.iter().filter(|line| !explained(line));
        found.extend(lines.map(|line| format!("{name}: {who}: {line}")));
    }
    let rows = DIFFERENCES.iter().filter(|(case, ..)| *case == name);
    for (_, part, _) in rows {
        if !mine.iter().chain(&other).any(|line| line.contains(part)) {
            found.push(format!("{name}: {part:?} does not differ any more"));
        }
    }
    found
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/build-conformance")
}

/// What the peers made of a theme, by case.
fn recorded(theme: &str) -> BTreeMap<String, String> {
    let path = folder().join(format!("{theme}.peer.txt"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let cases = text.split("=== ").skip(1);
    let cases = cases.map(|case| case.split_once('\n').unwrap_or((case, "")));
    cases.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// Asks the other builders, and writes down what they say.
fn record() {
    let room = tempfile::tempdir_in("/var/tmp").unwrap();
    let docker = Builder::dockerd(room.path());
    let buildah = Builder::buildah(room.path());
    for theme in THEMES {
        let mut text = String::new();
        for case in cases::read(&folder().join(format!("{theme}.txt"))) {
            let peer = match case.peer {
                Peer::Docker => &docker,
                Peer::Buildah => &buildah,
            };
            let said = peer.describe(&case);
            text.push_str(&format!("=== {}\n{said}", case.name));
        }
        fs::write(folder().join(format!("{theme}.peer.txt")), text).unwrap();
    }
}
