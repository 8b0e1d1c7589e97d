//! `login`, and what it opens: the client reads `config.json` and asks the
//! credential helper, because the daemon runs as somebody else. The registry
//! is Debian's, behind a password.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cli_api::testing;
use common::DaemonProcess;
use common::registry::Registry;

/// `u` with the password `p:w`, as htpasswd(1) writes it.
const ACCOUNT: &str =
    "u:$2y$05$abcdefghijklmnopqrstuuM7E59t/pBLB8x4aZysvBLD.kgRitkEK\n";

/// A keychain of files, one for each registry, and a list of what was asked.
const HELPER: &str = r#"#!/bin/sh
dir=$(dirname "$0")/keychain; mkdir -p "$dir"
input=$(cat); echo "$1 $input" >>"$0.log"
none() { echo "credentials not found in native keychain"; exit 1; }
file=$dir/$(echo "$input" | tr / _)
case $1 in
store) key=$(echo "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
    echo "$input" >"$dir/$(echo "$key" | tr / _)" ;;
get) cat "$file" 2>/dev/null || none ;;
erase) rm "$file" 2>/dev/null || none ;;
list) cd "$dir"; printf '{'; for it in *; do
    [ -f "$it" ] && printf '"%s":"u"' "$it"; done; printf '}' ;;
esac
"#;

/// A user with a home of his own at a daemon that knows nothing of it.
struct User {
    daemon: DaemonProcess,
    _registry: Registry,
    /// Where that is.
    host: String,
    home: tempfile::TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: i32,
}

impl User {
    /// With an image under the name `REGISTRY/app`.
    fn new(test: &str, config: &str) -> Option<User> {
        if !testing::root_or_skip(test) {
            return None;
        }
        let registry = Registry::start(test, Some(ACCOUNT))?;
        let host = format!("127.0.0.1:{}", registry.port);
        let home = tempfile::tempdir().unwrap();
        let helper = home.path().join("docker-credential-fake");
        fs::write(&helper, HELPER).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&helper, mode).unwrap();
        fs::write(home.path().join("config.json"), config).unwrap();
        let daemon = DaemonProcess::start(Vec::new());
        let user = User { daemon, _registry: registry, host, home };
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        tar.append_data(&mut header, "file", &b"hi"[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let made = user.says(&["import", "-", &user.image()], &tar);
        assert_eq!(made.code, 0, "{made:?}");
        Some(user)
    }

    fn image(&self) -> String {
        format!("{}/app:1", self.host)
    }

    fn says(&self, arguments: &[&str], input: &[u8]) -> Said {
        self.of(env!("CARGO_BIN_EXE_skiff"), arguments, input)
    }

    fn of(&self, program: &str, arguments: &[&str], input: &[u8]) -> Said {
        let path = std::env::var("PATH").unwrap();
        let home = self.home.path().display();
        let mut child = Command::new(program)
            .arg("-H")
            .arg(format!("unix://{}", self.daemon.socket().display()))
            .args(arguments)
            .env("DOCKER_CONFIG", self.home.path())
            .env("DOCKER_BUILDKIT", "0")
            .env("PATH", format!("{home}:{path}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.replace(&self.host, "REGISTRY")
                .replace(&home.to_string(), "HOME")
        };
        Said {
            out: text(&output.stdout),
            err: text(&output.stderr),
            code: output.status.code().unwrap(),
        }
    }

    fn log_in(&self, password: &[u8]) -> Said {
        let host = self.host.as_str();
        self.says(&["login", "-u", "u", "--password-stdin", host], password)
    }

    fn config(&self) -> String {
        let file = self.home.path().join("config.json");
        let text = fs::read_to_string(file).unwrap();
        text.replace(&self.host, "REGISTRY")
    }

    /// What the helper was asked since the last time.
    fn asked(&self) -> String {
        let log = self.home.path().join("docker-credential-fake.log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        text.replace(&self.host, "REGISTRY")
    }

    fn succeeds(&self, arguments: &[&str]) {
        let said = self.says(arguments, b"");
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    }
}

#[test]
fn the_clients_helper_keeps_the_account_that_opens_push_pull_and_build() {
    let config = r#"{"credsStore":"fake","psFormat":"x"}"#;
    let Some(user) = User::new("credential helper", config) else { return };
    let image = user.image();
    let shut = user.says(&["push", "-q", &image], b"");
    assert_eq!(shut.code, 1, "{shut:?}");
    assert!(shut.err.contains("no basic auth credentials"), "{shut:?}");

    let wrong = user.log_in(b"wrong");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(
        wrong.err.contains("unauthorized: authentication required"),
        "{wrong:?}"
    );
    user.asked();
    let right = user.log_in(b"p:w\n");
    assert_eq!((&*right.out, &*right.err), ("Login Succeeded\n", ""));
    assert_eq!(
        user.asked(),
        "store {\"ServerURL\":\"REGISTRY\",\"Username\":\"u\",\
         \"Secret\":\"p:w\"}\n"
    );
    insta::assert_snapshot!(user.config(), @r#"
    {
    	"auths": {
    		"REGISTRY": {}
    	},
    	"credsStore": "fake",
    	"psFormat": "x"
    }
    "#);

    user.succeeds(&["push", "-q", &image]);
    assert_eq!(user.asked(), "get REGISTRY\n");
    user.succeeds(&["rmi", &image]);
    user.succeeds(&["pull", "-q", &image]);
    let context = tempfile::tempdir().unwrap();
    let file = format!("FROM {image}\nLABEL a=b\n");
    fs::write(context.path().join("Dockerfile"), file).unwrap();
    user.asked();
    let built = context.path().to_str().unwrap();
    user.succeeds(&["build", "--pull", "-q", built]);
    assert_eq!(user.asked(), "list unused\nget REGISTRY\n");

    // The other command has the same file and the same helper.
    if Path::new("/usr/local/bin/docker").exists() {
        let said = user.of("docker", &["pull", "-q", &image], b"");
        assert_eq!(said.code, 0, "{said:?}");
    }
    user.asked();
    let again = user.says(&["login", &user.host], b"");
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.err.contains("[Username: u]"), "{again:?}");

    user.asked();
    let out = user.says(&["logout", &user.host], b"");
    assert_eq!(out.out, "Removing login credentials for REGISTRY\n");
    assert_eq!(user.asked(), "erase REGISTRY\n");
    assert!(!user.config().contains("REGISTRY"), "{}", user.config());
    let shut = user.says(&["pull", "-q", &image], b"");
    assert_eq!(shut.code, 1, "{shut:?}");
}

#[test]
fn without_a_helper_the_file_has_the_password_and_docker_warns_of_it() {
    let Some(user) = User::new("login without a helper", "{}") else { return };
    let other = user.home.path().join("other");
    let dir = other.to_str().unwrap();
    let host = user.host.as_str();
    let said = user
        .says(&["--config", dir, "login", "-u", "u", "-p", "p:w", host], b"");
    assert_eq!(said.out, "Login Succeeded\n", "{said:?}");
    insta::assert_snapshot!(said.err, @r"
    WARNING! Using --password via the CLI is insecure. Use --password-stdin.

    WARNING! Your credentials are stored unencrypted in 'HOME/other/config.json'.
    Configure a credential helper to remove this warning. See
    https://docs.docker.com/go/credential-store/
    ");
    let text = fs::read_to_string(other.join("config.json")).unwrap();
    assert!(text.contains(r#""auth": "dTpwOnc=""#), "{text}");
    let image = user.image();
    user.succeeds(&["--config", dir, "push", "-q", &image]);
    let shut = user.says(&["push", "-q", &image], b"");
    assert_eq!(shut.code, 1, "the usual file has nothing: {shut:?}");
    user.succeeds(&["--config", dir, "logout", host]);
    let shut = user.says(&["--config", dir, "push", "-q", &image], b"");
    assert_eq!(shut.code, 1, "{shut:?}");
}

#[test]
fn a_login_that_cannot_be_one_is_refused_in_dockers_words() {
    let config = r#"{"credsStore":"absent"}"#;
    let Some(user) = User::new("login refused", config) else { return };
    let host = user.host.as_str();
    let mut said = Vec::new();
    for arguments in [
        &["login", host][..],
        &["login", "-u", "u", host],
        &["login", "-u", "u", "-p", "", host],
        &["login", "-u", "u", "--password-stdin", host],
        &["login", "--password-stdin", host],
        &["login", "-u", "u", "-p", "x", "--password-stdin", host],
        &["login", "-u", "u", "-p", "p:w", host],
        &["pull", "-q", &user.image()],
    ] {
        let Said { err, code, .. } = user.says(arguments, b"");
        assert_eq!(code, 1, "{arguments:?}: {err}");
        let warning = "WARNING! Using --password via the CLI is insecure. Use \
             --password-stdin.\n";
        said.push(err.replace(warning, ""));
    }
    insta::assert_snapshot!(said.concat(), @r#"
    Error: Cannot perform an interactive login from a non TTY device
    Error: Cannot perform an interactive login from a non TTY device
    password is empty
    Error: Cannot perform an interactive login from a non TTY device
    the --password-stdin option requires --username to be set
    conflicting options: cannot specify both --password and --password-stdin
    Error saving credentials: error storing credentials - err: exec: "docker-credential-absent": executable file not found in $PATH, out: ``
    WARNING: asking REGISTRY without an account: error getting credentials - err: exec: "docker-credential-absent": executable file not found in $PATH, out: ``
    Error response from daemon: REGISTRY: unauthorized: authentication required (no basic auth credentials); log in there first (login REGISTRY)
    "#);
    fs::write(user.home.path().join("config.json"), "{").unwrap();
    let said = user.says(&["pull", "-q", &user.image()], b"");
    insta::assert_snapshot!(said.err, @r"
    WARNING: Error parsing config file (HOME/config.json): EOF while parsing an object at line 1 column 1
    Error response from daemon: REGISTRY: unauthorized: authentication required (no basic auth credentials); log in there first (login REGISTRY)
    ");
}
