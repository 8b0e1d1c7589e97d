//! A directory of layers that leaves nothing mounted behind.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use layers::diff::ChangeKind;
use layers::{DiffId, Digest};
use overlay_cow::{OverlaySnapshots, check_host};

/// Layers and writable layers in a temporary directory.
pub(crate) struct Bench {
    pub(crate) root: PathBuf,
    pub(crate) snapshots: OverlaySnapshots,
    dir: Option<tempfile::TempDir>,
}

impl Bench {
    /// `None`, and a line that says why, where no overlay can be mounted.
    pub(crate) fn new(test: &str) -> Option<Bench> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: {test}: mounting takes root");
            return None;
        }
        for place in [std::env::temp_dir(), "/dev/shm".into()] {
            let dir = tempfile::tempdir_in(&place).unwrap();
            if check_host(dir.path()).is_ok() {
                let root = dir.path().join("overlay2");
                let mut bench = Bench::at(&root);
                bench.dir = Some(dir);
                return Some(bench);
            }
        }
        println!("SKIP: {test}: /tmp and /dev/shm cannot hold an upperdir");
        None
    }

    /// In a directory that somebody else removes.
    pub(crate) fn at(root: &Path) -> Bench {
        let snapshots = OverlaySnapshots::open(root).unwrap();
        Bench { root: root.to_owned(), snapshots, dir: None }
    }

    /// Unpacked layers, the base first; each a list of path and content.
    pub(crate) fn layers(&self, layers: &[&[(&str, &str)]]) -> Vec<DiffId> {
        let made = layers.iter().enumerate().map(|(number, files)| {
            let id = DiffId(Digest::of(format!("layer {number}").as_bytes()));
            let dir = self.layer_file(&id, "");
            fs::create_dir_all(&dir).unwrap();
            for (path, content) in *files {
                let path = dir.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            id
        });
        made.collect()
    }

    /// A file of an unpacked layer.
    pub(crate) fn layer_file(&self, id: &DiffId, path: &str) -> PathBuf {
        self.root.join(id.hex()).join("diff").join(path)
    }

    /// What is mounted below the directory.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = self.root.to_str().unwrap();
        table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|place| place.starts_with(root))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for id in self.snapshots.list().unwrap() {
            self.snapshots.delete(&id).unwrap();
        }
        if !std::thread::panicking() {
            assert_eq!(self.mounts(), [""; 0], "left behind");
        }
    }
}

/// `docker diff`.
pub(crate) fn listing(snapshots: &OverlaySnapshots, id: &str) -> Vec<String> {
    let changes = snapshots.list_changes(id).unwrap();
    let line = |change: &layers::diff::Change| {
        let letter = match change.kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        format!("{letter} {}", change.path.display())
    };
    changes.iter().map(line).collect()
}
