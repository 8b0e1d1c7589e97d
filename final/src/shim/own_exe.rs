//! Starting this very binary again, but not from a place one could write to.
//!
//! Until it executes the command, the first process of a container *is* this
//! binary, and `/proc/1/exe` inside leads to the host's copy of it. A
//! container whose command is `/proc/self/exe` can keep that door open and
//! write through it (CVE-2019-5736). So shims run from a read-only bind
//! mount of the binary that exists only as a file descriptor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static SEALED: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// A path that executes this binary read-only. Where the kernel does not let
/// an ordinary user make such a mount it is the plain one; the containers of
/// that user can write to nothing that the user could not.
///
/// Both work for a binary that has been replaced or deleted on disk since.
pub(super) fn path() -> PathBuf {
    let plain = Path::new("/proc/self/exe");
    let sealed = SEALED.get_or_init(|| namespaces::read_only_view(plain).ok());
    match sealed {
        Some(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into(),
        None => plain.to_owned(),
    }
}
