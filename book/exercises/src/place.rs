//! The place in which a check runs.
//!
//! The learner's code runs as root and is wrong by design. The tool starts it
//! with its own mounts, processes and network; here the machine's files also
//! become read-only, so that a wrong path costs nobody a file.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

/// Where a check may write. The tool sets it.
const DIR: &str = "EXERCISE_DIR";

/// Its value if the tool has made namespaces.
const IN_NAMESPACES: &str = "/run/exercise";

/// Called once, before anything of the learner's.
pub(crate) fn enter() {
    let dir = scratch();
    if dir == Path::new(IN_NAMESPACES) {
        set_read_only("/", true);
        // What a check needs to write: the kernel's own files, and memory.
        for dir in ["/proc", "/sys/fs/cgroup", "/dev"] {
            set_read_only(dir, false);
        }
        tmpfs("/tmp", "mode=1777");
        tmpfs("/run", "mode=755");
    }
    fs::create_dir_all(&dir).expect("a directory to work in");
    std::env::set_current_dir(&dir).expect("enter the directory");
}

/// A directory of this check's own.
pub fn scratch() -> PathBuf {
    std::env::var_os(DIR).expect("the tool sets EXERCISE_DIR").into()
}

/// mount_setattr(2), for a whole tree at once.
fn set_read_only(dir: &str, on: bool) {
    let path = CString::new(dir).expect("no NUL");
    let bit = libc::MOUNT_ATTR_RDONLY;
    let (set, clear) = if on { (bit, 0) } else { (0, bit) };
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path and the struct are valid, and the size is its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    let error = std::io::Error::last_os_error();
    assert!(result == 0, "make {dir} read-only: {error}");
}

/// A new tmpfs on `dir`.
pub fn tmpfs(dir: impl AsRef<Path>, options: &str) {
    let options = CString::new(options).expect("no NUL");
    let flags = MountFlags::NOSUID;
    mount("tmpfs", dir.as_ref(), "tmpfs", flags, options.as_c_str())
        .expect("mount a tmpfs");
}

/// Where a link of `/proc` leads, as in `link("self", "ns/pid")`.
pub fn link(pid: impl std::fmt::Display, name: &str) -> String {
    let path = format!("/proc/{pid}/{name}");
    match fs::read_link(&path) {
        Ok(target) => target.to_string_lossy().into_owned(),
        Err(error) => format!("{path}: {error}"),
    }
}
