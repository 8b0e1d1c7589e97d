//! Tars that want out. Each is either refused with a clear sentence or
//! contained: nothing outside of the layer's directory may change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;

mod absurd;
mod damage;
mod escapes;

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
