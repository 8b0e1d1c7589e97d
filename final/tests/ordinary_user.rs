//! The engine of an ordinary user, as that user meets it. The tests run as
//! root, so that each can be a machine of its own: with a mount and a
//! network namespace, subordinate IDs and users who know nothing of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind,
    mount_change, unmount,
};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Two users that every distribution has.
const NOBODY: (&str, u32) = ("nobody", 65534);
const DAEMON: (&str, u32) = ("daemon", 1);

const SUB_IDS: &str = "nobody:200000:65536\ndaemon:300000:65536\n";

/// A machine, as far as an ordinary user can tell.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// Makes the calling thread's world a new machine; `None`, and the
    /// reason, where that cannot be.
    fn new(test: &str) -> Option<Machine> {
        Machine::with_sub_ids(test, SUB_IDS)
    }

    fn with_sub_ids(test: &str, sub_ids: &str) -> Option<Machine> {
        if !testing::root_or_skip(test) {
            return None;
        }
        for program in ["/bin/busybox", "/usr/bin/newuidmap"] {
            if !Path::new(program).exists() {
                testing::skip(test, &format!("there is no {program}"));
                return None;
            }
        }
        let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
        // SAFETY: the test's own thread; its descriptors stay shared.
        unsafe { unshare_unsafe(flags) }.unwrap();
        let private =
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        busybox(&["ip", "link", "set", "lo", "up"]);
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        machine.equip(sub_ids);
        Some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary where everybody may read it, subordinate IDs, and the
    /// /dev/net/tun that distributions have.
    fn equip(&self, sub_ids: &str) {
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path(), open).unwrap();
        fs::write(self.path("skiff"), "").unwrap();
        mount_bind(env!("CARGO_BIN_EXE_skiff"), self.path("skiff")).unwrap();
        fs::write(self.path("subid"), sub_ids).unwrap();
        for file in ["/etc/subuid", "/etc/subgid"] {
            if Path::new(file).exists() {
                mount_bind(self.path("subid"), file).unwrap();
            }
        }
        fs::create_dir(self.path("dev")).unwrap();
        let dev = self.path("dev");
        mount("tmpfs", &dev, "tmpfs", MountFlags::empty(), None).unwrap();
        if Path::new("/dev/net/tun").exists() {
            let (tun, all) = (dev.join("tun"), Mode::from_raw_mode(0o666));
            let kind = FileType::CharacterDevice;
            mknodat(CWD, &tun, kind, all, makedev(10, 200)).unwrap();
            fs::set_permissions(&tun, fs::Permissions::from_mode(0o666))
                .unwrap();
            mount_bind(&tun, "/dev/net/tun").unwrap();
        }
    }

    /// Somebody with a home on this machine, and an image in it; `None`
    /// where the host forbids user namespaces.
    fn user(&self, test: &str, (name, id): (&str, u32)) -> Option<User> {
        let home = self.path(name);
        for dir in ["", "run", "data"] {
            let dir = home.join(dir);
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
                .unwrap();
            chown(&dir, Some(id), Some(id)).unwrap();
        }
        let user = User { id, home, skiff: self.path("skiff") };
        let tar = self.path("image.tar");
        fs::write(&tar, root_file_system()).unwrap();
        let output = user.skiff(&["import", tar.to_str().unwrap(), "box"]);
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("cannot make a user namespace") {
            testing::skip(test, &said);
            return None;
        }
        assert!(output.status.success(), "{said}");
        Some(user)
    }
}

/// A directory with a mount in it cannot be removed.
impl Drop for Machine {
    fn drop(&mut self) {
        for place in ["skiff", "dev"] {
            let _ = unmount(self.path(place), UnmountFlags::DETACH);
        }
    }
}

fn busybox(arguments: &[&str]) {
    let status = Command::new("/bin/busybox").args(arguments).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

/// Whether a program is in one of the usual places.
fn installed(program: &str) -> bool {
    let dirs = ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(program).exists())
}

/// An ordinary user.
struct User {
    id: u32,
    home: PathBuf,
    skiff: PathBuf,
}

impl User {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .uid(self.id)
            .gid(self.id)
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .env("XDG_DATA_HOME", self.home.join("data"))
            .stdin(Stdio::null());
        command
    }

    fn skiff(&self, arguments: &[&str]) -> Output {
        self.command(&self.skiff).args(arguments).output().unwrap()
    }

    /// What a command prints that succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        text_of(arguments, self.skiff(arguments))
    }

    /// What a command complains that fails.
    fn complains(&self, arguments: &[&str]) -> String {
        let output = self.skiff(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().next().unwrap_or_default().to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.home.join("run/skiff.sock")
    }

    /// The daemon's PID, from the kernel.
    fn daemon(&self) -> Option<Pid> {
        let socket = UnixStream::connect(self.socket()).ok()?;
        Some(socket_peercred(&socket).unwrap().pid)
    }

    /// A process of this user by its command line.
    fn process(&self, start: &str) -> Option<Pid> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok())
            .find(|pid| {
                let read = |file| fs::read(format!("/proc/{pid}/{file}"));
                let line = read("cmdline").unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                let home = self.home.to_str().unwrap();
                line.starts_with(start) && line.contains(home)
            })
            .and_then(Pid::from_raw)
    }

    fn keeper(&self) -> Option<Pid> {
        self.process("skiff keeper")
    }

    /// SIGKILL, as from the kernel when memory is short.
    fn kill(&self, pid: Option<Pid>) {
        let pid = pid.expect("it runs");
        kill_process(pid, Signal::KILL).unwrap();
        let proc = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
        until("it is dead", || fs::read_link(&proc).is_err());
    }
}

fn text_of(arguments: &[&str], output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text.trim().to_owned()
}

/// The daemon ends, and with it everything: processes, mounts, files.
impl Drop for User {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log =
                fs::read_to_string(self.home.join("data/skiff/daemon.log"));
            println!("{}", log.unwrap_or_default());
        }
        let ids = self.skiff(&["ps", "-aq"]);
        let ids = String::from_utf8_lossy(&ids.stdout).into_owned();
        let mut remove = vec!["rm", "-f"];
        remove.extend(ids.split_whitespace());
        self.skiff(&remove);
        if let Some(daemon) = self.daemon() {
            let _ = kill_process(daemon, Signal::TERM);
        }
        let patience = Duration::from_secs(10);
        let home = self.home.to_str().unwrap();
        let left = testing::leftovers_after(patience, &[home]);
        if std::thread::panicking() {
            return;
        }
        assert!(left.is_empty(), "{left:#?}");
        let mut files: Vec<_> = names(&self.home.join("run"));
        files.extend(names(&self.home.join("run/skiff")));
        files.sort();
        let stay = ["keeper.lock", "netns", "outside.json", "skiff"];
        let stay = |it: &String| {
            stay.contains(&it.as_str()) || it == "skiff.sock.lock"
        };
        assert!(files.iter().all(stay), "{files:?}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|it| it.file_name().into_string().ok()).collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until there is an answer: a server takes a moment to start.
fn fetch(address: &str) -> String {
    let mut answer = String::new();
    until(address, || {
        answer = fetch_once(address).unwrap_or_default();
        !answer.is_empty()
    });
    answer
}

fn fetch_once(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.trim().to_owned())
}

/// A web server that says its host name.
const WEB: &str = "mkdir /www; hostname > /www/index.html; echo serving; \
                   exec httpd -f -p 80 -h /www";

#[test]
fn an_ordinary_user_runs_containers() {
    let test = "an_ordinary_user_runs_containers";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };

    // Root inside, and somebody for each user of the image.
    let line = "id -u; stat -c %u /srv; su web -s /bin/sh -c 'id -u'";
    let said = user.says(&["run", "--rm", "box", "sh", "-c", line]);
    assert_eq!(said, "0\n7\n7");
    let output = user.skiff(&["run", "--rm", "box", "sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    let info = user.says(&["info", "--format", "{{json .SecurityOptions}}"]);
    assert!(info.contains("name=rootless"), "{info}");

    user.says(&[
        "run",
        "-d",
        "--name",
        "web",
        "-h",
        "web",
        "-p",
        "8080:80",
        "-v",
        "data:/data",
        "box",
        "sh",
        "-c",
        WEB,
    ]);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    assert_eq!(fetch("[::1]:8080"), "web");
    assert_eq!(user.says(&["logs", "web"]), "serving");
    user.says(&["exec", "web", "sh", "-c", "echo kept > /data/file"]);
    let top = user.says(&["top", "web"]);
    assert!(top.contains("httpd"), "{top}");

    user.says(&["network", "create", "net"]);
    user.says(&["network", "connect", "net", "web"]);
    let ask = ["run", "--rm", "--network", "net", "box"];
    let ask = [&ask[..], &["wget", "-qO-", "http://web/"]].concat();
    assert_eq!(user.says(&ask), "web");

    user.says(&["stop", "-t", "1", "web"]);
    assert_eq!(fetch_once("127.0.0.1:8080"), None);
    user.says(&["start", "web"]);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    user.says(&["rm", "-f", "web"]);
    assert_eq!(fetch_once("127.0.0.1:8080"), None);
    let volume = ["run", "--rm", "-v", "data:/data", "box"];
    let volume = [&volume[..], &["cat", "/data/file"]].concat();
    assert_eq!(user.says(&volume), "kept");
}

#[test]
fn a_killed_daemon_costs_neither_containers_nor_ports() {
    let test = "a_killed_daemon_costs_neither_containers_nor_ports";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let web = ["run", "-d", "--name", "web", "-h", "web", "-p", "8080:80"];
    user.says(&[&web[..], &["box", "sh", "-c", WEB]].concat());
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    let keeper = user.keeper();

    user.kill(user.daemon());
    assert_eq!(fetch("127.0.0.1:8080"), "web", "no daemon");
    // The next command starts one, which moves in with the same keeper.
    let names = ["ps", "--format", "{{.Names}} {{.Ports}}"];
    let ports = "web 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp";
    assert_eq!(user.says(&names), ports);
    assert_eq!(user.keeper(), keeper);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    assert_eq!(user.says(&["exec", "web", "hostname"]), "web");
    assert_eq!(user.says(&["logs", "web"]), "serving");

    // And if the keeper is killed as well, its namespaces are still those
    // of the containers.
    user.kill(user.daemon());
    user.kill(keeper);
    assert_eq!(user.says(&names), ports);
    assert_ne!(user.keeper(), keeper);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    assert_eq!(user.says(&["exec", "web", "hostname"]), "web");

    // Losing it below a living daemon is told, and the next one mends it.
    let warns = || user.says(&["info", "--format", "{{json .Warnings}}"]);
    let lost = "the process that keeps the published ports";
    assert!(!warns().contains(lost), "{}", warns());
    user.kill(user.keeper());
    until("the loss is told", || warns().contains(lost));
    user.kill(user.daemon());
    assert!(!warns().contains(lost), "{}", warns());
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    user.says(&["rm", "-f", "web"]);
    assert_eq!(fetch_once("127.0.0.1:8080"), None);
}

#[test]
fn a_keeper_without_daemon_and_containers_ends() {
    let test = "a_keeper_without_daemon_and_containers_ends";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    assert!(user.keeper().is_some());
    user.kill(user.daemon());
    until("the keeper has ended", || user.keeper().is_none());
    assert_eq!(user.says(&["images", "-q"]).lines().count(), 1);
}

#[test]
fn two_users_do_not_see_each_other() {
    let test = "two_users_do_not_see_each_other";
    let Some(machine) = Machine::new(test) else { return };
    let Some(one) = machine.user(test, NOBODY) else { return };
    let Some(other) = machine.user(test, DAEMON) else { return };
    let run = |user: &User, host: &str, port: &str| {
        let web = ["run", "-d", "--name", "web", "-h", host, "-p", port];
        user.says(&[&web[..], &["box", "sh", "-c", WEB]].concat());
    };
    run(&one, "one", "8081:80");
    run(&other, "other", "8082:80");
    assert_eq!(fetch("127.0.0.1:8081"), "one");
    assert_eq!(fetch("127.0.0.1:8082"), "other");
    for user in [&one, &other] {
        assert_eq!(user.says(&["ps", "-aq"]).lines().count(), 1);
    }
    // There is one host, though.
    let taken = ["run", "--rm", "-p", "8081:80", "box", "true"];
    let taken = other.complains(&taken);
    assert!(taken.ends_with(":8081 failed: address already in use"), "{taken}");
    let theirs = format!("unix://{}", one.socket().display());
    let refused = other.complains(&["-H", &theirs, "ps"]);
    assert!(refused.contains("Cannot connect"), "{refused}");
}

#[test]
fn an_ordinary_user_builds_images() {
    let test = "an_ordinary_user_builds_images";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let context = user.home.join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), "copied\n").unwrap();
    let dockerfile = "FROM box\nRUN echo built > /built && chown web /built\n\
                      COPY --chown=web file /file\n\
                      CMD stat -c %U /built /file && cat /built /file\n";
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    user.says(&["build", "-t", "mine", "context"]);
    let said = user.says(&["run", "--rm", "mine"]);
    assert_eq!(said, "web\nweb\nbuilt\ncopied");
}

#[test]
fn what_only_root_can_have_is_refused_with_the_reason() {
    let test = "what_only_root_can_have_is_refused_with_the_reason";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let low = ["run", "--rm", "--name", "low", "-p", "80:80", "box", "true"];
    insta::assert_snapshot!(user.complains(&low), @"skiff: Error response from daemon: driver failed programming external connectivity on endpoint low: Bind for 0.0.0.0:80 failed: permission denied (ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE; as root: sysctl net.ipv4.ip_unprivileged_port_start=80, or choose a port from 1024 on)");
    let limit = ["run", "--rm", "--ulimit", "nofile=9999999", "box", "true"];
    let limit = user.complains(&limit);
    assert!(limit.contains("only CAP_SYS_RESOURCE may raise it"), "{limit}");
    let score = ["run", "--rm", "--oom-score-adj", "-900", "box", "true"];
    let score = user.complains(&score);
    assert!(score.contains("only CAP_SYS_RESOURCE may lower"), "{score}");

    let driver = user.says(&["info", "--format", "{{.CgroupDriver}}"]);
    if driver != "none" {
        testing::skip(test, "this user has cgroups");
        return;
    }
    let cpus = ["run", "--rm", "--cpus", "1", "box", "true"];
    insta::assert_snapshot!(user.complains(&cpus), @"skiff: Error response from daemon: NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted");
    let memory = ["run", "--rm", "-m", "16m", "box", "true"];
    let memory = user.skiff(&memory);
    assert!(memory.status.success(), "{memory:?}");
    let warning = String::from_utf8_lossy(&memory.stderr);
    insta::assert_snapshot!(warning, @"WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.");
    user.says(&["run", "-d", "--name", "up", "box", "sleep", "60"]);
    let pause = user.complains(&["pause", "up"]);
    assert!(pause.contains("needs a delegated one to pause"), "{pause}");
}

#[test]
fn the_docker_command_finds_nothing_missing() {
    let test = "the_docker_command_finds_nothing_missing";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let program = ["/usr/local/bin/docker", "/usr/bin/docker"];
    let Some(docker) = program.iter().find(|it| Path::new(it).exists()) else {
        testing::skip(test, "the docker command is not installed");
        return;
    };
    let docker = |arguments: &[&str]| {
        let socket = format!("unix://{}", user.socket().display());
        let mut command = user.command(Path::new(docker));
        command.env("DOCKER_HOST", socket).args(arguments);
        text_of(arguments, command.output().unwrap())
    };
    assert_eq!(docker(&["run", "--rm", "box", "echo", "hi"]), "hi");
    let web = ["run", "-d", "--name", "web", "-h", "web", "-P"];
    docker(&[&web[..], &["--expose=80", "box", "sh", "-c", WEB]].concat());
    let port = docker(&["port", "web", "80"]);
    let port = port.lines().next().unwrap().rsplit_once(':').unwrap().1;
    assert_eq!(fetch(&format!("127.0.0.1:{port}")), "web");
    assert_eq!(docker(&["exec", "web", "id", "-u"]), "0");
    docker(&["cp", "/etc/hostname", "web:/copied"]);
    docker(&["rm", "-f", "web"]);
}

#[test]
fn a_user_without_subordinate_ids_is_told_and_has_an_engine() {
    let test = "a_user_without_subordinate_ids_is_told_and_has_an_engine";
    let Some(machine) = Machine::with_sub_ids(test, "") else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let line = "id -u; stat -c %u /srv";
    let said = user.says(&["run", "--rm", "box", "sh", "-c", line]);
    assert_eq!(said, "0\n0");
    let warnings = user.says(&["info", "--format", "{{json .Warnings}}"]);
    let fix = "/etc/subuid has no line for nobody; as root: usermod \
               --add-subuids 100000-165535";
    assert!(warnings.contains(fix), "{warnings}");
}

#[test]
fn a_container_reaches_the_world_outside() {
    let test = "a_container_reaches_the_world_outside";
    let programs = ["pasta", "slirp4netns"];
    let programs = programs.into_iter().filter(|it| installed(it));
    for program in programs {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| reaches_by(test, program)).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
    if !["pasta", "slirp4netns"].iter().any(|it| installed(it)) {
        testing::skip(test, "neither pasta nor slirp4netns is installed");
    }
}

/// With all other programs for it out of sight.
fn reaches_by(test: &str, program: &str) {
    let Some(machine) = Machine::new(test) else { return };
    if !Path::new("/dev/net/tun").exists() || !installed("ip") {
        return testing::skip(test, "there is no /dev/net/tun, or no ip");
    }
    for other in ["/usr/bin/pasta", "/usr/bin/slirp4netns"] {
        if Path::new(other).exists() && !other.ends_with(program) {
            mount_bind("/bin/false", other).unwrap();
        }
    }
    // What stands for the host's Ethernet.
    for line in [
        "link add eth0 type veth peer name far",
        "link set eth0 up",
        "link set far up",
        "addr add 198.51.100.9/24 dev eth0",
        "route add default via 198.51.100.1",
    ] {
        let words = line.split(' ');
        assert!(Command::new("ip").args(words).status().unwrap().success());
    }
    let address: SocketAddr = "198.51.100.9:8000".parse().unwrap();
    let server = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for client in server.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.0 200 OK\r\n\r\noutside");
        }
    });
    let Some(user) = machine.user(test, NOBODY) else { return };
    let url = format!("http://{address}/");
    let ask = ["run", "--rm", "box", "wget", "-qO-", &url];
    assert_eq!(user.says(&ask), "outside", "{program}");

    // It is told when the program is lost, and the next daemon has another.
    let warns = || user.says(&["info", "--format", "{{json .Warnings}}"]);
    let lost = format!("{program}, by which containers");
    assert!(!warns().contains(&lost), "{}", warns());
    let file = fs::read(user.home.join("run/skiff/uplink.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let pid = file["pid"].as_i64().unwrap() as i32;
    user.kill(Pid::from_raw(pid));
    assert!(warns().contains(&lost), "{}", warns());
    user.kill(user.daemon());
    assert_eq!(user.says(&ask), "outside", "{program}, started again");
    assert!(!warns().contains(&lost), "{}", warns());
}

#[test]
fn without_a_way_out_it_is_said_and_containers_still_meet() {
    let test = "without_a_way_out_it_is_said_and_containers_still_meet";
    let Some(machine) = Machine::new(test) else { return };
    for program in ["/usr/bin/pasta", "/usr/bin/slirp4netns"] {
        if Path::new(program).exists() {
            mount_bind("/bin/false", program).unwrap();
        }
    }
    let Some(user) = machine.user(test, NOBODY) else { return };
    let warnings = user.says(&["info", "--format", "{{json .Warnings}}"]);
    assert!(warnings.contains("nothing outside can be reached"), "{warnings}");
    let web = ["run", "-d", "--name", "web", "-h", "web", "-p", "8080:80"];
    user.says(&[&web[..], &["box", "sh", "-c", WEB]].concat());
    assert_eq!(fetch("127.0.0.1:8080"), "web");
}

/// The host's static busybox, with a user and a directory of that user's.
fn root_file_system() -> Vec<u8> {
    use tar::EntryType::{Directory, Regular, Symlink};
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind, mode, owner, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    };
    for dir in ["bin/", "etc/", "root/"] {
        put(dir, Directory, 0o755, 0, b"");
    }
    put("tmp/", Directory, 0o1777, 0, b"");
    put("srv/", Directory, 0o755, 7, b"");
    let passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:7:7::/srv:/bin/sh\n";
    put("etc/passwd", Regular, 0o644, 0, passwd);
    put("etc/group", Regular, 0o644, 0, b"root:x:0:\nweb:x:7:\n");
    let busybox = fs::read("/bin/busybox").unwrap();
    put("bin/busybox", Regular, 0o755, 0, &busybox);
    for command in [
        "sh", "cat", "echo", "sleep", "true", "id", "stat", "su", "mkdir",
        "hostname", "httpd", "wget", "chown",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        let path = format!("bin/{command}");
        tar.append_link(&mut header, path, "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}
