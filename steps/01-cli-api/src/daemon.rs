//! A daemon on demand: the first command that needs it starts it.
//!
//! Docker's daemon is started by the system, at boot or by the first
//! connection to its socket (systemd.socket(5)). A workshop has neither an
//! installation nor patience, so here the command does it.
//!
//! A process becomes a daemon by losing what ties it to a terminal: it gets
//! a session of its own (setsid(2)), no input, a log for output, and `/` as
//! its directory.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::Error;

/// How long a daemon may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// What [`ensure_running`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A daemon listens already.
    Running,
    /// There was none; now there is.
    Started,
}

/// Returns when a daemon listens on `socket`; starts `command` if none does.
///
/// The new daemon gets a session of its own, so that neither Ctrl-C nor the
/// end of the terminal reaches it, and writes to the file `log`. If several
/// commands find no daemon at the same moment, one starts it and the others
/// wait: they queue for a lock (flock(2)), which the kernel releases even
/// if its holder is killed.
///
/// Blocks; `waiting` is called once if it takes longer than a moment.
///
/// # Errors
/// [`Error::DaemonDied`] with the end of its log, [`Error::DaemonSilent`],
/// [`Error::DaemonStart`], or [`Error::Connect`] where a daemon listens that
/// we may not talk to.
pub fn ensure_running(
    socket: &Path,
    log: &Path,
    command: Command,
    waiting: impl FnOnce(),
) -> Result<Found, Error> {
    if listens(socket)? {
        return Ok(Found::Running);
    }
    let _lock = lock(socket)?;
    // Somebody else may have started it while we waited for the lock.
    if listens(socket)? {
        return Ok(Found::Running);
    }
    let child = spawn(command, log)?;
    wait_until_it_listens(child, socket, log, waiting)?;
    Ok(Found::Started)
}

/// Whether a daemon accepts connections on `socket`.
///
/// # Errors
/// [`Error::Connect`] if one may be there and will not talk to us.
pub fn listens(socket: &Path) -> Result<bool, Error> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        // Refused: the file is there, but its daemon is dead.
        Err(it) if [NotFound, ConnectionRefused].contains(&it.kind()) => {
            Ok(false)
        }
        Err(cause) => Err(Error::Connect {
            host: format!("unix://{}", socket.display()),
            cause,
        }),
    }
}

/// The right to start a daemon: a lock on a file beside the socket. Not on
/// the socket itself, which the daemon replaces.
fn lock(socket: &Path) -> Result<File, Error> {
    let path = PathBuf::from(format!("{}.lock", socket.display()));
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)
            .map_err(Error::write("make the directory", dir))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::write("open the lock", &path))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .map_err(|it| Error::write("lock", &path)(it.into()))?;
    Ok(file)
}

/// Starts the program, cut loose from us.
fn spawn(mut command: Command, log: &Path) -> Result<Child, Error> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)
            .map_err(Error::write("make the directory", dir))?;
    }
    let open = || {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).open(log)
    };
    let (out, err) = open()
        .and_then(|out| Ok((out.try_clone()?, out)))
        .map_err(Error::write("open the log", log))?;
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // A directory that stays: the caller's may be unmounted one day.
        .current_dir("/");
    // SAFETY: the closure runs in the forked child, where only
    // async-signal-safe functions may be called; setsid(2) is one, and
    // nothing here allocates or takes a lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    command.spawn().map_err(|cause| Error::DaemonStart {
        program: command.get_program().to_string_lossy().into_owned(),
        cause,
    })
}

/// Asks again and again. There is nothing to wait on: a socket file appears
/// with bind(2) and works only after listen(2).
fn wait_until_it_listens(
    mut child: Child,
    socket: &Path,
    log: &Path,
    waiting: impl FnOnce(),
) -> Result<(), Error> {
    let began = Instant::now();
    let mut waiting = Some(waiting);
    let mut pause = Duration::from_millis(2);
    while !listens(socket)? {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Error::DaemonDied {
                status: status.to_string(),
                log: log.to_owned(),
                tail: tail(log),
            });
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::DaemonSilent {
                socket: socket.to_owned(),
                waited: PATIENCE,
                log: log.to_owned(),
            });
        }
        if began.elapsed() > Duration::from_secs(1)
            && let Some(say) = waiting.take()
        {
            say();
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

/// The last lines of a log, indented.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(5);
    lines[from..].iter().map(|it| format!("  {it}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_dies_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no disk >&2; exit 3"]);
        let error = ensure_running(
            &dir.path().join("a.sock"),
            &dir.path().join("a.log"),
            command,
            || (),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("  no disk"), "{error}");
    }

    #[test]
    fn a_dead_socket_counts_as_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        assert!(!listens(&socket).unwrap());
    }
}
