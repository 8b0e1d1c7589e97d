//! Clients that nobody here wrote drive the engine, unchanged.
//!
//! Each program below `clients/` is a set of cases for one client; it runs in
//! a sandbox with an engine and the image `busybox`, finds the engine by
//! `DOCKER_HOST` as it would find Docker, and reports each case by name.
//! `scripts/install-clients` installs the clients.

use std::path::{Path, PathBuf};

use transcript::sandbox::{self, Network};
use transcript::sessions::Sessions;
use transcript::tap::Report;

const BEFORE: &str = r#"
set -e
exec 2>&1
export PATH="$PWD/target/debug:$PATH" DOCKER_HOST=unix:///run/docker.sock
export NODE_PATH="$PWD/target/clients/node/node_modules"
# Testcontainers keeps a lock in the temporary directory, which a killed run
# leaves there.
export TMPDIR=$HOME
# Its helper that tidies up is an image from a registry.
export TESTCONTAINERS_RYUK_DISABLED=true
skiff daemon -H $DOCKER_HOST >/run/daemon.log & daemon=$!
until [ -S /run/docker.sock ]; do kill -0 $daemon; sleep 0.05; done
final/tests/busybox-image | skiff import -c 'CMD ["sh"]' - busybox >/dev/null
"#;

/// The containers of a case that failed must not outlive the sandbox.
const AFTER: &str = r#"
skiff rm -f -v $(skiff ps -aq) >/dev/null || true
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Why the program cannot run: the part of `target/clients` that it needs is
/// not there.
fn cannot_run(installed: &str) -> Option<String> {
    let stamp = root().join("target/clients").join(installed);
    let absent = !stamp.exists();
    let client = absent.then(|| {
        "the client is not installed (scripts/install-clients)".to_owned()
    });
    let busybox = (!sandbox::installed("busybox"))
        .then(|| "`busybox` is not installed".to_owned());
    sandbox::missing().or(client).or(busybox)
}

/// Runs a program of cases with its interpreter.
fn drive(program: &str, installed: &str, interpreter: &str) {
    if let Some(reason) = cannot_run(installed) {
        println!("SKIP: {program}: {reason}");
        return;
    }
    let run = format!("{interpreter} final/tests/clients/{program} || true");
    let script = format!("{BEFORE}{run}\n{AFTER}");
    let printed = sandbox::run(&root(), &script, Network::Own, None).unwrap();
    let report = Report::parse(&printed);
    print!("{}", report.lines(program));
    assert!(report.is_good(), "{printed}");
}

const PYTHON: &str =
    "PYTHONDONTWRITEBYTECODE=1 target/clients/python/bin/python";
const NODE: &str = "node --test-reporter=tap";

#[test]
fn dockers_sdk_for_python() {
    drive("docker_py.py", "python.installed", PYTHON);
}

#[test]
fn dockerode() {
    drive("dockerode.cjs", "node.installed", NODE);
}

#[test]
fn testcontainers_for_python() {
    drive("testcontainers_py.py", "python.installed", PYTHON);
}

#[test]
fn testcontainers_for_node() {
    drive("testcontainers_node.cjs", "node.installed", NODE);
}

/// Starts the engine with the images of a small web application, and brings
/// both Composes into their places.
const BEFORE_COMPOSE: &str = r#"
set -e
export PATH="$PWD/target/debug:$PATH" DOCKER_HOST=unix:///run/docker.sock
export DOCKER_BUILDKIT=0
files=$PWD/final/tests/compose/project
mkdir -p $HOME/.docker/cli-plugins
ln -s "$PWD/target/clients/python/bin/docker-compose" $HOME/.docker/cli-plugins/
skiff daemon -H $DOCKER_HOST 2>/run/daemon.log & daemon=$!
until [ -S /run/docker.sock ]; do kill -0 $daemon; sleep 0.05; done
final/tests/busybox-image | skiff import -c 'CMD ["sh"]' - busybox >/dev/null
skiff load -q -i target/clients/images.tar >/dev/null
mkdir /run/work && cd /run/work
set +e
"#;

/// Makes the images once, from this machine's own packages. This daemon
/// works in the machine's own network, and has to end by itself to take its
/// bridge along.
const FETCH: &str = r#"
export PATH="$PWD/target/debug:$PATH" DOCKER_HOST=unix:///run/docker.sock
skiff daemon -H $DOCKER_HOST 2>/run/daemon.log & daemon=$!
until [ -S /run/docker.sock ]; do kill -0 $daemon || exit; sleep 0.05; done
for image in redis postgres; do skiff pull -q $image; done
skiff save -o target/clients/new.tar redis postgres &&
    mv target/clients/new.tar target/clients/images.tar
kill $daemon; wait $daemon
"#;

/// Why Compose cannot be tried here.
fn cannot_compose() -> Option<String> {
    let absent = ["docker", "docker-compose", "apt-get", "curl"]
        .into_iter()
        .find(|program| !sandbox::installed(program));
    let absent = absent.map(|it| format!("`{it}` is not installed"));
    if let Some(reason) = cannot_run("python.installed").or(absent) {
        return Some(reason);
    }
    if root().join("target/clients/images.tar").exists() {
        return None;
    }
    let printed = sandbox::run(&root(), FETCH, Network::Host, None).unwrap();
    (!root().join("target/clients/images.tar").exists())
        .then(|| format!("no images of redis and postgres: {printed}"))
}

/// The session of each Compose was compared with what it prints against
/// Docker's own daemon: IDs and the order of what happens at once differ.
#[test]
fn both_composes_print_and_exit_as_their_sessions_show() {
    if let Some(reason) = cannot_compose() {
        println!("SKIP: compose: {reason}");
        return;
    }
    let dir = "final/tests/compose";
    let (before, after) = (BEFORE_COMPOSE, AFTER);
    Sessions { root: &root(), dir, before, after }.check();
}
