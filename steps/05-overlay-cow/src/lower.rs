//! `lower`, the file that remembers what a writable layer is over.
//!
//! The mount itself knows it too, but it is gone after a reboot, and `diff`
//! must work on a container that is not mounted.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use layers::DiffId;

use crate::{Error, init};

const LOWER: &str = "lower";

/// What a container is over: the image's layers, with `init` at the bottom.
pub(crate) fn names(layers: &[DiffId]) -> Vec<String> {
    let mut names = image_names(layers);
    names.push(format!("{}/diff", init::NAME));
    names
}

/// The layers' directories, topmost first.
///
/// A layer may occur twice in an image, the empty one often does, but the
/// kernel refuses a directory twice (ELOOP). The upper occurrence has all
/// that the lower one has, so the lower one adds nothing.
pub(crate) fn image_names(layers: &[DiffId]) -> Vec<String> {
    let mut names = Vec::with_capacity(layers.len() + 1);
    let mut seen = HashSet::new();
    for layer in layers.iter().rev() {
        if seen.insert(layer) {
            names.push(format!("{}/diff", layer.hex()));
        }
    }
    names
}

/// The layer's own name.
pub(crate) fn layer_of(name: &str) -> String {
    name.strip_suffix("/diff").unwrap_or(name).to_owned()
}

/// In the kernel's eyes a directory is missing, in ours a layer.
pub(crate) fn missing_layer(error: Error, root: &Path) -> Error {
    match error {
        Error::Layer { path, source: nix::errno::Errno::ENOENT, .. }
            if path.starts_with(root) =>
        {
            let name = path.strip_prefix(root).unwrap_or(&path);
            let layer = layer_of(&name.to_string_lossy());
            Error::MissingLayer { layer, path }
        }
        other => other,
    }
}

/// `lower` is one line, as Docker writes it: `5f70…/diff:9e1b…/diff`.
pub(crate) fn read(dir: &Path) -> Result<Option<Vec<String>>, Error> {
    let path = dir.join(LOWER);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io("read", &path)(source)),
    };
    let names = text.trim_end().split_terminator(':');
    let names: Vec<String> = names.map(str::to_owned).collect();
    // A name with `..` in it would make a foreign directory a layer.
    match names
        .iter()
        .find(|name| !name.ends_with("/diff") || name.contains(".."))
    {
        None => Ok(Some(names)),
        Some(odd) => Err(Error::Record { path, what: format!("{odd:?}") }),
    }
}

/// Written to another name first: a crash leaves the whole line or none, and
/// none means that the directory is half-made.
pub(crate) fn write(dir: &Path, names: &[String]) -> Result<(), Error> {
    let path = dir.join(LOWER);
    let temporary = dir.join("lower.tmp");
    fs::write(&temporary, names.join(":"))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(Error::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> DiffId {
        let hex = letter.to_string().repeat(64);
        format!("sha256:{hex}").parse().unwrap()
    }

    #[test]
    fn a_layer_that_occurs_twice_is_stacked_once_at_its_upper_place() {
        let layers = [digest('a'), digest('b'), digest('a'), digest('c')];
        let found = names(&layers);
        let firsts: String =
            found.iter().map(|name| name.chars().next().unwrap()).collect();
        assert_eq!(firsts, "cabi");
    }

    #[test]
    fn a_record_that_names_a_foreign_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOWER), "../../etc/diff").unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("does not list layers"), "{error}");
    }
}
