//! Finding the daemon, and starting one where there is none.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use cli_api::client::{Client, Host, Payload};
use cli_api::{Error, daemon};
use http::Method;

use super::endpoint::Endpoint;
use super::failure::Failure;
use crate::engine::config::{Settings, claim_runtime_dir};

/// The newest version of the API that this command speaks.
pub(crate) const NEWEST: (u16, u16) = (1, 51);

/// Options that stand before the command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// Where the daemon is: unix://PATH, tcp://HOST:PORT or ssh://HOST
    /// [default: $DOCKER_HOST, else a daemon of this machine, started on
    /// demand]
    #[arg(short = 'H', long, value_name = "URL")]
    pub(crate) host: Option<String>,
    /// Name of the docker context that says where the daemon is [default:
    /// $DOCKER_CONTEXT, else the one in use]
    #[arg(short, long, value_name = "NAME", conflicts_with = "host")]
    pub(crate) context: Option<String>,
    /// Accepted for Docker's sake
    #[arg(short = 'D', long, hide = true)]
    pub(crate) debug: bool,
    /// Accepted for Docker's sake: debug, info, warn, error or fatal
    #[arg(short, long, hide = true, default_value = "info")]
    pub(crate) log_level: String,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long,
        action = clap::ArgAction::Version)]
    pub(crate) version: Option<bool>,
    /// Speak TLS; implied by --tlsverify
    #[arg(long)]
    pub(crate) tls: bool,
    /// Speak TLS, and believe only a daemon that the CA has signed for
    #[arg(long)]
    pub(crate) tlsverify: bool,
    /// CA of the daemon [default: ca.pem in $DOCKER_CERT_PATH or ~/.docker]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscacert: Option<PathBuf>,
    /// Our certificate [default: cert.pem, likewise]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<PathBuf>,
    /// Our key [default: key.pem, likewise]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<PathBuf>,
    /// Where config.json with registry passwords is [default:
    /// $DOCKER_CONFIG, else ~/.docker]
    #[arg(long, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
}

/// A connection that a command can use.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) global: Global,
}

impl Context {
    /// Finds the daemon and agrees on a version with it.
    ///
    /// If nobody said where the daemon is, one is started on demand.
    pub(crate) async fn connect(global: &Global) -> anyhow::Result<Context> {
        let elsewhere = global.endpoint()?;
        let client = match &elsewhere {
            Some(endpoint) => endpoint.client()?,
            None => {
                claim_runtime_dir()?;
                Client::new(Place::usual().ensure_running()?)
            }
        };
        let ping = match ping(&client).await {
            // It was killed at this moment: the kernel still accepted the
            // connection, and nobody answers any more. Start the next one.
            Err(Error::Http { .. }) if elsewhere.is_none() => {
                Place::usual().ensure_running()?;
                ping(&client).await
            }
            answered => answered,
        };
        let ping = ping.map_err(unreachable_daemon)?;
        let theirs = ping
            .headers()
            .get("api-version")
            .and_then(|it| version(it.to_str().ok()?))
            .unwrap_or((1, 24));
        let (major, minor) = theirs.min(NEWEST);
        let client = client.with_prefix(format!("/v{major}.{minor}"));
        Ok(Context { client, global: global.clone() })
    }
}

async fn ping(
    client: &Client,
) -> Result<http::Response<hyper::body::Incoming>, Error> {
    client.send(Method::GET, "/_ping", Payload::none()).await
}

fn version(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Docker's sentence, the cause, and the way out.
fn unreachable_daemon(why: Error) -> anyhow::Error {
    let (host, cause) = match &why {
        Error::Connect { host, cause } => (host, cause),
        // What is not HTTP would be the words of a login script.
        Error::Http { host, cause }
            if host.starts_with("ssh://") && !cause.is_parse() =>
        {
            let text = format!(
                "ssh has ended without a word from {host}: skiff has to \
                 be in the PATH there, and ssh has to come in without a \
                 password"
            );
            return Failure::new(1, text).into();
        }
        _ => return why.into(),
    };
    let text = format!(
        "Cannot connect to the Docker daemon at {host}. Is the docker daemon \
         running?\n{cause}; start one with: skiff daemon -H {host}"
    );
    Failure::new(1, text).into()
}

impl Global {
    /// What no command does anything with must make sense all the same.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let levels = [
            "trace", "debug", "info", "warn", "warning", "error", "fatal",
            "panic", "",
        ];
        let level = &self.log_level;
        anyhow::ensure!(
            levels.contains(&level.to_lowercase().as_str()),
            "Unable to parse logging level: {level}"
        );
        Ok(())
    }

    /// A place other than the usual one. Whoever names the usual one, for
    /// the docker command beside ours, wants its daemon started as well.
    fn endpoint(&self) -> anyhow::Result<Option<Endpoint>> {
        let usual = Place::usual().host;
        Ok(Endpoint::find(self)?.filter(|it| it.host != usual))
    }

    /// The directory of config.json.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        let set = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let home = || Some(std::env::home_dir()?.join(".docker"));
        self.config.clone().or(set).or_else(home)
    }
}

/// Where the daemon of this user is if nothing else is said, and how it is
/// started.
#[derive(Debug)]
struct Place {
    host: String,
    arguments: Vec<String>,
    data_root: PathBuf,
}

impl Place {
    /// The usual socket; or, with `SKIFF_DATA_ROOT`, a daemon of its own
    /// that keeps everything below that directory.
    fn usual() -> Place {
        let mut settings = Settings::default();
        let mut arguments = vec!["daemon".to_owned()];
        if let Some(root) = std::env::var_os("SKIFF_DATA_ROOT") {
            let root = PathBuf::from(root);
            let host = format!("unix://{}/skiff.sock", root.display());
            arguments.push(format!("--data-root={}", root.display()));
            arguments.push(format!("--host={host}"));
            settings.hosts = vec![host];
            settings.data_root = Some(root);
        }
        let host = settings.hosts().swap_remove(0);
        Place { host, arguments, data_root: settings.data_root() }
    }

    fn ensure_running(&self) -> Result<Host, Error> {
        let host: Host = self.host.parse()?;
        let Some(socket) = host.unix() else { return Ok(host) };
        // Not by its path, which an update may have given to another file.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("skiff").args(&self.arguments);
        let log = self.data_root.join("daemon.log");
        daemon::ensure_running(socket, &log, command, || {
            eprintln!("Starting the daemon; its log is {}", log.display());
        })?;
        Ok(host)
    }
}
