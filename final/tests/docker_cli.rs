//! The stock `docker` command drives the engine, and its user cannot tell.
//!
//! The sessions below `docker-cli/` were recorded with the same command
//! against Docker's own daemon. Where ours is meant to differ, the session
//! shows ours; `DIFFERENCES.md` beside them lists these places and why.
//! With `SKIFF_BLESS=1` the sessions are rewritten to what is printed now.

use std::path::Path;

use transcript::sandbox;
use transcript::sessions::Sessions;

/// Starts the engine and makes the one image that the sessions use.
const BEFORE: &str = r#"
set -e
export PATH="$PWD/target/debug:$PATH" DOCKER_HOST=unix:///run/skiff.sock
export DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
skiff daemon >/run/daemon.log 2>&1 &
for try in $(seq 100); do
  docker version >/dev/null 2>&1 && break
  sleep 0.05
done
final/tests/busybox-image | docker import -c 'CMD ["sh"]' - busybox >/dev/null
mkdir /run/work && cd /run/work
set +e
"#;

/// Nothing may be left of the containers before the sandbox is torn down.
const AFTER: &str = r#"
docker rm -f -v $(docker ps -aq) >/dev/null 2>&1
true
"#;

fn sessions() -> Sessions<'static> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = "final/tests/docker-cli";
    Sessions { root, dir, before: BEFORE, after: AFTER }
}

fn cannot_run() -> Option<String> {
    let absent = ["docker", "busybox"]
        .into_iter()
        .find(|program| !sandbox::installed(program));
    sandbox::missing()
        .or(absent.map(|program| format!("`{program}` is not installed")))
}

#[test]
fn the_docker_command_prints_and_exits_as_against_dockers_own_daemon() {
    if let Some(reason) = cannot_run() {
        println!("SKIP: docker command: {reason}");
        return;
    }
    sessions().check();
}

#[test]
fn the_sessions_cover_at_least_250_commands() {
    let count = sessions().count().unwrap();
    assert!(count >= 250, "{count}");
}
