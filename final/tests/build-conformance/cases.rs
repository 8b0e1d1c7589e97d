//! The text files with the builds, and their contexts as tars.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tar::{EntryType, Header};

/// Who is asked what the right image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// dockerd's classic builder.
    Docker,
    /// For what BuildKit added to the language.
    Buildah,
}

/// One build.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) peer: Peer,
    pub(crate) args: Vec<(String, String)>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) target: String,
    /// To be built before; its image is `{first}` in the Dockerfile.
    pub(crate) first: Option<String>,
    files: Vec<File>,
}

/// One file of the context.
#[derive(Debug)]
struct File {
    path: String,
    mode: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Text(String),
    Link(String),
    Directory,
    Tar(Vec<String>),
}

/// All builds of a file.
pub(crate) fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("\n=== ").skip(1).map(case).collect()
}

fn case(text: &str) -> Case {
    let mut parts = text.split("\n--- ");
    let head = parts.next().unwrap_or_default();
    let mut lines = head.lines();
    let mut case = Case {
        name: lines.next().unwrap_or_default().to_owned(),
        peer: Peer::Docker,
        args: Vec::new(),
        labels: Vec::new(),
        target: String::new(),
        first: None,
        files: Vec::new(),
    };
    for line in lines {
        match line.split_once(": ") {
            Some(("peer", "buildah")) => case.peer = Peer::Buildah,
            Some(("args", list)) => case.args = pairs(list),
            Some(("labels", list)) => case.labels = pairs(list),
            Some(("target", name)) => case.target = name.to_owned(),
            _ => panic!("{}: what is {line:?}?", case.name),
        }
    }
    for part in parts {
        let (head, text) = part.split_once('\n').unwrap_or((part, ""));
        // The line end before the next header belongs to the header.
        let mut text = text.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match head {
            "first" => case.first = Some(text),
            head => case.files.push(file(head, text)),
        }
    }
    case
}

fn pairs(list: &str) -> Vec<(String, String)> {
    let pairs = list.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

fn file(head: &str, text: String) -> File {
    let new = |path: &str, mode, what| File { path: path.into(), mode, what };
    if let Some((path, target)) = head.split_once(" -> ") {
        return new(path, 0o777, What::Link(target.into()));
    }
    if let Some((path, of)) = head.split_once(" < ") {
        let of = of.split(' ').map(str::to_owned).collect();
        return new(path, 0o644, What::Tar(of));
    }
    if let Some(path) = head.strip_suffix('/') {
        return new(path, 0o755, What::Directory);
    }
    let mode = head.rsplit_once(' ').and_then(|(path, mode)| {
        Some((path, u32::from_str_radix(mode, 8).ok()?))
    });
    match mode {
        Some((path, mode)) => new(path, mode, What::Text(text)),
        None => new(head, 0o644, What::Text(text)),
    }
}

impl Case {
    /// The context, with `first` for `{first}` in the Dockerfile.
    pub(crate) fn context(&self, first: &str) -> Vec<u8> {
        let packed = self.files.iter().filter_map(|file| match &file.what {
            What::Tar(of) => Some(of),
            _ => None,
        });
        let packed: Vec<&String> = packed.flatten().collect();
        let files = self.files.iter().filter(|f| !packed.contains(&&f.path));
        self.tar(&files.collect::<Vec<_>>(), first)
    }

    /// The docker command sends the directories of a file before it.
    fn tar(&self, files: &[&File], first: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let above = files.iter().flat_map(|file| {
            let above = Path::new(&file.path).ancestors().skip(1);
            above.map(|path| path.to_str().unwrap().to_owned())
        });
        let above: BTreeSet<String> = above.collect();
        for name in above.iter().filter(|name| !name.is_empty()) {
            append(&mut tar, name, 0o755, EntryType::Directory, b"");
        }
        for file in files {
            let (path, mode) = (file.path.as_str(), file.mode);
            match &file.what {
                What::Text(text) => {
                    let text = text.replace("{first}", first);
                    let text = text.as_bytes();
                    append(&mut tar, path, mode, EntryType::Regular, text);
                }
                What::Directory => {
                    append(&mut tar, path, mode, EntryType::Directory, b"");
                }
                What::Link(target) => {
                    let mut header = header(mode, EntryType::Symlink);
                    tar.append_link(&mut header, path, target).unwrap();
                }
                What::Tar(of) => {
                    let inner = self.files.iter();
                    let inner: Vec<&File> =
                        inner.filter(|f| of.contains(&f.path)).collect();
                    let inner = compressed(path, self.tar(&inner, first));
                    append(&mut tar, path, mode, EntryType::Regular, &inner);
                }
            }
        }
        tar.into_inner().unwrap()
    }
}

fn header(mode: u32, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_600_000_000);
    header.set_size(0);
    header
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    kind: EntryType,
    content: &[u8],
) {
    let mut header = header(mode, kind);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).unwrap();
}

/// By the program that the name asks for.
fn compressed(path: &str, tar: Vec<u8>) -> Vec<u8> {
    let program = match path.rsplit('.').next() {
        Some("gz") => "gzip",
        Some("xz") => "xz",
        _ => return tar,
    };
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&tar).unwrap();
    child.wait_with_output().unwrap().stdout
}
