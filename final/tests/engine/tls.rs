//! The API over TCP: by the stock docker command, with the right
//! certificate, with a stranger's, and with none.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bollard::models::ContainerCreateBody;
use cli_api::client::Client;
use cli_api::{testing, tls};
use futures_util::SinkExt;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair,
};
use tokio_tungstenite::tungstenite::Message;

use super::daemon::{Daemon, sh};

/// `ca.pem`, `cert.pem` and `key.pem` in `dir`, signed by an authority of
/// their own that is called `name`.
fn authority(name: &str) -> (Certificate, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate, Issuer::new(params, key))
}

/// A certificate for 127.0.0.1, where a client or a daemon looks for it.
fn issue(dir: &Path, ca: &Certificate, by: &Issuer<'_, KeyPair>) {
    std::fs::create_dir_all(dir).unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = params.signed_by(&key, by).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), own.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

/// A daemon behind TLS, and those who come to it.
struct Place {
    daemon: Daemon,
    dir: tempfile::TempDir,
    port: u16,
}

impl Place {
    async fn new(test: &str) -> Option<Place> {
        let dir = tempfile::tempdir().unwrap();
        let (ca, issuer) = authority("ours");
        let (other_ca, other) = authority("a stranger's");
        issue(&dir.path().join("daemon"), &ca, &issuer);
        issue(&dir.path().join("friend"), &ca, &issuer);
        // A stranger knows our authority, but was not signed by it.
        issue(&dir.path().join("stranger"), &other_ca, &other);
        let ours = dir.path().join("stranger/ca.pem");
        std::fs::write(ours, ca.pem()).unwrap();
        // And one without a certificate.
        std::fs::create_dir(dir.path().join("nobody")).unwrap();
        std::fs::write(dir.path().join("nobody/ca.pem"), ca.pem()).unwrap();
        let port = free_port();
        let file = |name| dir.path().join("daemon").join(name);
        let flag = |name, path: PathBuf| format!("{name}={}", path.display());
        let flags = vec![
            format!("--host=tcp://0.0.0.0:{port}"),
            "--tlsverify".to_owned(),
            flag("--tlscacert", file("ca.pem")),
            flag("--tlscert", file("cert.pem")),
            flag("--tlskey", file("key.pem")),
        ];
        let daemon = Daemon::start_with(test, flags).await?;
        Some(Place { daemon, dir, port })
    }

    /// A command as `who`, with TLS and verification.
    fn run(&self, program: &str, who: &str, arguments: &[&str]) -> Output {
        let host = format!("tcp://127.0.0.1:{}", self.port);
        Command::new(program)
            .env("DOCKER_HOST", host)
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", self.dir.path().join(who))
            .env("HOME", self.dir.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn refused(&self, program: &str, who: &str) -> String {
        let output = self.run(program, who, &["ps"]);
        assert!(!output.status.success(), "{who} was let in by {program}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn free_port() -> u16 {
    let any = TcpListener::bind("127.0.0.1:0").unwrap();
    any.local_addr().unwrap().port()
}

const SKIFF: &str = env!("CARGO_BIN_EXE_skiff");

/// The commands that can be tried here.
fn commands(test: &str) -> Vec<&'static str> {
    if Command::new("docker").arg("--version").output().is_ok() {
        return vec!["docker", SKIFF];
    }
    testing::skip(test, "there is no docker command; only skiff is tried");
    vec![SKIFF]
}

#[tokio::test]
async fn whoever_has_the_authoritys_certificate_is_served_over_tcp() {
    let test = "whoever_has_the_authoritys_certificate_is_served_over_tcp";
    let Some(place) = Place::new(test).await else { return };
    for (number, program) in commands(test).into_iter().enumerate() {
        // Attached: the connection is taken over within TLS.
        let run = ["run", "--rm", "--network=none", "busybox", "echo", "hi"];
        let output = place.run(program, "friend", &run);
        assert_eq!(output.stdout, b"hi\n", "{output:?}");
        let name = format!("c{number}");
        place.daemon.run(&name, sh("sleep 60")).await;
        let exec = ["exec", &name, "sh", "-c", "echo in; exit 3"];
        let output = place.run(program, "friend", &exec);
        assert_eq!(output.stdout, b"in\n", "{output:?}");
        assert_eq!(output.status.code(), Some(3));
        place.daemon.remove(&name).await;
    }
}

#[tokio::test]
async fn a_websocket_carries_both_directions_over_tls() {
    let test = "a_websocket_carries_both_directions_over_tls";
    let Some(place) = Place::new(test).await else { return };
    let body = ContainerCreateBody {
        open_stdin: Some(true),
        ..sh("read name; echo hi $name")
    };
    place.daemon.create("aa", body).await;
    let friend = place.dir.path().join("friend");
    let (cert, key) = (friend.join("cert.pem"), friend.join("key.pem"));
    let own = tls::Pair { cert, key };
    let config = tls::client(Some(&own), Some(&friend.join("ca.pem")));
    let host = format!("tcp://127.0.0.1:{}", place.port);
    let client = Client::new(host.parse().unwrap());
    let wire = client.with_tls(config.unwrap()).dial().await.unwrap();
    let url = format!(
        "ws://127.0.0.1:{}/v1.44/containers/aa/attach/ws?stream=1&stdin=1\
         &stdout=1",
        place.port
    );
    let (mut socket, _) =
        tokio_tungstenite::client_async(url, wire).await.unwrap();
    place.daemon.docker.start_container("aa", None).await.unwrap();
    socket.send(Message::text("you\n")).await.unwrap();
    assert_eq!(super::attach::read(&mut socket).await, "hi you\n");
    place.daemon.remove("aa").await;
}

/// Half of a TLS connection can be closed as well, and `cat` then ends.
#[tokio::test]
async fn standard_input_ends_over_tls_and_output_goes_on() {
    let test = "standard_input_ends_over_tls_and_output_goes_on";
    let Some(place) = Place::new(test).await else { return };
    for program in commands(test) {
        let script = format!(
            "head -c 300000 /dev/zero | {program} run --rm -i --network=none \
             busybox sh -c 'cat; echo end' | tail -c 4"
        );
        let output = place.run("sh", "friend", &["-c", &script]);
        assert_eq!(output.stdout, b"end\n", "{output:?}");
    }
}

#[tokio::test]
async fn strangers_are_refused_with_the_reason() {
    let test = "strangers_are_refused_with_the_reason";
    let Some(place) = Place::new(test).await else { return };
    for program in commands(test) {
        for who in ["stranger", "nobody"] {
            let said = place.refused(program, who);
            assert!(said.contains("certificate"), "{program}, {who}: {said}");
        }
        let plain = Command::new(program)
            .args(["-H", &format!("tcp://127.0.0.1:{}", place.port), "ps"])
            .output()
            .unwrap();
        let said = String::from_utf8(plain.stderr).unwrap();
        assert!(said.contains("HTTP request to an HTTPS server"), "{said}");
    }
    // Nobody of them holds up a friend.
    let silent = TcpStream::connect(("127.0.0.1", place.port));
    assert!(place.run(SKIFF, "friend", &["ps"]).status.success());
    drop(silent);
}

/// Who has connected and not proven himself yet waits for nobody else.
#[tokio::test]
async fn a_slow_friend_is_served_though_a_stranger_fails_meanwhile() {
    let test = "a_slow_friend_is_served_though_a_stranger_fails_meanwhile";
    let Some(place) = Place::new(test).await else { return };
    let early = TcpStream::connect(("127.0.0.1", place.port)).unwrap();
    place.refused(SKIFF, "nobody");
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", door.local_addr().unwrap());
    let port = place.port;
    std::thread::spawn(move || {
        let mut early = Some(early);
        for mut client in door.incoming().map(Result::unwrap) {
            let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut daemon = early.take().unwrap_or_else(connect);
            let mut from = client.try_clone().unwrap();
            let mut to = daemon.try_clone().unwrap();
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut daemon, &mut client));
        }
    });
    let ps = ["20", SKIFF, "-H", &host, "ps"];
    let output = place.run("timeout", "friend", &ps);
    assert!(output.status.success(), "{output:?}");
}

/// As `docker context create` writes it.
#[tokio::test]
async fn a_docker_context_leads_to_the_daemon_with_its_certificates() {
    let test = "a_docker_context_leads_to_the_daemon_with_its_certificates";
    let Some(place) = Place::new(test).await else { return };
    if commands(test).len() < 2 {
        return;
    }
    let config = place.dir.path().join("config");
    let friend = place.dir.path().join("friend");
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker")
            .env("DOCKER_CONFIG", &config)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let file = |name| friend.join(name).display().to_string();
    let endpoint = format!(
        "host=tcp://127.0.0.1:{},ca={},cert={},key={}",
        place.port,
        file("ca.pem"),
        file("cert.pem"),
        file("key.pem")
    );
    docker(&["context", "create", "far", "--docker", &endpoint]);
    let skiff = |arguments: &[&str]| {
        let mut command = Command::new(SKIFF);
        command.env("DOCKER_CONFIG", &config).env_remove("DOCKER_HOST");
        command.args(arguments).output().unwrap()
    };
    let images = ["images", "--format", "{{.Repository}}"];
    let by_flag = skiff(&[&["-c", "far"], &images[..]].concat());
    assert_eq!(by_flag.stdout, b"busybox\n", "{by_flag:?}");
    docker(&["context", "use", "far"]);
    let by_use = skiff(&images);
    assert_eq!(by_use.stdout, b"busybox\n", "{by_use:?}");
    let unknown = skiff(&["-c", "near", "ps"]);
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains(r#"context "near": context not found"#), "{said}");
}
