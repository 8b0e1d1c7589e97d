//! `--cidfile`: where the ID of a new container is written.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::cli::failure::cannot_open;

/// The file. It is made before the container, since afterwards it would be
/// too late to find that it cannot be; an empty one goes with the value.
#[derive(Debug)]
pub(super) struct CidFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl CidFile {
    /// Two containers must not end up with one file.
    pub(super) fn open(path: &Path) -> anyhow::Result<CidFile> {
        match File::create_new(path) {
            Ok(file) => {
                Ok(CidFile { file, path: path.to_owned(), kept: false })
            }
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                anyhow::bail!(
                    "container ID file found, make sure the other container \
                     isn't running or delete {}",
                    path.display()
                )
            }
            Err(cause) => Err(cannot_open(path, &cause)
                .context("failed to create the container ID file")),
        }
    }

    pub(super) fn keep(mut self, id: &str) -> anyhow::Result<()> {
        self.file.write_all(id.as_bytes())?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_with_its_container_and_not_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        drop(CidFile::open(&path).unwrap());
        assert!(!path.exists(), "there is no container");
        CidFile::open(&path).unwrap().keep("4f1c").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4f1c");
        let taken = CidFile::open(&path).unwrap_err().to_string();
        assert!(taken.contains("make sure the other container"), "{taken}");
        assert!(path.exists(), "it is the other container's");
        let nowhere = CidFile::open(Path::new("/nosuch/id")).unwrap_err();
        insta::assert_snapshot!(format!("{nowhere:#}"), @"failed to create the container ID file: open /nosuch/id: no such file or directory");
    }
}
