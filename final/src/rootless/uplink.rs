//! The way out of the engine's network: pasta(1) or slirp4netns(1).
//!
//! A network namespace of an ordinary user has no cable to anywhere, for
//! the other end would be in the host's network, where he has no right.
//! These two programs are the way out. Inside they are a network interface
//! (tun(4)); outside they are a program like any other, which makes an
//! ordinary connection for each one that it sees inside.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_api::state::{read_json, write_json};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open,
    waitid,
};
use serde::{Deserialize, Serialize};

use super::client::Keeper;
use crate::shim::start_ticks;

/// Both programs are told to use these, so that it does not matter which of
/// them is there. Nobody outside sees them.
const ADDRESS: &str = "10.0.2.100";
const PREFIX: &str = "24";
const GATEWAY: &str = "10.0.2.2";
/// Where both answer questions about names, from the host's resolver.
pub(super) const RESOLVER: &str = "10.0.2.3";
/// There is no cable whose frames would have to be small.
const MTU: &str = "65520";

/// How long a program may take to set up the interface.
const PATIENCE: Duration = Duration::from_secs(10);

const SLIRP_LOG: &str = "slirp4netns.log";

/// The program that runs, kept in a file: it outlives the daemon.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    program: String,
    pid: i32,
    start_ticks: u64,
    /// Whose namespaces it serves, lest a new keeper trusts an old one's.
    network: PathBuf,
}

fn file(dir: &Path) -> PathBuf {
    dir.join("uplink.json")
}

fn running(dir: &Path) -> Option<Running> {
    let known: Running = read_json(&file(dir)).ok()?;
    (start_ticks(known.pid) == Some(known.start_ticks)).then_some(known)
}

/// The process of the program, if it runs.
pub(super) fn pid(dir: &Path) -> Option<i32> {
    running(dir).map(|it| it.pid)
}

/// A sentence for the user if the program was there and has ended.
pub(super) fn lost(dir: &Path) -> Option<String> {
    let known: Running = read_json(&file(dir)).ok()?;
    let runs = start_ticks(known.pid) == Some(known.start_ticks);
    (!runs).then(|| {
        format!(
            "{}, by which containers and pulls reached the outside, has \
             ended; published ports go on: restart the daemon, which starts \
             it again",
            known.program
        )
    })
}

/// Returns when the program has ended, or at once if there is none.
pub(super) fn wait(dir: &Path) {
    let Some(pid) = pid(dir).and_then(Pid::from_raw) else { return };
    let process = pidfd_open(pid, PidfdFlags::empty());
    if let Ok(process) = process {
        let mut wait = [PollFd::new(&process, PollFlags::IN)];
        while poll(&mut wait, None) == Err(Errno::INTR) {}
        // slirp4netns is our child if it was we who started it.
        let ended = WaitId::PidFd(process.as_fd());
        let _ = waitid(ended, WaitIdOptions::EXITED);
    }
}

/// Ends the program; none is fine.
pub(super) fn end(dir: &Path) {
    if let Some(pid) = pid(dir).and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    for it in [file(dir), dir.join(SLIRP_LOG)] {
        let _ = std::fs::remove_file(it);
    }
}

/// Sees to it that a program leads out of the keeper's network.
///
/// # Errors
/// A sentence for the user: why there is none, and what to do.
pub(super) fn ensure(dir: &Path, keeper: &Keeper) -> Result<(), String> {
    let network = format!("/proc/{}/ns/net", keeper.pid());
    let network = std::fs::read_link(&network)
        .map_err(|error| format!("cannot read {network}: {error}"))?;
    if running(dir).is_some_and(|it| it.network == network) {
        return Ok(());
    }
    end(dir);
    can_open_tun()?;
    let mut refused = Vec::new();
    for (program, start) in PROGRAMS {
        match start(dir, keeper) {
            Ok(pid) => {
                let known = Running {
                    program: (*program).to_owned(),
                    pid,
                    start_ticks: start_ticks(pid).unwrap_or(0),
                    network,
                };
                return write_json(&file(dir), &known)
                    .map_err(|error| error.to_string());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => refused.push(format!("{program}: {error}")),
        }
    }
    Err(match refused.is_empty() {
        true => "neither pasta (package passt) nor slirp4netns is installed: \
                 install one of them and restart the daemon"
            .to_owned(),
        false => refused.join("; "),
    })
}

/// What both programs need first. Most distributions let everybody open it:
/// it is worth something only to root of a network namespace.
fn can_open_tun() -> Result<(), String> {
    const TUN: &str = "/dev/net/tun";
    match File::options().read(true).write(true).open(TUN) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no {TUN}; as root: modprobe tun"))
        }
        Err(error) => Err(format!(
            "this user may not open {TUN}: {error}; as root: chmod 0666 {TUN}"
        )),
    }
}

type Start = fn(&Path, &Keeper) -> std::io::Result<i32>;

/// pasta first, which copies less.
const PROGRAMS: &[(&str, Start)] =
    &[("pasta", pasta), ("slirp4netns", slirp4netns)];

/// Goes into the background by itself once all is set up.
fn pasta(dir: &Path, keeper: &Keeper) -> std::io::Result<i32> {
    let pid_file = dir.join("pasta.pid");
    let _ = std::fs::remove_file(&pid_file);
    let output = Command::new("pasta")
        .args(["--config-net", "--quiet", "--ns-ifname", "tap0"])
        .args(["--address", ADDRESS, "--netmask", PREFIX])
        .args(["--gateway", GATEWAY, "--mtu", MTU])
        .args(["--dns-forward", RESOLVER])
        // Ports are published by the keeper. The host's own loopback is not
        // for containers (`--no-map-gw`), but the engine may pull from a
        // registry there (`--tcp-ns`).
        .args(["--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none"])
        .args(["--tcp-ns", "auto", "--udp-ns", "none"])
        .arg("--pid")
        .arg(&pid_file)
        .arg(keeper.pid().to_string())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(std::io::Error::other(last_line(&said)));
    }
    let text = std::fs::read_to_string(&pid_file)?;
    let _ = std::fs::remove_file(&pid_file);
    text.trim().parse().map_err(std::io::Error::other)
}

/// Writes a byte when all is set up, and ends with the keeper.
fn slirp4netns(dir: &Path, keeper: &Keeper) -> std::io::Result<i32> {
    let log = dir.join(SLIRP_LOG);
    let lifeline = keeper.lifeline()?;
    let (ready, says_ready) = rustix::pipe::pipe()?;
    close_on_exec(&ready, true)?;
    close_on_exec(&lifeline, false)?;
    let mut child = Command::new("slirp4netns")
        .args(["--configure", "--mtu", MTU, "--disable-host-loopback"])
        .args(["--enable-ipv6", "--enable-sandbox"])
        .arg(format!("--ready-fd={}", says_ready.as_raw_fd()))
        .arg(format!("--exit-fd={}", lifeline.as_raw_fd()))
        .arg(keeper.pid().to_string())
        .arg("tap0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(File::create(&log)?))
        .spawn()?;
    drop(says_ready);
    let mut byte = [0];
    let ready = read_within(ready, &mut byte);
    if !matches!(ready, Ok(1)) {
        let _ = child.kill();
        child.wait()?;
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        return Err(std::io::Error::other(last_line(&said)));
    }
    Ok(child.id().cast_signed())
}

/// Where such programs say why they gave up.
fn last_line(said: &str) -> String {
    let last = said.trim().lines().next_back();
    last.unwrap_or("it ended without a word").to_owned()
}

fn close_on_exec(fd: &OwnedFd, close: bool) -> std::io::Result<()> {
    let mut flags = fcntl_getfd(fd)?;
    flags.set(FdFlags::CLOEXEC, close);
    Ok(fcntl_setfd(fd, flags)?)
}

fn read_within(pipe: OwnedFd, buffer: &mut [u8]) -> std::io::Result<usize> {
    let patience = Timespec::try_from(PATIENCE).ok();
    let mut wait = [PollFd::new(&pipe, PollFlags::IN)];
    if poll(&mut wait, patience.as_ref())? == 0 {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    File::from(pipe).read(buffer)
}
