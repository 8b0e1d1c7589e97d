//! Tries: what the kernel says when it is asked to do the thing.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink};

/// Whether a program runs and succeeds.
pub(super) fn runs(program: &str, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|it| it.success())
}

/// Whether a program is on the path, or where only root has it on the path.
pub(super) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let admin = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path)
        .chain(admin)
        .any(|dir: std::path::PathBuf| dir.join(program).is_file())
}

/// The kind of file system that a directory is on: that of the longest mount
/// point above it (proc_pid_mountinfo(5)).
pub(super) fn file_system(dir: &Path) -> String {
    let text = std::fs::read_to_string("/proc/self/mountinfo");
    let text = text.unwrap_or_default();
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        let kind = after.split(' ').next()?;
        dir.starts_with(point).then(|| (point.len(), kind.to_owned()))
    };
    // Of several on one spot the last is on top; max_by_key takes the last.
    let mounts = text.lines().filter_map(parse);
    let found = mounts.max_by_key(|(length, _)| *length);
    found.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

/// Mounts an overlay whose upper directory is below `dir`, in a mount
/// namespace that ends with the shell, and writes through it.
pub(super) fn overlay_mounts(dir: &Path) -> bool {
    let Ok(place) = tempfile::tempdir_in(dir) else { return false };
    let script = "cd \"$1\" && mkdir lower upper work merged && \
                  mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work \
                  overlay merged && touch merged/x";
    let place = place.path().to_string_lossy();
    runs("unshare", &["--mount", "sh", "-c", script, "doctor", &place])
}

/// Asks nf_tables for its generation. A kernel without it does not know the
/// question; `None` if the user may not ask.
pub(super) fn nf_tables() -> Option<bool> {
    // nlmsghdr: length, type NFT_MSG_GETGEN of subsystem 10, NLM_F_REQUEST,
    // sequence, port; nfgenmsg: family, version, resource.
    const KIND: u16 = (10 << 8) | 16;
    let mut question = Vec::with_capacity(20);
    question.extend(20u32.to_ne_bytes());
    question.extend(KIND.to_ne_bytes());
    question.extend(1u16.to_ne_bytes());
    question.extend([0; 12]);
    let socket = rustix::net::socket(
        AddressFamily::NETLINK,
        SocketType::RAW,
        Some(netlink::NETFILTER),
    );
    let Ok(socket) = socket else { return Some(false) };
    rustix::net::send(&socket, &question, SendFlags::empty()).ok()?;
    let mut answer = [0u8; 256];
    rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty()).ok()?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    // NLMSG_ERROR, with the errno after the header.
    if kind != 2 {
        return Some(true);
    }
    let code = [answer[16], answer[17], answer[18], answer[19]];
    match Errno::from_raw_os_error(-i32::from_ne_bytes(code)) {
        Errno::PERM => None,
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_found_for_a_directory_below_it() {
        assert_eq!(file_system(Path::new("/proc/self")), "proc");
        assert_eq!(file_system(Path::new("/sys/kernel")), "sysfs");
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_does_not_run() {
        assert!(runs("true", &[]));
        assert!(!runs("false", &[]));
        assert!(!runs("/nosuch", &[]));
        assert!(!installed("nosuch-program"));
    }
}
