//! Why a network operation failed, in Docker's words where it has some.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// What went wrong. [`Error::status`] is the HTTP answer.
#[derive(Debug, Error)]
pub enum Error {
    /// No such network.
    #[error("network {0} not found")]
    NotFound(String),
    /// Several networks have an ID that starts like this.
    #[error("network {0} is ambiguous: several IDs begin with it")]
    Ambiguous(String),
    /// The host has come to know a network's subnet elsewhere.
    #[error(
        "network {name} cannot have its subnet {subnet}: this host has a \
         route to {route} already, perhaps another engine's or a VPN's; see \
         `ip route`, and make the network anew with another --subnet"
    )]
    SubnetTaken {
        /// The network.
        name: String,
        /// Its subnet.
        subnet: String,
        /// Where the host's route leads.
        route: String,
    },
    /// `--bridge` names a bridge that is not there.
    #[error("bridge device with non default name {0} must be created manually")]
    NoBridge(String),
    /// The name is taken.
    #[error("network with name {0} already exists")]
    Exists(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The request is well-formed but may not be done.
    #[error("{0}")]
    Forbidden(String),
    /// Somebody is connected.
    #[error(
        "error while removing network: network {name} has active \
         endpoints (name:\"{container}\" id:\"{id}\")"
    )]
    InUse {
        /// The network.
        name: String,
        /// A connected container's name.
        container: String,
        /// The start of its endpoint's ID.
        id: String,
    },
    /// The container is connected to that network already.
    #[error(
        "endpoint with name {container} already exists in network {network}"
    )]
    AlreadyConnected {
        /// The container's name.
        container: String,
        /// The network's name.
        network: String,
    },
    /// The container is not connected to that network.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container's name or ID.
        container: String,
        /// The network's name.
        network: String,
    },
    /// All subnets of the address pools are taken.
    #[error(
        "all predefined address pools have been fully subnetted: remove \
         unused networks (network prune) or give a subnet (--subnet)"
    )]
    PoolsExhausted,
    /// The subnet is another network's, or one of the host's.
    #[error(
        "invalid pool request: Pool overlaps with other one on this \
         address space ({subnet} and {other})"
    )]
    Overlap {
        /// The wanted subnet.
        subnet: String,
        /// Whose it is.
        other: String,
    },
    /// The subnet has no address left.
    #[error(
        "no available IPv{family} addresses on this network's address \
         pools: {name} ({id})"
    )]
    NoAddress {
        /// 4 or 6.
        family: u8,
        /// The network.
        name: String,
        /// Its ID.
        id: String,
    },
    /// The wanted address is somebody's.
    #[error("Address already in use ({0})")]
    AddressInUse(String),
    /// A host port is taken.
    #[error(
        "driver failed programming external connectivity on endpoint \
         {container}: Bind for {address}:{port} failed: {cause}"
    )]
    PortTaken {
        /// The container's name.
        container: String,
        /// The host's address.
        address: String,
        /// The port.
        port: u16,
        /// Docker's reason: `port is already allocated` for a container's
        /// port, otherwise what bind(2) says.
        cause: String,
    },
    /// The kernel refused a change of links, addresses or routes.
    #[error("cannot {doing}: {} ({errno}){}", explain(*.errno), detail(.said))]
    Route {
        /// In words.
        doing: String,
        /// The kernel's answer.
        errno: Errno,
        /// The kernel's own sentence, where it has one (NETLINK_EXT_ACK).
        said: Option<String>,
    },
    /// The kernel refused a firewall change.
    #[error(
        "cannot {doing} in the kernel's nf_tables: {} ({errno}){}",
        explain(*.errno),
        detail(.said)
    )]
    Firewall {
        /// In words.
        doing: String,
        /// The kernel's answer.
        errno: Errno,
        /// The kernel's own sentence.
        said: Option<String>,
    },
    /// A file, a mount or a socket.
    #[error("cannot {doing} {}: {} ({errno})", .path.display(), explain(*.errno))]
    System {
        /// In words.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// Our own state could not be read or written.
    #[error("the networks' state: {0}")]
    State(String),
    /// More than one thing went wrong while cleaning up.
    #[error("{}", join(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// The HTTP status dockerd answers with in this case.
    pub fn status(&self) -> u16 {
        match self {
            Error::NotFound(_) => 404,
            Error::Invalid(_) | Error::Ambiguous(_) => 400,
            Error::Exists(_) => 409,
            Error::Forbidden(_)
            | Error::InUse { .. }
            | Error::AlreadyConnected { .. }
            | Error::NotConnected { .. }
            | Error::AddressInUse(_)
            | Error::Overlap { .. }
            | Error::SubnetTaken { .. } => 403,
            _ => 500,
        }
    }

    /// One error out of many, or none: cleaning up goes on after a failure.
    pub(super) fn collect(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }

    /// For `map_err` on system calls about `path`.
    pub(super) fn system<E: Into<Errno>>(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Error {
        let path = path.as_ref().to_owned();
        move |errno| Error::System { doing, path, errno: errno.into() }
    }

    /// The same for the standard library's errors.
    pub(super) fn io(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |error| Error::System { doing, path, errno: errno_of(&error) }
    }
}

/// The errno inside a standard error.
pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn detail(said: &Option<String>) -> String {
    said.as_ref().map(|it| format!(": {it}")).unwrap_or_default()
}

fn join(errors: &[Error]) -> String {
    let all: Vec<String> = errors.iter().map(Error::to_string).collect();
    all.join("; ")
}

/// The errno's name and what it mostly means in this module.
fn explain(errno: Errno) -> String {
    let (name, hint) = match errno {
        Errno::PERM => ("EPERM", "the engine lacks CAP_NET_ADMIN"),
        Errno::ACCESS => ("EACCES", "the engine lacks the permission"),
        Errno::NOENT => ("ENOENT", "it does not exist"),
        Errno::NODEV => ("ENODEV", "there is no such link"),
        Errno::EXIST => ("EEXIST", "it exists already"),
        Errno::ADDRINUSE => ("EADDRINUSE", "somebody listens there"),
        Errno::ADDRNOTAVAIL => {
            ("EADDRNOTAVAIL", "the host has no such address")
        }
        Errno::OPNOTSUPP => {
            ("EOPNOTSUPP", "this kernel was built without the feature")
        }
        Errno::PROTONOSUPPORT => {
            ("EPROTONOSUPPORT", "this kernel was built without it")
        }
        Errno::AFNOSUPPORT => {
            ("EAFNOSUPPORT", "the address family is switched off")
        }
        Errno::INVAL => ("EINVAL", "the kernel rejects the request"),
        Errno::BUSY => ("EBUSY", "it is in use"),
        Errno::NOBUFS => ("ENOBUFS", "the kernel is out of memory for it"),
        Errno::ROFS => ("EROFS", "the file system is read-only"),
        other => return format!("errno {}", other.raw_os_error()),
    };
    format!("{name}, {hint}")
}
