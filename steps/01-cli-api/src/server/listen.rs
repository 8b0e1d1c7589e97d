//! Sockets to listen on.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::rustls::ServerConfig;

use super::SecureListener;
use crate::Error;

/// A Unix or a TCP socket that is being listened on.
#[derive(Debug)]
pub enum Listener {
    /// A socket file; who may write to it may use the daemon.
    Unix(UnixListener),
    /// A port; who can reach it may use the daemon, so keep to 127.0.0.1.
    Tcp(TcpListener),
    /// A port for those who show a certificate.
    Secure(SecureListener),
}

/// Listens on a socket file at `path` that only its owner and group may
/// use.
///
/// A daemon that was killed leaves its socket file behind, and bind(2)
/// refuses a name that exists. So the file is tried first: if nobody answers
/// it is removed.
///
/// # Errors
/// [`Error::AlreadyRunning`] if somebody does; [`Error::Listen`] otherwise.
pub fn bind_unix(path: &Path) -> Result<Listener, Error> {
    let failed =
        |cause| Error::Listen { address: path.display().to_string(), cause };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)
            .map_err(Error::write("make the directory", dir))?;
    }
    if is_socket(path) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::AlreadyRunning { socket: path.to_owned() });
        }
        std::fs::remove_file(path)
            .map_err(Error::write("remove the dead socket", path))?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Between bind and chmod the mode is that of the umask; a daemon that
    // cares sets its umask to 0o117 first.
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(path, mode)
        .map_err(Error::write("set the mode of", path))?;
    Ok(Listener::Unix(listener))
}

/// Listens on a TCP address such as `127.0.0.1:2375`.
///
/// # Errors
/// [`Error::Listen`].
pub async fn bind_tcp(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| Error::Listen { address: address.to_owned(), cause })
}

impl Listener {
    /// A port with TLS; `config` is [`crate::tls::daemon`]'s.
    pub fn secure(tcp: TcpListener, config: Arc<ServerConfig>) -> Listener {
        Listener::Secure(SecureListener::new(tcp, config))
    }
}

/// Not a file or a directory that somebody keeps there by mistake: those
/// are not removed.
fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket())
}
