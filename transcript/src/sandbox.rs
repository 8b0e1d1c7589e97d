//! The place in which sessions run: this machine, but with the engine's
//! directories, the network and the process table its own.
//! `scripts/sandbox` makes it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Which network a sandbox sees.
#[derive(Debug, Clone, Copy)]
pub enum Network {
    /// Loopback only, its own.
    Own,
    /// This machine's, to fetch what images are made of.
    Host,
}

/// Why sessions cannot run here, if they cannot.
pub fn missing() -> Option<String> {
    // The owner of our own /proc entry is our effective user (proc(5)).
    if !fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        return Some("making namespaces this way needs root".into());
    }
    let programs = ["unshare", "mount", "ip", "bash", "timeout"];
    let absent = programs.iter().find(|program| !installed(program))?;
    Some(format!("`{absent}` is not installed"))
}

/// Whether a program of this name is on the path.
pub fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| dir.join(program).exists())
    })
}

/// Runs `script` with bash in a fresh sandbox, in the workspace `root`;
/// returns what it printed, standard output and error in the order in which
/// they were written. With `data` that directory stands at `/var/lib/skiff`,
/// otherwise an empty one.
///
/// # Errors
/// The sandbox cannot be made, or the script fails or takes ten minutes; the
/// message has what it printed until then.
pub fn run(
    root: &Path,
    script: &str,
    network: Network,
    data: Option<&Path>,
) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("script");
    fs::write(&file, script)?;
    // A file and not a pipe: a daemon started on the way may hold the other
    // end of a pipe open for ever.
    let printed = dir.path().join("printed");
    let out = File::create(&printed)?;
    let mut sandbox = Command::new(root.join("scripts/sandbox"));
    // A session types `cargo run` as somebody would in a shell.
    cargo::forget_package(&mut sandbox);
    if let Some(data) = data {
        sandbox.arg("-d").arg(data);
    }
    if let Network::Host = network {
        sandbox.arg("-n");
    }
    let status = sandbox
        .arg("bash")
        .arg(&file)
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .status()
        .context("run scripts/sandbox")?;
    let printed = fs::read(&printed)?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    match status.success() {
        true => Ok(printed),
        false => bail!("the sandbox ended with {status}:\n{printed}"),
    }
}
