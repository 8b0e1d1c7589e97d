//! What an image is, as text: from the archive that `docker save` writes,
//! whoever wrote it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Component, Path};

use layers::Digest;
use serde_json::Value;

type Files = BTreeMap<String, Vec<u8>>;
type Tree = BTreeMap<String, String>;

/// The config, and what its files add to those of `base`.
pub(crate) fn describe(saved: &[u8], base: &[u8]) -> String {
    let (saved, base) = (Image::read(saved), Image::read(base));
    let mut text = saved.config(&base);
    for (path, entry) in &saved.tree {
        if base.tree.get(path) != Some(entry) {
            let _ = writeln!(text, "{entry} {path}");
        }
    }
    for path in base.tree.keys() {
        if !saved.tree.contains_key(path) {
            let _ = writeln!(text, "- {path}");
        }
    }
    text
}

struct Image {
    config: Value,
    tree: Tree,
}

impl Image {
    fn read(saved: &[u8]) -> Image {
        let files = unpacked(saved);
        let json = |name: &str| -> Value {
            serde_json::from_slice(&files[name]).unwrap()
        };
        let manifest = &json("manifest.json")[0];
        let config = json(manifest["Config"].as_str().unwrap());
        let layers = manifest["Layers"].as_array().unwrap();
        let mut tree = Tree::new();
        for layer in layers {
            apply(&mut tree, &files[layer.as_str().unwrap()]);
        }
        Image { config, tree }
    }

    fn steps(&self) -> &[Value] {
        self.config["history"].as_array().map_or(&[], Vec::as_slice)
    }

    /// One line for each part of the config that says something, and the
    /// steps that came after those of the base image.
    fn config(&self, base: &Image) -> String {
        let mut text = String::new();
        let config = &self.config["config"];
        for key in [
            "Env",
            "Cmd",
            "Entrypoint",
            "User",
            "WorkingDir",
            "ExposedPorts",
            "Labels",
            "Volumes",
            "StopSignal",
            "Healthcheck",
            "OnBuild",
            "Shell",
        ] {
            let mut value = config[key].clone();
            if let Some(labels) = value.as_object_mut() {
                // buildah signs its work.
                labels.remove("io.buildah.version");
            }
            value.sort_all_objects();
            let empty = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if !empty {
                let _ = writeln!(text, "{key}: {value}");
            }
        }
        if let Some(author) = self.config["author"].as_str() {
            let _ = writeln!(text, "author: {author}");
        }
        let both = self.steps().iter().zip(base.steps());
        let inherited = both.take_while(|(own, base)| own == base).count();
        let kinds = self.steps().iter().skip(inherited);
        let kinds = kinds.map(|step| match step["empty_layer"].as_bool() {
            Some(true) => '.',
            _ => 'L',
        });
        let _ = writeln!(text, "history: {}", kinds.collect::<String>());
        text
    }
}

/// The regular files of a tar.
fn unpacked(tar: &[u8]) -> Files {
    let mut files = Files::new();
    let mut links = Vec::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        if let Some(target) = entry.link_name().unwrap() {
            links.push((name, target.to_str().unwrap().to_owned()));
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(name, content);
    }
    for (name, target) in links {
        // dockerd saves a layer that occurs twice once, and a link to it.
        let target = target.trim_start_matches("../").to_owned();
        let content = files.get(&target).cloned().unwrap_or_default();
        files.insert(name, content);
    }
    files
}

/// Puts a layer on top, whiteouts and all.
fn apply(tree: &mut Tree, layer: &[u8]) {
    let (mut gone, mut made) = (Vec::new(), Tree::new());
    for entry in tar::Archive::new(layer).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = plain(&entry.path().unwrap());
        let name = path.rsplit('/').next().unwrap_or_default();
        let above = path.strip_suffix(name).unwrap_or_default();
        if name == ".wh..wh..opq" {
            gone.push(above.trim_end_matches('/').to_owned() + "/");
        } else if let Some(name) = name.strip_prefix(".wh.") {
            gone.push(format!("{above}{name}"));
            gone.push(format!("{above}{name}/"));
        } else if !path.is_empty() {
            let text = one(&mut entry, &made, tree);
            made.insert(path, text);
        }
    }
    tree.retain(|path, _| {
        let hit = |it: &String| match it.strip_suffix('/') {
            Some(_) => path.starts_with(it.as_str()),
            None => path == it,
        };
        !gone.iter().any(hit)
    });
    for (path, text) in made {
        // What was a directory and is none has nothing in it any more.
        if !text.starts_with('d') {
            let inside = format!("{path}/");
            tree.retain(|old, _| !old.starts_with(&inside));
        }
        tree.insert(path, text);
    }
}

fn plain(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Type, mode, owner, and what is in it. A further name of a file says the
/// same as the first one.
fn one(entry: &mut tar::Entry<&[u8]>, made: &Tree, below: &Tree) -> String {
    let header = entry.header().clone();
    let kind = header.entry_type();
    let target = entry.link_name().unwrap();
    let target = target.map(|it| it.to_str().unwrap().to_owned());
    if kind.is_hard_link() {
        let first = plain(Path::new(&target.unwrap()));
        let text = made.get(&first).or_else(|| below.get(&first));
        return text.cloned().unwrap_or_else(|| format!("h {first}"));
    }
    let letter = match kind {
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Fifo => 'p',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        _ => 'f',
    };
    let mode = match letter {
        'l' => 0o777,
        _ => header.mode().unwrap() & 0o7777,
    };
    let (uid, gid) = (header.uid().unwrap(), header.gid().unwrap());
    let mut text = format!("{letter} {mode:o} {uid}:{gid}");
    for (key, value) in attributes(entry) {
        let _ = write!(text, " {key}={value:?}");
    }
    match target {
        Some(target) => {
            let _ = write!(text, " -> {target} at");
        }
        None if letter == 'f' => {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let digest = Digest::of(&content);
            let _ = write!(text, " {} {}", content.len(), digest.short());
        }
        None => {}
    }
    text
}

fn attributes(entry: &mut tar::Entry<&[u8]>) -> Vec<(String, Vec<u8>)> {
    let Some(extensions) = entry.pax_extensions().unwrap() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for extension in extensions.flatten() {
        let key = extension.key().unwrap_or_default();
        if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            found.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    found.sort();
    found
}
