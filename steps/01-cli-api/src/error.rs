//! Everything that can fail here, one variant per failing step.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio_rustls::rustls;

/// Why a file, a connection or a daemon let us down.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of state could not be replaced by its new version.
    #[error("cannot {step} {}: {cause}{}", .path.display(), hint(.cause))]
    Write {
        /// What was being done, such as `write` or `rename`.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}: {cause}{}", .path.display(), hint(.cause))]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A file was read, but it is not the JSON that we write.
    #[error(
        "{} is damaged: {cause}; move it away and try again",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the parser stopped.
        cause: serde_json::Error,
    },
    /// A value could not be written as JSON.
    #[error("cannot encode a request or a record as JSON: {0}")]
    Encode(serde_json::Error),
    /// No daemon answers.
    #[error("cannot connect to the daemon at {host}: {cause}{}", reach(.cause))]
    Connect {
        /// Where it was expected.
        host: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// An address of a daemon that is none.
    #[error(
        "{given:?} is no address of a daemon: {why}; write \
         unix:///run/skiff.sock or tcp://127.0.0.1:2375"
    )]
    Host {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The connection broke in the middle of an answer.
    #[error("the connection to the daemon broke: {0}; did it crash?")]
    Broken(io::Error),
    /// The other side does not speak HTTP.
    #[error("the answer of {host} is not HTTP: {cause}")]
    Http {
        /// Who answered.
        host: String,
        /// What was wrong with the answer.
        cause: hyper::Error,
    },
    /// A file of certificates or keys that is of no use.
    #[error("invalid TLS configuration: {0}")]
    Tls(String),
    /// Daemon and client do not believe each other's certificates.
    #[error("cannot agree on TLS with {host}: {cause}{}", proof(.cause))]
    Handshake {
        /// With whom.
        host: String,
        /// What was wrong.
        cause: rustls::Error,
    },
    /// A request that cannot be sent, such as one with a space in its path.
    #[error("cannot form a request for {path:?}: {cause}")]
    Request {
        /// The path.
        path: String,
        /// What is wrong with it.
        cause: http::Error,
    },
    /// An answer that is not the JSON we expect.
    #[error("cannot understand the daemon's answer to {path}: {cause}")]
    Answer {
        /// What was asked.
        path: String,
        /// Where the parser stopped.
        cause: serde_json::Error,
    },
    /// The daemon says no, in words meant for the user.
    #[error("{message}")]
    Api {
        /// HTTP status, 400 or above.
        status: u16,
        /// The daemon's sentence.
        message: String,
    },
    /// The daemon would not turn the connection into a byte stream.
    #[error("unable to upgrade to tcp, received {status}")]
    NotUpgraded {
        /// What it answered instead of 101.
        status: u16,
    },
    /// A daemon was started and ended at once.
    #[error(
        "the daemon ended right after its start ({status}); the last lines \
         of its log, {}:\n{tail}", .log.display()
    )]
    DaemonDied {
        /// How it ended.
        status: String,
        /// Where it wrote.
        log: PathBuf,
        /// What it wrote last.
        tail: String,
    },
    /// A daemon was started and does not listen.
    #[error(
        "the daemon does not listen on {} after {} s; see its log, {}",
        .socket.display(), .waited.as_secs(), .log.display()
    )]
    DaemonSilent {
        /// Where it should listen.
        socket: PathBuf,
        /// How long we waited.
        waited: Duration,
        /// Where it writes.
        log: PathBuf,
    },
    /// A daemon could not be started.
    #[error("cannot start the daemon {program:?}: {cause}")]
    DaemonStart {
        /// The program.
        program: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The address is taken, or may not be used.
    #[error("cannot listen on {address}: {cause}{}", hint(.cause))]
    Listen {
        /// Path or host and port.
        address: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// Another daemon has this socket already.
    #[error(
        "another daemon listens on {} already; stop it, or choose another \
         socket with -H", .socket.display()
    )]
    AlreadyRunning {
        /// The socket.
        socket: PathBuf,
    },
}

impl Error {
    pub(crate) fn write(
        step: &'static str,
        path: &Path,
    ) -> impl Fn(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |cause| Error::Write { step, path: path.clone(), cause }
    }

    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |cause| Error::Read { path: path.clone(), cause }
    }

    /// HTTP status of the daemon's refusal, if it is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Api { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The likely cause behind an errno, and the way out.
fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; are you root?",
        io::ErrorKind::StorageFull => "; free some space on that disk",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory on a writable disk"
        }
        io::ErrorKind::AddrInUse => "; does another daemon run there?",
        _ => "",
    }
}

/// As [`hint`], for someone who looks for a daemon.
fn reach(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ". Is the daemon running?"
        }
        io::ErrorKind::PermissionDenied => {
            ". The socket belongs to somebody else: use sudo, or join the \
             group that owns it"
        }
        _ => "",
    }
}

/// Which file is the likely cause of a failed handshake.
fn proof(cause: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError, InvalidMessage};
    match cause {
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::DecryptError,
        ) => {
            "; it wants a client certificate that its authority has signed: \
             --tlscert and --tlskey"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        ) => "; its certificate is for another name or address",
        rustls::Error::InvalidCertificate(_) => {
            "; was its certificate signed by the authority of --tlscacert?"
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "; it speaks no TLS: leave out --tls and DOCKER_TLS_VERIFY"
        }
        _ => "",
    }
}
