use std::io;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

/// Says, in an upper directory, that the file of the lower ones is gone.
pub fn whiteout(path: &Path) -> io::Result<()> {
    // BEGIN
    let device = rustix::fs::makedev(0, 0);
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), device)?;
    Ok(())
    // STARTER
    //= // This is how a layer's tar says it. The kernel has its own way.
    //= let name = path.file_name().unwrap_or_default().to_string_lossy();
    //= std::fs::write(path.with_file_name(format!(".wh.{name}")), "")
    // END
}

/// Says, in an upper directory, that nothing of the lower directories of the
/// same name is seen.
pub fn opaque(dir: &Path) -> io::Result<()> {
    // BEGIN
    setxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
    Ok(())
    // STARTER
    //= setxattr(dir, "user.opaque", b"y", XattrFlags::empty())?;
    //= Ok(())
    // END
}
