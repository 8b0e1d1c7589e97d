//! What there is to know about a machine before the first chapter.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode as Bits, access, stat};
use serde::{Deserialize, Serialize};

use super::probe;

/// Where the stages and the engine keep their files, or will: in a
/// devcontainer these are volumes, and not part of its own overlay.
const STATE: [&str; 3] = ["/var/lib/skiff-steps", "/var/lib/skiff", "/var/lib"];
const CGROUPS: &str = "/sys/fs/cgroup";

/// A machine, as seen by the user who asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `uname -r`
    pub(super) kernel: String,
    /// `PRETTY_NAME` of os-release(5).
    pub(super) system: String,
    /// 0 is root.
    pub(super) uid: u32,
    /// What this is itself inside of: `docker`, `podman`…
    pub(super) inside: Option<String>,
    pub(super) cgroups: Cgroups,
    pub(super) user_namespaces: UserNamespaces,
    /// Whether new mount and PID namespaces can be made as this user, without
    /// a user namespace. Tried.
    pub(super) namespaces: bool,
    pub(super) overlay: Overlay,
    /// Whether the kernel has nf_tables; `None` if it would not tell.
    pub(super) nf_tables: Option<bool>,
    /// Whether the kernel has seccomp filters.
    pub(super) seccomp: bool,
    /// Free megabytes below `/var/lib`.
    pub(super) free_mb: u64,
    /// Programs that the chapters use by hand and that are not installed.
    pub(super) missing_programs: Vec<String>,
}

/// Control groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cgroups {
    pub(super) mode: Mode,
    /// The controllers that this user may set limits with.
    pub(super) controllers: Vec<String>,
    /// The uppermost group that this user may write to.
    pub(super) writable: Option<PathBuf>,
}

/// The generations of control groups that are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    None,
    V1,
    /// Both: what systemd calls hybrid, and WSL2 has.
    Both,
    V2,
}

/// The gates in front of user namespaces, by which an ordinary user gets
/// containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct UserNamespaces {
    /// Whether one can be made, with a user mapped. Tried.
    pub(super) work: bool,
    /// `user.max_user_namespaces`
    pub(super) max: Option<u64>,
    /// Debian's `kernel.unprivileged_userns_clone`
    pub(super) clone_sysctl: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`
    pub(super) apparmor_gate: Option<u64>,
    /// `newuidmap` is installed.
    pub(super) newuidmap: bool,
    /// `/etc/subuid` has a range for this user.
    pub(super) subordinate_ids: bool,
    /// `None` on machines that were recorded before this was asked.
    #[serde(default)]
    pub(super) way_out: Option<WayOut>,
}

/// What connects a user namespace's network with the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WayOut {
    /// An ordinary user may open `/dev/net/tun`.
    pub(super) tun: bool,
    /// pasta or slirp4netns is installed.
    pub(super) program: bool,
}

/// The file system of chapter 5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Overlay {
    /// The kernel knows it.
    pub(super) known: bool,
    /// The kind of file system below `/var/lib`.
    pub(super) below: String,
    /// Whether one with its writable layer below `/var/lib` can be mounted.
    /// Tried, by who may mount; `None` by others.
    pub(super) mounts: Option<bool>,
}

impl Facts {
    /// Looks at this machine. What is tried is tried in namespaces that go
    /// with the program that tries it.
    pub(super) fn gather() -> Facts {
        let uid = rustix::process::getuid().as_raw();
        let namespaces = probe::runs("unshare", &["--mount", "--pid", "true"]);
        let kernel = rustix::system::uname();
        Facts {
            kernel: kernel.release().to_string_lossy().into_owned(),
            system: system(),
            uid,
            inside: inside(),
            cgroups: Cgroups::gather(),
            user_namespaces: UserNamespaces::gather(uid),
            namespaces,
            overlay: Overlay::gather(namespaces),
            nf_tables: probe::nf_tables(),
            seccomp: status_has("Seccomp:"),
            free_mb: free_mb(state_dir()),
            missing_programs: missing_programs(),
        }
    }

    /// `(6, 8)`
    pub(super) fn kernel_version(&self) -> (u32, u32) {
        let mut numbers = self.kernel.split(|it: char| !it.is_ascii_digit());
        let mut next =
            || numbers.next().and_then(|it| it.parse().ok()).unwrap_or(0);
        (next(), next())
    }

    /// Windows' subsystem for Linux has a kernel of Microsoft's.
    pub(super) fn is_wsl(&self) -> bool {
        self.kernel.to_ascii_lowercase().contains("microsoft")
    }
}

impl Cgroups {
    fn gather() -> Cgroups {
        let mounts = read("/proc/self/mountinfo");
        let has = |kind: &str| mounts.contains(&format!(" - {kind} "));
        let mode = match (has("cgroup"), has("cgroup2")) {
            (false, false) => Mode::None,
            (true, false) => Mode::V1,
            (true, true) => Mode::Both,
            (false, true) => Mode::V2,
        };
        let writable = writable_group(mode);
        let controllers = match (mode, &writable) {
            (_, None) => Vec::new(),
            (Mode::V2, Some(dir)) => words(&dir.join("cgroup.controllers")),
            _ => v1_controllers(&read("/proc/cgroups")),
        };
        Cgroups { mode, controllers, writable }
    }
}

/// The uppermost group on the way from the root to ours that may be written:
/// what was delegated to this user (cgroups(7)).
fn writable_group(mode: Mode) -> Option<PathBuf> {
    if mode != Mode::V2 {
        let dir = Path::new(CGROUPS).join("memory");
        return may_write(&dir).then_some(dir);
    }
    let own = read("/proc/self/cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut dir = PathBuf::from(CGROUPS);
    let mut dirs = vec![dir.clone()];
    for name in Path::new(own) {
        dir.push(name);
        dirs.push(dir.clone());
    }
    dirs.into_iter().find(|dir| may_write(dir))
}

fn may_write(dir: &Path) -> bool {
    access(dir, Access::WRITE_OK).is_ok()
}

/// Lines of `/proc/cgroups`: name, hierarchy, groups, enabled.
fn v1_controllers(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|it| !it.starts_with('#'))?;
        (words.nth(2) == Some("1")).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

impl UserNamespaces {
    fn gather(uid: u32) -> UserNamespaces {
        UserNamespaces {
            work: probe::runs("unshare", &["--user", "-r", "true"]),
            max: number("/proc/sys/user/max_user_namespaces"),
            clone_sysctl: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_gate: number(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            ),
            newuidmap: probe::installed("newuidmap"),
            subordinate_ids: has_range(&read("/etc/subuid"), uid),
            way_out: Some(WayOut::gather(uid)),
        }
    }
}

impl WayOut {
    fn gather(uid: u32) -> WayOut {
        let device = "/dev/net/tun";
        // Root may open it always; what counts is what others may.
        let others = Bits::ROTH | Bits::WOTH;
        let tun = match uid {
            0 => stat(device).is_ok_and(|it| {
                Bits::from_raw_mode(it.st_mode).contains(others)
            }),
            _ => access(device, Access::READ_OK | Access::WRITE_OK).is_ok(),
        };
        let program =
            ["pasta", "slirp4netns"].into_iter().any(probe::installed);
        WayOut { tun, program }
    }
}

/// `alice:100000:65536`, or the number instead of the name (subuid(5)).
fn has_range(subuid: &str, uid: u32) -> bool {
    let passwd = read("/etc/passwd");
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    let names = [entry.unwrap_or_default(), uid.to_string()];
    subuid.lines().any(|line| {
        line.split(':').next().is_some_and(|it| names.contains(&it.to_owned()))
    })
}

impl Overlay {
    fn gather(may_mount: bool) -> Overlay {
        let below = probe::file_system(state_dir());
        let known = || read("/proc/filesystems").contains("\toverlay\n");
        let mounts = may_mount.then(|| probe::overlay_mounts(state_dir()));
        // Mounting one loads the module where it is one.
        Overlay { known: mounts == Some(true) || known(), below, mounts }
    }
}

fn state_dir() -> &'static Path {
    let mut dirs = STATE.iter().map(Path::new);
    dirs.find(|it| it.is_dir()).unwrap_or(Path::new("/"))
}

fn system() -> String {
    let text = read("/etc/os-release");
    let line = text.lines().find_map(|it| it.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("an unknown system").trim_matches('"').to_owned()
}

fn inside() -> Option<String> {
    let marks = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
    let mark = marks.iter().find(|(file, _)| Path::new(file).exists());
    mark.map(|(_, name)| (*name).to_owned())
}

fn status_has(key: &str) -> bool {
    read("/proc/self/status").lines().any(|line| line.starts_with(key))
}

fn free_mb(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |it| (it.f_bavail * it.f_frsize) >> 20)
}

fn missing_programs() -> Vec<String> {
    let used = ["unshare", "nsenter", "mount", "ip", "ps", "git", "curl"];
    let missing = used.iter().filter(|it| !probe::installed(it));
    missing.map(|it| (*it).to_owned()).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn number(path: &str) -> Option<u64> {
    read(path).trim().parse().ok()
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.uid {
            0 => "root".to_owned(),
            uid => format!("user {uid}"),
        };
        write!(f, "{} with Linux {}, as {who}", self.system, self.kernel)?;
        if let Some(outer) = &self.inside {
            write!(f, ", inside {outer}")?;
        }
        if self.is_wsl() {
            write!(f, ", WSL2")?;
        }
        let mode = match self.cgroups.mode {
            Mode::None => "not mounted",
            Mode::V1 => "v1",
            Mode::Both => "v1 and v2",
            Mode::V2 => "v2",
        };
        write!(f, "\ncontrol groups {mode}")?;
        match self.cgroups.controllers.as_slice() {
            [] => write!(f, ", no controller for you")?,
            all => write!(f, ", controllers {}", all.join(" "))?,
        }
        let below = &self.overlay.below;
        write!(f, "\n/var/lib is {below} with {} MB free", self.free_mb)
    }
}
