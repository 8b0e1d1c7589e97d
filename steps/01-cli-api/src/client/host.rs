//! Addresses of daemons.
//!
//! The notation is a URL's, and `unix://` has three slashes because the path
//! begins with one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::ssh::Remote;
use crate::Error;

/// Where a daemon listens, in the notation of `DOCKER_HOST` and `-H`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `unix:///run/skiff.sock`
    Unix(PathBuf),
    /// `tcp://127.0.0.1:2375`, kept as `HOST:PORT`.
    Tcp(String),
    /// `ssh://me@machine`
    Ssh(Remote),
}

impl Host {
    /// What goes into the `Host` header. HTTP demands one; over a Unix
    /// socket it means nothing.
    pub(crate) fn header(&self) -> &str {
        match self {
            Host::Unix(_) | Host::Ssh(_) => "localhost",
            Host::Tcp(address) => address,
        }
    }

    /// The machine, without the port and without the brackets of an IPv6
    /// address: what its certificate must have been issued for.
    pub(crate) fn name(&self) -> &str {
        let address = self.header();
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name);
        name.trim_matches(['[', ']'])
    }

    /// The socket file, if it is one.
    pub fn unix(&self) -> Option<&std::path::Path> {
        match self {
            Host::Unix(path) => Some(path),
            Host::Tcp(_) | Host::Ssh(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(path) => write!(f, "unix://{}", path.display()),
            Host::Tcp(address) => write!(f, "tcp://{address}"),
            Host::Ssh(remote) => remote.fmt(f),
        }
    }
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(given: &str) -> Result<Host, Error> {
        let bad = |why| Error::Host { given: given.to_owned(), why };
        let Some((scheme, rest)) = given.split_once("://") else {
            return Err(bad("it has no scheme"));
        };
        match scheme {
            "unix" if rest.starts_with('/') => {
                Ok(Host::Unix(PathBuf::from(rest)))
            }
            "unix" => Err(bad("the path must begin with /")),
            "tcp" | "http" | "https" => {
                let address = rest.trim_end_matches('/');
                match address.rsplit_once(':') {
                    Some(("", _)) | None => Err(bad("host:port is missing")),
                    Some((_, port)) if port.parse::<u16>().is_err() => {
                        Err(bad("the port is no number"))
                    }
                    Some(_) => Ok(Host::Tcp(address.to_owned())),
                }
            }
            "ssh" => Remote::parse(rest).map(Host::Ssh).map_err(bad),
            _ => Err(bad("the scheme is unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_written_alike() {
        let all =
            ["unix:///run/a.sock", "tcp://127.0.0.1:2375", "ssh://me@box"];
        for text in all {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_the_reason() {
        let say = |it: &str| it.parse::<Host>().unwrap_err().to_string();
        insta::assert_snapshot!(say("/run/a.sock"));
        assert!(say("unix://a").contains("begin with /"));
        assert!(say("tcp://host").contains("host:port"));
        assert!(say("ftp://a:1").contains("unknown"));
    }
}
