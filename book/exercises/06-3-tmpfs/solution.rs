use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

/// `--tmpfs TARGET:OPTIONS`, with options as in `size=64k,noexec`.
pub fn tmpfs(target: &Path, options: &str) -> io::Result<()> {
    // BEGIN
    // What Docker gives every tmpfs, unless the options say otherwise.
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut data = Vec::new();
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option {
            "ro" => flags |= MountFlags::RDONLY,
            "noexec" => flags |= MountFlags::NOEXEC,
            "exec" => flags -= MountFlags::NOEXEC,
            // What is left is for the file system: size, mode, uid…
            _ => data.push(option),
        }
    }
    let data = std::ffi::CString::new(data.join(","))?;
    mount("tmpfs", target, "tmpfs", flags, data.as_c_str())?;
    Ok(())
    // STARTER
    //= // To the kernel `noexec` is no option of tmpfs.
    //= let data = std::ffi::CString::new(options)?;
    //= mount("tmpfs", target, "tmpfs", MountFlags::empty(), data.as_c_str())?;
    //= Ok(())
    // END
}
