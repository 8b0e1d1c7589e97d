//! From facts to verdicts: which chapter works, and the one command for what
//! does not.

use std::fmt;

use super::facts::{Facts, Mode};

/// How much of a chapter can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Full,
    Degraded,
    Impossible,
}

/// Something that is in the way, and the command that takes it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    level: Level,
    what: String,
    command: String,
}

/// A chapter with what is in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    chapter: &'static str,
    obstacles: Vec<Obstacle>,
}

impl Verdict {
    fn level(&self) -> Level {
        let levels = self.obstacles.iter().map(|it| it.level);
        levels.max().unwrap_or(Level::Full)
    }
}

/// All chapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report(Vec<Verdict>);

impl Report {
    /// How many chapters cannot be done.
    pub(super) fn impossible(&self) -> usize {
        let chapters = self.0.iter().filter(|it| it.chapter != ROOTLESS);
        chapters.filter(|it| it.level() == Level::Impossible).count()
    }
}

/// Not a chapter: what the finale does for ordinary users.
const ROOTLESS: &str = "rootless";

type Check = fn(&Facts) -> Option<Obstacle>;

/// What each chapter needs. An obstacle that has another for its cause is
/// left out: a chapter lists its checks in the order of causes, and the
/// first that makes it impossible ends the list.
const CHAPTERS: [(&str, &[Check]); 8] = [
    ("1 cli-api", &[programs]),
    ("2 namespaces", &[kernel, root, namespaces, seccomp, programs]),
    ("3 cgroups", &[kernel, root, groups, controllers, old_groups]),
    ("4 layers", &[kernel, root, namespaces, disk]),
    ("5 overlay-cow", &[kernel, root, namespaces, overlay, disk]),
    ("6 volumes", &[kernel, root, namespaces]),
    ("7 the finale", &[kernel, root, namespaces, overlay, firewall, disk]),
    (ROOTLESS, &[kernel, user_namespaces, id_ranges, way_out, delegation]),
];

/// The verdicts on a machine.
pub(super) fn judge(facts: &Facts) -> Report {
    let verdict = |(chapter, checks): &(&'static str, &[Check])| {
        let mut obstacles: Vec<Obstacle> = Vec::new();
        for check in *checks {
            obstacles.extend(check(facts));
            if obstacles.iter().any(|it| it.level == Level::Impossible) {
                break;
            }
        }
        Verdict { chapter, obstacles }
    };
    Report(CHAPTERS.iter().map(verdict).collect())
}

fn degraded(
    what: impl Into<String>,
    command: impl Into<String>,
) -> Option<Obstacle> {
    let (what, command) = (what.into(), command.into());
    Some(Obstacle { level: Level::Degraded, what, command })
}

fn impossible(
    what: impl Into<String>,
    command: impl Into<String>,
) -> Option<Obstacle> {
    let (what, command) = (what.into(), command.into());
    Some(Obstacle { level: Level::Impossible, what, command })
}

/// The way out where the outer container or kernel is the limit.
const ANOTHER_MACHINE: &str = "limactl start template://ubuntu-lts";

/// Docker's default profile lets nobody make namespaces inside.
const PRIVILEGED: &str = "docker run --privileged --cgroupns=private IMAGE";

/// `sudo -s` would put a path of its own in place of the user's, on which
/// there is no Cargo, and its home directory has no toolchain.
const ROOT_SHELL: &str = r#"sudo env PATH="$PATH:/usr/sbin" HOME="$HOME" bash"#;

fn kernel(facts: &Facts) -> Option<Obstacle> {
    if facts.kernel_version() >= (5, 12) {
        return None;
    }
    let command =
        if facts.is_wsl() { "wsl.exe --update" } else { ANOTHER_MACHINE };
    impossible("the kernel is older than 5.12 (mount_setattr(2))", command)
}

fn root(facts: &Facts) -> Option<Obstacle> {
    if facts.uid == 0 {
        return None;
    }
    let what = "the commands of this chapter need root";
    match facts.user_namespaces.work {
        true => degraded(what, ROOT_SHELL),
        false => impossible(what, ROOT_SHELL),
    }
}

fn namespaces(facts: &Facts) -> Option<Obstacle> {
    // An ordinary user has been told already.
    if facts.namespaces || facts.uid != 0 {
        return None;
    }
    match &facts.inside {
        Some(outer) => impossible(
            format!("{outer} does not let you make namespaces in here"),
            PRIVILEGED,
        ),
        None => impossible(
            "root may not make namespaces here (a confined shell, or no \
             CAP_SYS_ADMIN)",
            ANOTHER_MACHINE,
        ),
    }
}

fn seccomp(facts: &Facts) -> Option<Obstacle> {
    let what = "the kernel has no seccomp filters: containers run without";
    if facts.seccomp { None } else { degraded(what, ANOTHER_MACHINE) }
}

fn programs(facts: &Facts) -> Option<Obstacle> {
    let missing = &facts.missing_programs;
    if missing.is_empty() {
        return None;
    }
    let package = |program: &String| match program.as_str() {
        "ip" if is_fedora(facts) => "iproute",
        "ip" => "iproute2",
        "ps" if is_fedora(facts) => "procps-ng",
        "ps" => "procps",
        "git" => "git",
        "curl" => "curl",
        _ => "util-linux",
    };
    let mut packages: Vec<&str> = missing.iter().map(package).collect();
    packages.dedup();
    let what = format!("not installed: {}", missing.join(", "));
    degraded(what, install(facts, &packages.join(" ")))
}

fn is_fedora(facts: &Facts) -> bool {
    facts.system.starts_with("Fedora")
}

fn install(facts: &Facts, packages: &str) -> String {
    match is_fedora(facts) {
        true => format!("sudo dnf install {packages}"),
        false => format!("sudo apt-get install {packages}"),
    }
}

fn groups(facts: &Facts) -> Option<Obstacle> {
    let groups = &facts.cgroups;
    match (groups.mode, &groups.writable, &facts.inside) {
        (Mode::None, _, _) => impossible(
            "no control groups are mounted",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        // An ordinary user has been told to become root, which may.
        (_, None, _) if facts.uid != 0 => None,
        (_, None, Some(outer)) => impossible(
            format!("{outer} shows you control groups read-only"),
            PRIVILEGED,
        ),
        (_, None, None) => impossible(
            "control groups are mounted read-only",
            "mount -o remount,rw /sys/fs/cgroup",
        ),
        _ => None,
    }
}

fn missing_controllers(facts: &Facts) -> Option<String> {
    let have = &facts.cgroups.controllers;
    let needed = ["cpu", "memory", "pids"];
    let missing: Vec<&str> = needed
        .into_iter()
        .filter(|it| !have.iter().any(|name| name == it))
        .collect();
    let what = format!("no limits on {}", missing.join(", "));
    (!missing.is_empty()).then_some(what)
}

fn controllers(facts: &Facts) -> Option<Obstacle> {
    // An ordinary user has been told to become root, which has them all.
    let what = missing_controllers(facts).filter(|_| facts.uid == 0)?;
    degraded(
        format!("{what}: switched off when the kernel was started"),
        kernel_argument(facts, "cgroup_enable=memory"),
    )
}

fn delegation(facts: &Facts) -> Option<Obstacle> {
    let what = missing_controllers(facts).filter(|_| facts.uid != 0)?;
    degraded(
        format!("{what}: no controllers are delegated to you"),
        format!(
            "sudo systemctl set-property user@{}.service \
             Delegate=\"cpu memory pids io\"",
            facts.uid
        ),
    )
}

/// The command that starts the kernel with one argument more, from the next
/// start on.
fn kernel_argument(facts: &Facts, argument: &str) -> String {
    if facts.inside.is_some() {
        return format!(
            "on the host: start the kernel with {argument} on its command line"
        );
    }
    if is_fedora(facts) {
        return format!("sudo grubby --update-kernel=ALL --args={argument}");
    }
    if facts.system.starts_with("Raspbian") {
        return format!(
            "sudo sed -i 's/$/ {argument}/' /boot/firmware/cmdline.txt"
        );
    }
    format!(
        "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{argument} /' \
         /etc/default/grub && sudo update-grub"
    )
}

/// Works, but the files have other names than in the text.
fn old_groups(facts: &Facts) -> Option<Obstacle> {
    let what = "control groups of the first generation: most files have \
                other names than in the text, which has a table of them";
    match facts.cgroups.mode {
        Mode::V1 | Mode::Both if facts.is_wsl() => degraded(
            what,
            "powershell.exe 'Add-Content ~/.wslconfig \
             \"[wsl2]`nkernelCommandLine=cgroup_no_v1=all\"; wsl --shutdown'",
        ),
        Mode::V1 | Mode::Both => degraded(
            what,
            kernel_argument(facts, "systemd.unified_cgroup_hierarchy=1"),
        ),
        Mode::None | Mode::V2 => None,
    }
}

fn overlay(facts: &Facts) -> Option<Obstacle> {
    let overlay = &facts.overlay;
    match (overlay.known, overlay.mounts) {
        (_, Some(true)) | (true, None) => None,
        (false, _) => {
            impossible("the kernel has no overlayfs", "modprobe overlay")
        }
        (true, Some(false)) => degraded(
            format!(
                "overlayfs does not take {} for its writable layer",
                overlay.below
            ),
            "mkdir -p /var/lib/skiff /var/lib/skiff-steps; for dir in \
             /var/lib/skiff /var/lib/skiff-steps; do mount -t tmpfs tmpfs \
             $dir; done",
        ),
    }
}

fn firewall(facts: &Facts) -> Option<Obstacle> {
    match facts.nf_tables {
        Some(false) => degraded(
            "no nf_tables: published ports go through the daemon, and there \
             is no way out of a bridge network",
            "modprobe nf_tables",
        ),
        _ => None,
    }
}

fn disk(facts: &Facts) -> Option<Obstacle> {
    let free = facts.free_mb;
    if free >= 2000 {
        return None;
    }
    let what = format!("{free} MB free below /var/lib; images need 2000");
    degraded(what, "skiff system prune --all")
}

fn user_namespaces(facts: &Facts) -> Option<Obstacle> {
    let gates = &facts.user_namespaces;
    // The gates are for others than root, so that root's try proves nothing.
    if gates.apparmor_gate == Some(1) {
        return impossible(
            "AppArmor keeps ordinary users from user namespaces",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    if gates.clone_sysctl == Some(0) {
        return impossible(
            "the kernel keeps ordinary users from user namespaces",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if gates.max == Some(0) {
        return impossible(
            "there may be no user namespaces at all",
            "sudo sysctl -w user.max_user_namespaces=15000",
        );
    }
    match (gates.work, &facts.inside) {
        (true, _) => None,
        (false, Some(_)) => {
            impossible("user namespaces are kept from you here", PRIVILEGED)
        }
        (false, None) => impossible(
            "user namespaces cannot be made, and no known gate says why",
            "strace -f unshare --user -r true",
        ),
    }
}

fn id_ranges(facts: &Facts) -> Option<Obstacle> {
    let gates = &facts.user_namespaces;
    if facts.uid == 0 {
        return None;
    }
    if !gates.newuidmap {
        let package = if is_fedora(facts) { "shadow-utils" } else { "uidmap" };
        return degraded(
            "no newuidmap: a container has one user only",
            install(facts, package),
        );
    }
    if !gates.subordinate_ids {
        return degraded(
            "/etc/subuid has no range for you: a container has one user only",
            "sudo usermod --add-subuids 100000-165535 --add-subgids \
             100000-165535 $USER",
        );
    }
    None
}

fn way_out(facts: &Facts) -> Option<Obstacle> {
    let way_out = facts.user_namespaces.way_out.as_ref()?;
    if !way_out.program {
        return degraded(
            "neither pasta nor slirp4netns: containers of an ordinary user \
             reach each other and nothing else",
            install(facts, "slirp4netns"),
        );
    }
    if !way_out.tun {
        return degraded(
            "ordinary users may not open /dev/net/tun: their containers \
             reach each other and nothing else",
            "sudo chmod 0666 /dev/net/tun",
        );
    }
    None
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(line).collect();
        write!(f, "{}", lines.join("\n"))
    }
}

fn line(verdict: &Verdict) -> String {
    let level = match verdict.level() {
        Level::Full => "full",
        Level::Degraded => "degraded",
        Level::Impossible => "impossible",
    };
    let mut text = format!("{:<14} {level}", verdict.chapter);
    for obstacle in &verdict.obstacles {
        text += &format!("\n    {}\n    $ {}", obstacle.what, obstacle.command);
    }
    text
}
