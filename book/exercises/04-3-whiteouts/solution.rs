use std::fs;
use std::io;
use std::path::Path;

/// What the name of an entry in a layer asks for.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Applies an empty file called `name` in the directory `dir` of a layer to
/// the files of the layers below. Returns whether it was a mark; any other
/// file is unpacked by the caller.
pub fn apply(dir: &Path, name: &str) -> io::Result<bool> {
    // BEGIN
    // This name begins like the other one, so it is asked about first.
    if name == OPAQUE {
        for entry in fs::read_dir(dir)? {
            remove(&entry?.path())?;
        }
        return Ok(true);
    }
    let Some(gone) = name.strip_prefix(WHITEOUT) else {
        return Ok(false);
    };
    remove(&dir.join(gone))?;
    Ok(true)
    // STARTER
    //= let _ = (dir, OPAQUE, remove);
    //= todo!("{name} may begin with {WHITEOUT}")
    // END
}

/// Removes a file, or a directory with all that is in it.
fn remove(path: &Path) -> io::Result<()> {
    // BEGIN
    // Not metadata, which asks about what a link points to.
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
    // STARTER
    //= fs::remove_file(path)
    // END
}
