//! BuildKit's own clients build with this engine: buildx, and the docker
//! command of before buildx with `DOCKER_BUILDKIT=1`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing;
use common::DaemonProcess;

/// Where `scripts/install-clients` puts buildx.
const FETCHED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/clients/buildx/unpacked/usr/libexec/docker/cli-plugins"
);
/// Where packages put the docker command's plugins.
const PLUGINS: [&str; 4] = [
    "/usr/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
];

const DOCKERFILE: &str = "\
FROM base AS made
ARG V
RUN --mount=type=secret,id=s cat /run/secrets/s >/s; echo made $V >/v
FROM base
COPY --from=made /v /s /
COPY . /all
RUN echo said; echo wrong >&2
CMD [\"cat\", \"/v\", \"/s\"]
";

/// A docker command and a daemon for it, with an image `base`.
struct User {
    docker: PathBuf,
    daemon: DaemonProcess,
    home: tempfile::TempDir,
}

impl User {
    fn new(docker: PathBuf) -> User {
        let daemon = DaemonProcess::start(Vec::new());
        let home = tempfile::tempdir().unwrap();
        let user = User { docker, daemon, home };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut base = Command::new(root.join("tests/busybox-image"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tar = base.stdout.take().unwrap();
        let made =
            user.command(&["import", "-", "base"]).stdin(tar).output().unwrap();
        base.wait().unwrap();
        assert!(made.status.success(), "{made:?}");
        let ctx = user.home.path().join("ctx");
        fs::create_dir(&ctx).unwrap();
        fs::write(ctx.join("Dockerfile"), DOCKERFILE).unwrap();
        fs::write(ctx.join("kept"), "kept").unwrap();
        fs::write(ctx.join("ignored"), "ignored").unwrap();
        fs::write(ctx.join(".dockerignore"), "ignored\n").unwrap();
        fs::write(user.home.path().join("secret"), "hush\n").unwrap();
        user
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let socket = self.daemon.socket();
        let mut command = Command::new(&self.docker);
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("DOCKER_CONFIG", self.home.path().join("config"))
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_BUILDKIT", "1");
        command
    }

    fn says(&self, arguments: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } =
            self.command(arguments).output().unwrap();
        let text = [stdout, stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (status.success(), text)
    }

    fn build(&self, arguments: &[&str]) -> (bool, String) {
        let always = ["build", "--progress=plain", "--network=none"];
        self.says(&[&always, arguments].concat())
    }
}

/// What every client does alike.
fn builds(user: &User) {
    let plain = [
        "--secret=id=s,src=secret",
        "--build-arg=V=7",
        "--label=l=m",
        "--iidfile=id",
        "-t",
        "app",
        "ctx",
    ];
    let (built, text) = user.build(&plain);
    assert!(built, "{text}");
    for line in [
        "[internal] load build definition from Dockerfile",
        "[made 1/2] FROM docker.io/library/base:latest",
        "[stage-1 4/4] RUN echo said; echo wrong >&2",
        "said",
        "wrong",
        "naming to docker.io/library/app:latest done",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let id = fs::read_to_string(user.home.path().join("id")).unwrap();
    let format = "--format={{.Id}} {{.Config.Labels.l}}";
    let (_, found) = user.says(&["image", "inspect", format, "app"]);
    assert_eq!(found, format!("{id} m\n"));
    let run = ["run", "--rm", "--network=none", "app"];
    assert_eq!(user.says(&run).1, "made 7\nhush\n");

    let (_, again) = user.build(&plain);
    assert_eq!(again.matches("CACHED").count(), 4, "{again}");

    let (built, text) = user.build(&["-o", "out", "ctx"]);
    assert!(built, "{text}");
    let out = user.home.path().join("out/all");
    assert_eq!(fs::read_to_string(out.join("kept")).unwrap(), "kept");
    assert!(!out.join("ignored").exists());

    let file = user.home.path().join("failing");
    fs::write(&file, "FROM base\nRUN echo before; exit 7\n").unwrap();
    let (built, text) = user.build(&["-f", "failing", "ctx"]);
    let sentence = "process \"/bin/sh -c echo before; exit 7\" did not \
                    complete successfully: exit code: 7";
    assert!(!built && text.contains(sentence), "{text}");
    let (_, images) = user.says(&["images", "-aq"]);
    assert_eq!(images.lines().count(), 2, "{images}");
}

/// Ends a build in the middle of a RUN. Its command line must be like no
/// other's on this machine.
fn is_given_up(user: &User, endless: &str) {
    let file = user.home.path().join("endless");
    let run = format!("FROM base\nRUN echo now; {endless}\n");
    fs::write(&file, run).unwrap();
    let always = ["build", "--progress=plain", "--network=none"];
    let rest = ["-f", "endless", "ctx"];
    let mut child = user
        .command(&[&always[..], &rest].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sleeps = || !testing::leftovers(&[endless]).is_empty();
    wait("the RUN begins", sleeps);
    let pid = rustix::process::Pid::from_child(&child);
    let signal = rustix::process::Signal::INT;
    rustix::process::kill_process(pid, signal).unwrap();
    assert!(!child.wait().unwrap().success());
    wait("the RUN ends", || !sleeps());
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `20.10.24` of a docker command.
fn version(docker: &Path) -> Option<(u32, PathBuf)> {
    let output = Command::new(docker).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(2)?.split('.').next()?;
    Some((number.parse().ok()?, docker.to_owned()))
}

fn dockers() -> Vec<(u32, PathBuf)> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path);
    dirs.filter_map(|dir| version(&dir.join("docker"))).collect()
}

/// The plugin in the user's home, where `scripts/install-clients` or where
/// packages put it.
fn buildx() -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let own = format!("{home}/.docker/cli-plugins");
    let dirs = [own.as_str(), FETCHED].into_iter().chain(PLUGINS);
    let found = dirs.map(|dir| Path::new(dir).join("docker-buildx"));
    found.into_iter().find(|it| it.exists())
}

#[test]
fn buildx_builds_and_what_it_gives_up_ends() {
    let test = "buildx_builds_and_what_it_gives_up_ends";
    if !testing::root_or_skip(test) {
        return;
    }
    let docker = dockers().into_iter().find(|(version, _)| *version >= 23);
    let (Some((_, docker)), Some(plugin)) = (docker, buildx()) else {
        return testing::skip(test, "docker with buildx is not installed");
    };
    let user = User::new(docker);
    let plugins = user.home.path().join("config/cli-plugins");
    fs::create_dir_all(&plugins).unwrap();
    let link = plugins.join("docker-buildx");
    std::os::unix::fs::symlink(plugin, link).unwrap();
    builds(&user);
    is_given_up(&user, "sleep 4711");
    let named = "FROM base\nCOPY --from=other secret /\n";
    fs::write(user.home.path().join("named"), named).unwrap();
    let context = "--build-context=other=.";
    let (built, text) = user.build(&[context, "-f", "named", "ctx"]);
    assert!(built, "{text}");
    let (listed, text) = user.says(&["buildx", "du"]);
    assert!(listed && text.contains("Reclaimable:"), "{text}");
}

#[test]
fn the_docker_command_of_before_buildx_builds() {
    let test = "the_docker_command_of_before_buildx_builds";
    if !testing::root_or_skip(test) {
        return;
    }
    let docker = dockers().into_iter().find(|(version, _)| *version < 23);
    let Some((_, docker)) = docker else {
        return testing::skip(test, "no docker command before 23");
    };
    let user = User::new(docker);
    builds(&user);
    is_given_up(&user, "sleep 4712");
}
