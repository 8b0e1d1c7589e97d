//! Paths inside a root file system that is not ours.
//!
//! `/etc/alternatives/x -> /usr/bin/y` inside an image means the image's
//! `/usr/bin/y`. Following it as the kernel would, from here, would end on
//! the host. Nothing runs in the tree while we look (the build's process
//! has ended), so resolving step by step is safe from races.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel allows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// The real path of `path` as seen from inside `root`. Components that do
/// not exist are kept as they are; `..` never leaves the root.
pub(super) fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut todo = components(path);
    let mut found = PathBuf::new();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            found.pop();
            continue;
        }
        let next = found.join(&name);
        let Ok(target) = fs::read_link(root.join(&next)) else {
            found = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        if target.is_absolute() {
            found = PathBuf::new();
        }
        for name in components(&target).into_iter().rev() {
            todo.push_front(name);
        }
    }
    Ok(root.join(found))
}

/// Names and `..` only. Resolving `..` by hand, after links, is what makes it
/// safe: `link/..` is the parent of the link's target.
fn components(path: &Path) -> VecDeque<OsString> {
    let name = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        symlink("/usr/bin", root.join("bin")).unwrap();
        symlink("../../../../etc/passwd", root.join("usr/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let at = |path: &str| resolve(root, Path::new(path));
        assert_eq!(at("/bin/sh").unwrap(), root.join("usr/bin/sh"));
        assert_eq!(at("usr/up").unwrap(), root.join("etc/passwd"));
        assert_eq!(at("../../x").unwrap(), root.join("x"));
        assert!(at("loop/x").is_err());
    }
}
