//! The stock `docker` command drives the engine, and its user cannot tell.
//!
//! The sessions below `docker-cli/` were recorded with the same command
//! against Docker's own daemon. Where ours is meant to differ, the session
//! shows ours; `DIFFERENCES.md` beside them lists these places and why.
//! With `SKIFF_BLESS=1` the sessions are rewritten to what is printed now.

use std::fs;
use std::path::{Path, PathBuf};

use transcript::sandbox::{self, Network};
use transcript::{Session, Statuses};

/// Starts the engine and makes the one image that the sessions use: the
/// static busybox of this machine with a link for each of its commands.
const BEFORE: &str = r#"
set -e
export PATH="$PWD/target/debug:$PATH" DOCKER_HOST=unix:///run/skiff.sock
export DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
skiff daemon >/run/daemon.log 2>&1 &
mkdir -p /run/image/bin /run/image/etc /run/image/tmp /run/image/root
cd /run/image && mkdir -p proc sys dev var/lib && chmod 1777 tmp
cp "$(command -v busybox)" bin/busybox
for name in $(busybox --list); do
  [ "$name" = busybox ] || ln -s busybox "bin/$name"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
for try in $(seq 100); do
  docker version >/dev/null 2>&1 && break
  sleep 0.05
done
tar c . | docker import -c 'CMD ["sh"]' - busybox >/dev/null
mkdir /run/work && cd /run/work
set +e
"#;

/// Nothing may be left of the containers before the sandbox is torn down.
const AFTER: &str = r#"
docker rm -f -v $(docker ps -aq) >/dev/null 2>&1
true
"#;

fn session_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker-cli");
    let entries = fs::read_dir(dir).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    files
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut report = String::new();
    for file in session_files() {
        let text = fs::read_to_string(&file).unwrap();
        let session = Session::new(&text, Statuses::Shown, |_| true);
        let script = format!("{BEFORE}{}{AFTER}", session.script());
        let printed = sandbox::run(root, &script, Network::Own, None).unwrap();
        let comparison = session.compare(&printed).unwrap();
        if std::env::var_os("SKIFF_BLESS").is_some() {
            fs::write(&file, comparison.blessed()).unwrap();
        } else if !comparison.is_same() {
            let name = file.file_name().unwrap().to_string_lossy();
            report += &format!("{name}\n{}\n", comparison.report());
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn the_sessions_cover_at_least_120_commands() {
    let count: usize = session_files()
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).unwrap();
            Session::new(&text, Statuses::Shown, |_| true).len()
        })
        .sum();
    assert!(count >= 120, "{count}");
}
