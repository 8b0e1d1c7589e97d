//! `-H ssh://…`: by our own command and by the stock one. In the place of
//! ssh stands a script that runs what it is told on this machine.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use cli_api::testing;

use super::daemon::Daemon;

/// A shell there does as sshd does: one string, with the login's PATH.
const SSH: &str = r#"#!/bin/sh
echo "$*" >>"$(dirname "$0")/log"
while [ "$1" != -- ]; do shift; done
shift 2
exec env PATH="$THERE" DOCKER_HOST="$HOST_THERE" sh -c "$*"
"#;

struct Machines {
    daemon: Daemon,
    dir: tempfile::TempDir,
}

impl Machines {
    async fn new(test: &str) -> Option<Machines> {
        let daemon = Daemon::start(test).await?;
        let dir = tempfile::tempdir().unwrap();
        let ssh = dir.path().join("here/ssh");
        fs::create_dir_all(dir.path().join("here")).unwrap();
        fs::create_dir_all(dir.path().join("there")).unwrap();
        fs::write(&ssh, SSH).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["skiff", "docker"] {
            let link = dir.path().join("there").join(name);
            symlink(env!("CARGO_BIN_EXE_skiff"), link).unwrap();
        }
        Some(Machines { daemon, dir })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a client here; the daemon is there.
    fn client(&self, program: &str, words: &[&str], input: &str) -> Output {
        let path = |first: &str| {
            format!("{}:/usr/bin:/bin", self.place(first).display())
        };
        let socket = self.daemon.socket();
        let mut child = Command::new(program)
            .args(["-H", "ssh://me@there:2222"])
            .args(words)
            .env("PATH", path("here"))
            .env("THERE", path("there"))
            .env("HOST_THERE", format!("unix://{}", socket.display()))
            .env("HOME", self.dir.path())
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// A container over there takes our input, answers, and its exit code
    /// is the command's.
    fn runs(&self, program: &str) {
        let line = "cat; echo bye >&2; exit 3";
        let run = ["run", "-i", "--rm", "--network", "none", "busybox", "sh"];
        let run = [&run[..], &["-c", line]].concat();
        let output = self.client(program, &run, "hello\n");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(output.stdout, b"hello\n", "{output:?}");
        assert_eq!(output.stderr, b"bye\n", "{output:?}");
        let log = fs::read_to_string(self.place("here/log")).unwrap();
        let first = log.lines().next().unwrap();
        let name = program.rsplit('/').next().unwrap();
        assert!(first.contains("-l me -p 2222"), "{first}");
        let end = format!("-- there {name} system dial-stdio");
        assert!(first.ends_with(&end), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_command_reaches_a_daemon_by_ssh() {
    let test = "our_command_reaches_a_daemon_by_ssh";
    let Some(machines) = Machines::new(test).await else { return };
    machines.runs(env!("CARGO_BIN_EXE_skiff"));
    fs::remove_file(machines.place("there/skiff")).unwrap();
    let output = machines.client(env!("CARGO_BIN_EXE_skiff"), &["ps"], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("skiff has to be in the PATH there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_command_reaches_a_daemon_by_ssh() {
    let test = "the_docker_command_reaches_a_daemon_by_ssh";
    let Some(docker) = ["/usr/local/bin/docker", "/usr/bin/docker"]
        .into_iter()
        .find(|it| PathBuf::from(it).exists())
    else {
        return testing::skip(test, "there is no docker command");
    };
    let Some(machines) = Machines::new(test).await else { return };
    machines.runs(docker);
}
