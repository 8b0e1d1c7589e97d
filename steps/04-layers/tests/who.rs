//! Who we are to a registry, whom we believe, and by which way we go: all of
//! it from the environment and from files, as users set it. The environment
//! is that of a process, so each pull is one of its own.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::site::{Answer, Content, Request, Site, error};
use common::*;
use layers::registry::{
    Account, Auth, PullOptions, RegistryConfig, pull, push,
};

/// Pulls `$PULL`, with all else as the environment says.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn pull_in_a_process_of_its_own() {
    let name = std::env::var("PULL").unwrap();
    let options = PullOptions {
        pause: std::time::Duration::from_millis(1),
        attempts: 2,
        config: RegistryConfig {
            certificates: std::env::var_os("CERTIFICATES").map(Into::into),
            ..RegistryConfig::default()
        },
        ..PullOptions::default()
    };
    let (_dir, store) = store();
    if let Err(e) = pull(&store, &name.parse().unwrap(), &options, &|_| {}) {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

/// Runs that with these variables and none of the kind from outside; its
/// error, if it failed.
fn pulled(name: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "pull_in_a_process_of_its_own"])
        .arg("--nocapture");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("SSL_CERT_FILE").env("DOCKER_CONFIG", "/nonexistent");
    command.env("PULL", name).envs(variables.iter().copied());
    let Output { status, stderr, stdout } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout);
    assert!(said.contains("running 1 test"), "{said}");
    match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&stderr).into_owned()),
    }
}

/// A directory with a `config.json` and the credential helper
/// `docker-credential-fake`, which writes down what it is asked.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str, answer: &str) -> Home {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        let helper = dir.path().join("docker-credential-fake");
        let script = format!(
            "#!/bin/sh\nread -r host || :\n\
             echo \"$1 $host\" >>\"$0.log\"\n{answer}\n"
        );
        fs::write(&helper, script).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&helper, mode).unwrap();
        Home(dir)
    }

    fn pulled(&self, name: &str) -> Result<(), String> {
        let dir = self.0.path().display().to_string();
        let path = format!("{dir}:{}", std::env::var("PATH").unwrap());
        pulled(name, &[("DOCKER_CONFIG", &dir), ("PATH", &path)])
    }

    fn asked(&self) -> String {
        let log = self.0.path().join("docker-credential-fake.log");
        fs::read_to_string(log).unwrap_or_default()
    }
}

/// Lets in who has this `Authorization`.
fn guarded(pass: &str) -> Site {
    let site = Site::start(Content::new(|_, _| {}));
    let pass = pass.to_owned();
    site.behave(move |request, content| {
        if request.path == "/v2/" || request.header("authorization") == pass {
            return content.good(request);
        }
        error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", "Basic realm=\"x\"")
    });
    site
}

/// `u:p`
const BASIC: &str = "Basic dTpw";
const SAYS_U_P: &str = r#"echo '{"Username":"u","Secret":"p"}'"#;

#[test]
fn a_credential_helper_is_asked_for_the_registry() {
    let site = guarded(BASIC);
    let host = format!("127.0.0.1:{}", site.port);
    let name = site.reference().to_string();
    let store = r#"{"credsStore":"fake"}"#.to_owned();
    let helpers = format!(
        r#"{{"credsStore":"missing","credHelpers":{{"{host}":"fake"}}}}"#
    );
    for config in [store, helpers] {
        let home = Home::new(&config, SAYS_U_P);
        home.pulled(&name).unwrap();
        assert_eq!(home.asked(), format!("get {host}\n"), "{config}");
    }
}

#[test]
fn a_helper_that_knows_nothing_is_no_obstacle_and_one_that_fails_is() {
    let site = guarded(BASIC);
    let name = site.reference().to_string();
    let host = format!("127.0.0.1:{}", site.port);
    let config = format!(
        r#"{{"credsStore":"fake","auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#
    );
    let unknown = "echo 'credentials not found in native keychain'; exit 1";
    let home = Home::new(&config, unknown);
    // What `docker login` has put into the file itself counts then.
    home.pulled(&name).unwrap();

    let home = Home::new(&config, "echo 'the keychain is locked'; exit 1");
    let text = home.pulled(&name).unwrap_err();
    let words = format!(
        "cannot read the credentials for {host}: error getting credentials - \
         err: exit status 1, out: `the keychain is locked`"
    );
    assert!(text.contains(&words), "{text}");

    let home = Home::new(r#"{"credsStore":"nowhere"}"#, "");
    let text = home.pulled(&name).unwrap_err();
    let words = "exec: \"docker-credential-nowhere\": executable file not \
         found in $PATH";
    assert!(text.contains(words), "{text}");
}

#[test]
fn an_identity_token_is_exchanged_for_one_that_opens() {
    let site = Site::start(Content::new(|_, _| {}));
    let port = site.port;
    site.behave(move |request, content| token_server(port, request, content));
    let name = site.reference().to_string();
    let says = r#"echo '{"Username":"<token>","Secret":"refresh"}'"#;
    let home = Home::new(r#"{"credsStore":"fake"}"#, says);
    home.pulled(&name).unwrap();

    // The same token where `docker login` leaves it without a helper.
    let config = format!(
        r#"{{"auths":{{"127.0.0.1:{port}":{{"identitytoken":"refresh"}}}}}}"#
    );
    let home = Home::new(&config, "exit 1");
    home.pulled(&name).unwrap();
    assert_eq!(home.asked(), "");
}

#[test]
fn a_login_gets_an_identity_token_where_the_registry_gives_one() {
    let site = Site::start(Content::new(|_, _| {}));
    let port = site.port;
    site.behave(move |request, _| {
        let token = request.path.starts_with("/token?");
        if token && request.header("authorization") == BASIC {
            assert!(request.path.contains("offline_token=true"));
            let both = r#"{"token":"short","refresh_token":"long"}"#;
            return Answer::new(200, both);
        }
        if request.header("authorization") == "Bearer short" {
            return Answer::new(200, "{}");
        }
        let realm = format!("Bearer realm=\"http://127.0.0.1:{port}/token\"");
        error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", realm)
    });
    let host = format!("127.0.0.1:{port}");
    let log_in = |password: &str| {
        let (username, password) = ("u".to_owned(), password.to_owned());
        let auth = Auth { username, password, ..Auth::default() };
        let mut options = options();
        options.account = Account::Client(Some(auth));
        layers::registry::log_in(&host, &options)
    };
    assert_eq!(log_in("p").unwrap().as_deref(), Some("long"));
    let text = log_in("wrong").unwrap_err().to_string();
    assert!(text.contains("incorrect username or password"), "{text}");
}

/// What the client of a daemon has not sent, the daemon does not add: it may
/// have what the client may not.
#[test]
fn a_client_does_not_ask_with_the_account_of_the_daemons_user() {
    let site = guarded(BASIC);
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"dTpw"}}}}}}"#,
        site.port
    );
    fs::write(home.path().join("config.json"), config).unwrap();
    let mut options = options();
    options.config.docker_config = Some(home.path().to_owned());
    let pulled = |options: &PullOptions| {
        let (_dir, store) = store();
        pull(&store, &site.reference(), options, &|_| {}).map(drop)
    };
    pulled(&options).unwrap();
    options.account = Account::Client(None);
    let text = pulled(&options).unwrap_err().to_string();
    assert!(text.contains("no basic auth credentials"), "{text}");
}

/// Gives a token to who has the refresh token, and images to who has that.
fn token_server(port: u16, request: &Request, content: &Content) -> Answer {
    if request.path == "/token" {
        let form = String::from_utf8_lossy(&request.body);
        assert!(form.contains("grant_type=refresh_token"), "{form}");
        assert!(form.contains("scope=repository%3Aapp%3Apull"), "{form}");
        return match form.contains("refresh_token=refresh&") {
            true => Answer::new(200, r#"{"access_token":"short"}"#),
            false => error(401, "UNAUTHORIZED", "wrong refresh token"),
        };
    }
    let open = request.header("authorization") == "Bearer short";
    if open || request.path == "/v2/" {
        return content.good(request);
    }
    let challenge = format!(
        "Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"me\",\
         scope=\"repository:app:pull\""
    );
    error(401, "UNAUTHORIZED", "authentication required")
        .with("WWW-Authenticate", challenge)
}

/// A registry behind TLS under a name that only the proxy knows, with an
/// image in it.
struct Private {
    registry: Registry,
    keys: Keys,
    proxy: line::Line,
}

const NAME: &str = "registry.example:5000";

impl Private {
    fn start(test: &str) -> Option<Private> {
        let keys = Keys::make(test, "registry.example")?;
        let registry = Registry::start_keys(test, &keys, "")?;
        let (_dir, store) = store();
        let reference = registry.reference("team/app:1");
        let layer = tar(&[("a", "b")]);
        image(&store, &reference.to_string(), &host(), &[layer]);
        push(&store, &reference, &options(), &|_| {}).unwrap();
        let proxy = line::Line::proxy(registry.port);
        Some(Private { registry, keys, proxy })
    }

    /// By way of the proxy.
    fn pulled(&self, variables: &[(&str, &str)]) -> Result<(), String> {
        let proxy = format!("http://127.0.0.1:{}", self.proxy.port);
        let mut all = vec![("HTTPS_PROXY", proxy.as_str())];
        all.extend(variables);
        pulled(&format!("{NAME}/team/app:1"), &all)
    }
}

#[test]
fn a_proxy_and_a_private_authority_are_taken_from_the_environment() {
    let Some(private) = Private::start("proxy") else { return };
    let file = private.keys.certificate.as_str();
    let trusted = ("SSL_CERT_FILE", file);
    private.pulled(&[trusted]).unwrap();
    let asked = private.proxy.asked();
    let words = format!("CONNECT {NAME} HTTP/1.1");
    assert!(asked.iter().all(|line| *line == words), "{asked:?}");
    assert!(!asked.is_empty());

    let text = private.pulled(&[]).unwrap_err();
    assert!(text.contains("certificate is not trusted"), "{text}");
    // Without the proxy nobody knows the name.
    let asked = private.proxy.asked().len();
    for exception in ["registry.example", ".example", "*"] {
        let text = private.pulled(&[trusted, ("NO_PROXY", exception)]);
        let text = text.unwrap_err();
        assert!(text.contains("does not resolve"), "{exception}: {text}");
    }
    assert_eq!(private.proxy.asked().len(), asked);
}

#[test]
fn this_machine_is_not_behind_a_proxy() {
    let Some(private) = Private::start("no proxy here") else { return };
    let name = private.registry.name("team/app:1");
    let proxy = format!("http://127.0.0.1:{}", private.proxy.port);
    let variables = [("HTTPS_PROXY", &*proxy), ("HTTP_PROXY", &*proxy)];
    pulled(&name, &variables).unwrap();
    assert_eq!(private.proxy.asked(), [] as [String; 0]);
}

#[test]
fn a_registry_has_an_authority_and_a_key_in_dockers_directory() {
    let test = "certificates of a registry";
    let Some(private) = Private::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(NAME);
    fs::create_dir(&own).unwrap();
    let certificates = dir.path().display().to_string();
    let pulled = || private.pulled(&[("CERTIFICATES", &certificates)]);
    let text = pulled().unwrap_err();
    assert!(text.contains("certificate is not trusted"), "{text}");
    // Any name will do, as in Docker.
    fs::copy(&private.keys.certificate, own.join("lan.crt")).unwrap();
    pulled().unwrap();
    fs::copy(&private.keys.key, own.join("client.key")).unwrap();
    let text = pulled().unwrap_err();
    assert!(text.contains("a key without its NAME.cert"), "{text}");
}

#[test]
fn a_registry_that_wants_to_know_us_gets_our_certificate() {
    let test = "client certificate";
    let Some(keys) = Keys::make(test, "registry.example") else { return };
    let Some(us) = Keys::make(test, "us") else { return };
    let clients = format!("    clientcas: [{}]\n", us.certificate);
    let Some(registry) = Registry::start_keys(test, &keys, &clients) else {
        return;
    };
    let proxy = line::Line::proxy(registry.port);
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(NAME);
    fs::create_dir(&own).unwrap();
    fs::copy(&keys.certificate, own.join("ca.crt")).unwrap();
    let (proxy, dir) =
        (format!("http://127.0.0.1:{}", proxy.port), path(dir.path()));
    let variables = [("HTTPS_PROXY", &*proxy), ("CERTIFICATES", &*dir)];
    let name = format!("{NAME}/team/app:1");
    let stranger = pulled(&name, &variables).unwrap_err();
    assert!(!stranger.contains("not found"), "{stranger}");
    fs::copy(&us.certificate, own.join("client.cert")).unwrap();
    fs::copy(&us.key, own.join("client.key")).unwrap();
    // Known, we are told that there is no such image.
    let known = pulled(&name, &variables).unwrap_err();
    assert!(known.contains("manifest unknown"), "{known}");
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
