use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// `docker diff`: a letter and a path for each entry of the upper directory.
/// A: added, C: changed, D: deleted. `at` is the path in the container.
pub fn changes(
    upper: &Path,
    lower: &Path,
    at: &str,
    found: &mut Vec<(char, String)>,
) -> io::Result<()> {
    for entry in fs::read_dir(upper)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{at}/{}", name.to_string_lossy());
        let about = entry.metadata()?;
        let below = lower.join(&name);
        // BEGIN
        let whiteout = about.file_type().is_char_device() && about.rdev() == 0;
        let letter = if whiteout {
            'D'
        } else if fs::symlink_metadata(&below).is_ok() {
            'C'
        } else {
            'A'
        };
        found.push((letter, path.clone()));
        if about.is_dir() {
            changes(&entry.path(), &below, &path, found)?;
        }
        // STARTER
        //= let _ = (&below, about.file_type().is_char_device(), about.rdev());
        //= found.push(('A', path));
        // END
    }
    Ok(())
}
