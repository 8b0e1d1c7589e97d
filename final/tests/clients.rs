//! Clients that nobody here wrote drive the engine, unchanged.
//!
//! Each program below `clients/` is a set of cases for one client; it runs in
//! a sandbox with an engine and the image `busybox`, finds the engine by
//! `DOCKER_HOST` as it would find Docker, and reports each case by name.
//! `scripts/install-clients` installs the clients.

use std::path::{Path, PathBuf};

use transcript::sandbox::{self, Network};
use transcript::tap::Report;

const BEFORE: &str = r#"
set -e
exec 2>&1
export PATH="$PWD/target/debug:$PATH" DOCKER_HOST=unix:///run/docker.sock
export NODE_PATH="$PWD/target/clients/node/node_modules"
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
