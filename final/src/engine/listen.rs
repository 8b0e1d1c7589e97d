//! Where the API is heard, and by whom.
//!
//! Whoever reaches the API is root on this machine. A socket file has an
//! owner and a mode; a port has neither, so one that other machines reach
//! wants to see a certificate. Who means it otherwise says so a second time,
//! with dockerd's flags for it: `--tls=false`, or `--tlsverify=false`.

use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cli_api::server::{Listener, bind_tcp, bind_unix};
use cli_api::tls;
use tokio::net::{TcpListener, UnixListener};

use super::activation::{self, Given};
use super::config::Settings;
use crate::rootless::Keeper;

/// Listens everywhere.
///
/// # Errors
/// An address that cannot or must not be listened on, or certificates that
/// cannot be used.
pub async fn on(
    hosts: &[String],
    settings: &Settings,
) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for host in hosts {
        match host.strip_prefix("fd://") {
            Some(which) => listeners.extend(activated(which, settings)?),
            None => listeners.push(bind(host, settings).await?),
        }
    }
    Ok(listeners)
}

/// Listens on what systemd has opened.
fn activated(
    which: &str,
    settings: &Settings,
) -> anyhow::Result<Vec<Listener>> {
    let listen = |given| match given {
        Given::Unix(unix) => Ok(Listener::Unix(UnixListener::from_std(unix)?)),
        Given::Tcp(tcp) => {
            let address = tcp.local_addr()?;
            let protection = settings.protection();
            if !address.ip().is_loopback() {
                protection.suffices(&format!("fd://{which} ({address})"))?;
            }
            protect(TcpListener::from_std(tcp)?, protection)
        }
    };
    activation::sockets(which)?.into_iter().map(listen).collect()
}

/// Lets the members of a group, by its name or number, use a socket.
fn give_to(group: &str, socket: &Path) -> anyhow::Result<()> {
    let known = nix::unistd::Group::from_name(group)
        .with_context(|| format!("cannot look the group {group} up"))?;
    let id = known.map(|it| it.gid.as_raw()).or_else(|| group.parse().ok());
    let Some(id) = id else { bail!("group {group} not found") };
    std::os::unix::fs::chown(socket, None, Some(id)).with_context(|| {
        format!("cannot give {} to the group {group}", socket.display())
    })
}

async fn bind(host: &str, settings: &Settings) -> anyhow::Result<Listener> {
    if let Some(path) = host.strip_prefix("unix://") {
        let listener = bind_unix(Path::new(path))?;
        if let Some(group) = &settings.dockerd.group {
            give_to(group, Path::new(path))?;
        }
        return Ok(listener);
    }
    let Some(address) = host.strip_prefix("tcp://") else {
        bail!(
            "cannot listen on {host}: an address starts with unix://, tcp:// \
             or fd://"
        );
    };
    let protection = settings.protection();
    if !is_loopback(address) {
        protection.suffices(host)?;
    }
    let address = complete(address, &protection);
    let tcp = match settings.rootless.as_deref() {
        Some(it) => bind_outside(&it.keeper, &address)?,
        None => bind_tcp(&address).await?,
    };
    protect(tcp, protection)
}

fn protect(
    tcp: TcpListener,
    protection: Protection,
) -> anyhow::Result<Listener> {
    match protection {
        Protection::None { .. } => Ok(Listener::Tcp(tcp)),
        Protection::Tls { own, clients, .. } => {
            let config = tls::daemon(&own, clients.as_deref())?;
            Ok(Listener::secure(tcp, config))
        }
    }
}

/// In our own network nobody would find the API; the keeper opens the port
/// in the host's.
fn bind_outside(keeper: &Keeper, address: &str) -> anyhow::Result<TcpListener> {
    let bind = || {
        let place = address.to_socket_addrs()?.next();
        let place = place.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let (socket, _) = keeper.bind(place.ip(), place.port(), false)?;
        TcpListener::from_std(socket.into())
    };
    bind().with_context(|| format!("cannot listen on {address}"))
}

/// What keeps strangers away from a TCP port.
#[derive(Debug)]
enum Protection {
    /// Nothing at all.
    None { asked_for: bool },
    /// TLS; with `clients`, only for those whom this authority knows.
    Tls { own: tls::Pair, clients: Option<PathBuf>, asked_for: bool },
}

impl Settings {
    /// dockerd's rule: to say anything about `--tlsverify` turns TLS on.
    fn protection(&self) -> Protection {
        let verify = self.verifies();
        if verify.is_none() && self.tls != Some(true) {
            return Protection::None { asked_for: self.tls.is_some() };
        }
        let file = |given: &Option<PathBuf>, name| {
            given.clone().unwrap_or_else(|| certificates().join(name))
        };
        Protection::Tls {
            own: tls::Pair {
                cert: file(&self.tlscert, "cert.pem"),
                key: file(&self.tlskey, "key.pem"),
            },
            clients: (verify == Some(true))
                .then(|| file(&self.tlscacert, "ca.pem")),
            asked_for: verify == Some(false),
        }
    }

    fn verifies(&self) -> Option<bool> {
        let set = std::env::var_os("DOCKER_TLS_VERIFY");
        let set = set.filter(|it| !it.is_empty()).map(|_| true);
        self.tlsverify.or(set)
    }

    /// What `docker info` warns of, in Docker's words.
    pub(super) fn open_doors(&self) -> Vec<String> {
        let how = match self.protection() {
            Protection::None { .. } => ("http", "encryption"),
            Protection::Tls { clients: None, .. } => {
                ("https", "TLS client verification")
            }
            Protection::Tls { .. } => return Vec::new(),
        };
        let (scheme, lacks) = how;
        self.hosts
            .iter()
            .filter_map(|host| host.strip_prefix("tcp://"))
            .map(|address| {
                format!(
                    "WARNING: API is accessible on {scheme}://{address} \
                     without {lacks}.\n         Access to the remote API is \
                     equivalent to root access on the host."
                )
            })
            .collect()
    }
}

impl Protection {
    /// Whether other machines may be let near.
    fn suffices(&self, host: &str) -> anyhow::Result<()> {
        match self {
            Protection::Tls { clients: Some(_), .. } => {}
            Protection::None { asked_for: true }
            | Protection::Tls { asked_for: true, .. } => tracing::warn!(
                "Binding to IP address without --tlsverify is insecure and \
                 gives root access on this machine to everyone who has \
                 access to your network. host={host}"
            ),
            Protection::None { .. } => bail!(
                "cannot listen on {host}: whoever reaches this port is root \
                 on this machine, so it needs --tlsverify with --tlscacert, \
                 --tlscert and --tlskey; if you do want it open to \
                 everybody, say so with --tls=false"
            ),
            Protection::Tls { .. } => bail!(
                "cannot listen on {host}: whoever reaches this port is root \
                 on this machine, and --tls alone lets in everybody; use \
                 --tlsverify with --tlscacert, or say --tlsverify=false if \
                 you mean it"
            ),
        }
        Ok(())
    }
}

/// Where the files are if no flag names them: the docker command's place.
fn certificates() -> PathBuf {
    let set = std::env::var_os("DOCKER_CERT_PATH").map(PathBuf::from);
    let home = || std::env::home_dir().unwrap_or_default().join(".docker");
    set.unwrap_or_else(home)
}

/// `:2375` is 127.0.0.1, and a port that is not said is Docker's.
fn complete(address: &str, protection: &Protection) -> String {
    let (name, port) = split(address);
    let name = if name.is_empty() { "127.0.0.1" } else { name };
    let usual = match protection {
        Protection::None { .. } => "2375",
        Protection::Tls { .. } => "2376",
    };
    format!("{name}:{}", port.unwrap_or(usual))
}

fn is_loopback(address: &str) -> bool {
    let (name, _) = split(address);
    let ip = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    matches!(name, "" | "localhost") || ip.is_ok_and(|it| it.is_loopback())
}

/// Name and port; the colons within `[::1]` separate nothing.
fn split(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name, Some(port).filter(|port| !port.is_empty()))
        }
        _ => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn settings(flags: &[&str]) -> Settings {
        Settings::parse_from(["skiff daemon"].iter().chain(flags))
    }

    fn refusal(flags: &[&str]) -> Option<String> {
        let protection = settings(flags).protection();
        let refused = protection.suffices("tcp://0.0.0.0:2375");
        refused.err().map(|it| it.to_string())
    }

    #[test]
    fn a_port_for_everybody_must_be_asked_for_twice() {
        insta::assert_snapshot!(refusal(&[]).unwrap());
        insta::assert_snapshot!(refusal(&["--tls"]).unwrap());
        assert_eq!(refusal(&["--tls=false"]), None);
        assert_eq!(refusal(&["--tlsverify=false"]), None);
        assert_eq!(refusal(&["--tlsverify"]), None);
    }

    #[test]
    fn what_an_address_leaves_out_is_dockers() {
        let plain = settings(&[]).protection();
        let secure = settings(&["--tlsverify"]).protection();
        assert_eq!(complete("", &plain), "127.0.0.1:2375");
        assert_eq!(complete(":99", &plain), "127.0.0.1:99");
        assert_eq!(complete("[::1]", &secure), "[::1]:2376");
        assert_eq!(complete("0.0.0.0:1", &secure), "0.0.0.0:1");
    }

    #[test]
    fn only_this_machines_own_addresses_are_loopback() {
        for local in ["", "localhost:1", "127.0.0.2:1", "[::1]:1", "[::1]"] {
            assert!(is_loopback(local), "{local}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "box:1"] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
