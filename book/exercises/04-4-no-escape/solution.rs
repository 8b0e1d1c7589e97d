use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Writes a file of a layer below `root`. The name comes from a stranger.
pub fn write(root: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    // BEGIN
    let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, dir, Mode::empty())?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let mode = Mode::from_raw_mode(0o644);
    // As if `root` were `/`: for `..` and for links, at every step, in the
    // kernel, where nobody can change a directory in between.
    let file: OwnedFd = openat2(
        &root,
        name,
        create | OFlags::CLOEXEC,
        mode,
        ResolveFlags::IN_ROOT,
    )?;
    File::from(file).write_all(content)
    // STARTER
    //= let path = root.join(name);
    //= let _: Option<OwnedFd> = None;
    //= File::create(path)?.write_all(content)
    // END
}
