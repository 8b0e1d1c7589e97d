//! The place in which transcripts run: this machine, but with the engine's
//! directories, the network and the process table its own.
//!
//! `unshare(1)` makes it from the same parts that chapter 2 builds with: a
//! mount, a network and a PID namespace. When the shell that is PID 1 there
//! ends, the kernel ends all that it left running.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Longest time that one chapter's transcripts may take, in seconds.
const LIMIT: &str = "600";

/// Run before a chapter's own commands. `$1` is the data root to show at
/// `/var/lib/skiff`, which keeps the images from chapter to chapter.
const BEFORE: &str = r#"
set -u
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/home "$1"
mount --bind "$1" /var/lib/skiff
mount -t tmpfs -o mode=755 tmpfs /var/lib/skiff-steps
export HOME=/run/home PATH="$2:$PATH" CARGO_NET_OFFLINE=true TERM=dumb
export CARGO_TERM_COLOR=never CARGO_TERM_QUIET=true
unset RUST_BACKTRACE DOCKER_HOST
ip link set lo up
# PIDs of four digits, as on a machine that has been up for a while; also
# the rule by which the text tells a PID from other numbers.
echo 3400 > /proc/sys/kernel/ns_last_pid
"#;

/// Run after a chapter's own commands: containers go, images stay.
const AFTER: &str = r#"
if [ -S /run/skiff.sock ]; then
  skiff rm -f -v $(skiff ps -aq) >/dev/null 2>&1
fi
"#;

/// Why transcripts cannot run here, if they cannot.
pub(crate) fn missing() -> Option<String> {
    if !nix_is_root() {
        return Some("making namespaces this way needs root".into());
    }
    for program in ["unshare", "mount", "ip", "bash"] {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|dir| dir.join(program).exists())
        });
        if !found {
            return Some(format!("`{program}` is not installed"));
        }
    }
    None
}

fn nix_is_root() -> bool {
    // The owner of our own /proc entry is our effective user (proc(5)).
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Runs `script` with bash in a fresh sandbox; returns what it printed,
/// standard output and error in the order in which they were written.
pub(crate) fn run(
    root: &Path,
    script: &str,
    network: Network,
) -> Result<String> {
    let mount_points = MountPoints::make()?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("script");
    fs::write(&file, format!("{BEFORE}\n{script}\n{AFTER}"))?;
    // A file and not a pipe: a daemon started on the way may hold the other
    // end of a pipe open for ever.
    let printed = dir.path().join("printed");
    let out = File::create(&printed)?;
    let status = command(root, &file, network)
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .status()
        .context("run unshare(1)")?;
    drop(mount_points);
    let printed = String::from_utf8_lossy(&fs::read(&printed)?).into_owned();
    match status.code() {
        Some(124) => bail!("not done after {LIMIT} s; so far:\n{printed}"),
        _ => Ok(printed),
    }
}

/// Which network a sandbox sees.
#[derive(Clone, Copy)]
pub(crate) enum Network {
    /// Loopback only, its own.
    Own,
    /// This machine's, to fetch what images are made of.
    Host,
}

fn command(root: &Path, script: &Path, network: Network) -> Command {
    let mut command = Command::new("timeout");
    command.args([LIMIT, "unshare", "--mount", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc", "--uts", "--ipc"]);
    if matches!(network, Network::Own) {
        command.arg("--net");
    }
    command.arg("bash").arg(script);
    command.arg(data_root(root)).arg(root.join("target/debug"));
    command.current_dir(root);
    command
}

fn data_root(root: &Path) -> PathBuf {
    root.join("target/book-images")
}

/// The mount points that a sandbox needs on the host; those that were not
/// there before are taken away again.
struct MountPoints(Vec<PathBuf>);

impl MountPoints {
    fn make() -> Result<Self> {
        let mut made = MountPoints(Vec::new());
        for dir in ["/var/lib/skiff", "/var/lib/skiff-steps"] {
            let dir = PathBuf::from(dir);
            if !dir.exists() {
                fs::create_dir_all(&dir)
                    .with_context(|| format!("create {}", dir.display()))?;
                made.0.push(dir);
            }
        }
        Ok(made)
    }
}

impl Drop for MountPoints {
    fn drop(&mut self) {
        for dir in &self.0 {
            // Fails if somebody else has begun to use it: then it stays.
            let _ = fs::remove_dir(dir);
        }
    }
}
