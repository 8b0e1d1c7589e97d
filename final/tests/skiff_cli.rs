//! Our own command, from outside: the daemon on demand, and then what a
//! person types and sees.
//!
//! The sessions below `skiff-cli/` are executed and compared. They began as
//! the sessions of the docker command in `docker-cli/`, with the name
//! changed; where the two still differ it is on purpose. With
//! `SKIFF_BLESS=1` they are rewritten to what is printed now.

use std::path::Path;

use transcript::sandbox;
use transcript::sessions::Sessions;

/// Makes the one image that the sessions use. The first `skiff` starts the
/// daemon.
const BEFORE: &str = r#"
set -e
export PATH="$PWD/target/debug:$PATH"
unset DOCKER_HOST
final/tests/busybox-image | skiff import -c 'CMD ["sh"]' - busybox >/dev/null
mkdir /run/work && cd /run/work
set +e
"#;

/// Nothing may be left of the containers before the sandbox is torn down.
const AFTER: &str = r#"
skiff rm -f -v $(skiff ps -aq) >/dev/null 2>&1
true
"#;

#[test]
fn the_skiff_command_prints_and_exits_as_its_sessions_show() {
    let busybox = (!sandbox::installed("busybox"))
        .then(|| "`busybox` is not installed".to_owned());
    if let Some(reason) = sandbox::missing().or(busybox) {
        println!("SKIP: skiff command: {reason}");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = "final/tests/skiff-cli";
    Sessions { root, dir, before: BEFORE, after: AFTER }.check();
}
