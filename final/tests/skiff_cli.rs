//! Our own command, from outside: the daemon on demand, and then what a
//! person types and sees.
//!
//! The sessions below `skiff-cli/` are executed and compared. They began as
//! the sessions of the docker command in `docker-cli/`, with the name
//! changed; where the two still differ it is on purpose. With
//! `SKIFF_BLESS=1` they are rewritten to what is printed now.

use std::fs;
use std::path::{Path, PathBuf};

use transcript::sandbox::{self, Network};
use transcript::{Session, Statuses};

/// Makes the one image that the sessions use: the static busybox of this
/// machine with a link for each of its commands. The first `skiff` starts
/// the daemon.
const BEFORE: &str = r#"
set -e
export PATH="$PWD/target/debug:$PATH"
unset DOCKER_HOST
mkdir -p /run/image/bin /run/image/etc /run/image/tmp /run/image/root
cd /run/image && mkdir -p proc sys dev var/lib && chmod 1777 tmp
cp "$(command -v busybox)" bin/busybox
for name in $(busybox --list); do
  [ "$name" = busybox ] || ln -s busybox "bin/$name"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
tar c . | skiff import -c 'CMD ["sh"]' - busybox >/dev/null
mkdir /run/work && cd /run/work
set +e
"#;

/// Nothing may be left of the containers before the sandbox is torn down.
const AFTER: &str = r#"
skiff rm -f -v $(skiff ps -aq) >/dev/null 2>&1
true
"#;

fn session_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/skiff-cli");
    let entries = fs::read_dir(dir).unwrap();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_skiff_command_prints_and_exits_as_its_sessions_show() {
    let busybox = (!sandbox::installed("busybox"))
        .then(|| "`busybox` is not installed".to_owned());
    if let Some(reason) = sandbox::missing().or(busybox) {
        println!("SKIP: skiff command: {reason}");
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
