//! State on disk: JSON files that are either old or new, never half.
//!
//! A daemon may be killed between two bytes of a write. So a file is never
//! changed in place: the new content goes to a temporary name in the *same*
//! directory, and rename(2) puts it in place in one step. Whoever opens the
//! name sees the old file or the new one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Replaces the file at `path` by `value` as JSON.
///
/// Survives the death of this process; after a power cut the *old* content
/// may be back, see [`write_json_durable`].
///
/// # Errors
/// [`Error::Write`] says which of the steps failed; the old file is whole.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    replace(path, value, false)
}

/// As [`write_json`], and on the disk when it returns.
///
/// Costs two waits for the disk (fsync(2) of the file, then of its
/// directory, which holds the name), so it is for what cannot be found out
/// again: which volumes exist, which images.
///
/// # Errors
/// As [`write_json`].
pub fn write_json_durable<T: Serialize>(
    path: &Path,
    value: &T,
) -> Result<(), Error> {
    replace(path, value, true)
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// [`Error::Read`] without a file, [`Error::Damaged`] for another format.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read(path).map_err(Error::read(path))?;
    serde_json::from_slice(&text)
        .map_err(|cause| Error::Damaged { path: path.to_owned(), cause })
}

fn replace<T: Serialize>(
    path: &Path,
    value: &T,
    durable: bool,
) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).map_err(Error::Encode)?;
    text.push(b'\n');
    let dir = path.parent().unwrap_or(Path::new("."));
    // A temporary file elsewhere could be on another file system, and
    // rename(2) would answer EXDEV.
    let mut temp = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(dir)
        .map_err(Error::write("make a temporary file beside", path))?;
    temp.write_all(&text).map_err(Error::write("write", path))?;
    if durable {
        // Without it the rename may reach the disk before the content: the
        // name would then show an empty file.
        temp.as_file().sync_all().map_err(Error::write("sync", path))?;
    }
    temp.persist(path)
        .map_err(|it| Error::write("rename to", path)(it.error))?;
    if durable {
        let dir = File::open(dir).map_err(Error::read(dir))?;
        dir.sync_all().map_err(Error::write("sync the directory of", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_json(&path, &vec![1, 2]).unwrap();
        write_json_durable(&path, &vec![3]).unwrap();
        assert_eq!(read_json::<Vec<i32>>(&path).unwrap(), [3]);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "temporary files stay: {left:?}");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_whole() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(
                &self,
                _: S,
            ) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_json(&path, &1).unwrap();
        write_json(&path, &Refuses).unwrap_err();
        assert_eq!(read_json::<i32>(&path).unwrap(), 1);
    }

    #[test]
    fn damage_is_reported_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "{").unwrap();
        let error = read_json::<i32>(&path).unwrap_err().to_string();
        assert!(error.contains("a.json is damaged"), "{error}");
    }
}
