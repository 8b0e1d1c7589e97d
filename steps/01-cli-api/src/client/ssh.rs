//! A daemon on another machine, by way of ssh(1).
//!
//! ssh runs `skiff system dial-stdio` there, which connects its own streams
//! to the daemon's socket. So nothing listens on a port, and who may use the
//! daemon is who may log in and open its socket; keys, agents, jump hosts
//! and aliases are those of the user's ssh.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// `ssh://[USER@]MACHINE[:PORT][/SOCKET]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    user: Option<String>,
    machine: String,
    port: Option<u16>,
    /// The daemon's socket there, if it is not the usual one.
    socket: Option<String>,
}

impl Remote {
    /// What follows `ssh://`.
    pub(super) fn parse(rest: &str) -> Result<Remote, &'static str> {
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        if user.as_ref().is_some_and(|it| it.contains(':')) {
            return Err("plain-text password is not supported");
        }
        if user.as_ref().is_some_and(String::is_empty) {
            return Err("the user's name is missing");
        }
        // The colons within `[::1]` separate nothing.
        let (machine, port) = match place.rsplit_once(':') {
            Some((machine, port)) if !port.ends_with(']') => {
                let port = port.parse().map_err(|_| "the port is no number")?;
                (machine, Some(port))
            }
            _ => (place, None),
        };
        let machine = machine.trim_matches(['[', ']']).to_owned();
        if machine.is_empty() {
            return Err("the machine's name is missing");
        }
        let socket = Some(path.to_owned()).filter(|it| it.len() > 1);
        Ok(Remote { user, machine, port, socket })
    }

    /// Starts ssh; what is written to the socket arrives at the daemon.
    ///
    /// # Errors
    /// If there is no ssh. That it cannot log in shows as the end of the
    /// stream, and ssh itself says why.
    pub(super) fn dial(&self) -> std::io::Result<UnixStream> {
        talk_to(self.command())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-o", "ConnectTimeout=30", "-T"]);
        if let Some(user) = &self.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = self.port {
            command.arg("-p").arg(port.to_string());
        }
        // What follows `--` is no option, whatever the name begins with.
        command.arg("--").arg(&self.machine).arg("skiff");
        if let Some(socket) = &self.socket {
            command.arg("--host").arg(quoted(&format!("unix://{socket}")));
        }
        command.args(["system", "dial-stdio"]);
        command
    }
}

/// Starts a command and returns its standard input and output.
fn talk_to(mut command: Command) -> std::io::Result<UnixStream> {
    // One socket and not two pipes, because a socket can be half closed.
    let (ours, theirs) = UnixStream::pair()?;
    let output = theirs.try_clone()?;
    command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(OwnedFd::from(output)));
    // SAFETY: the closure runs in the forked child, where only
    // async-signal-safe functions may be called; setsid(2) is one, and
    // nothing here allocates or takes a lock.
    unsafe {
        // ctrl-c at our terminal is for the container, not for ssh. That
        // also keeps ssh from asking for a password, once per request.
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    // Each request has its own, and a client that lives on would collect
    // zombies. It ends by itself when nobody holds our side any more.
    std::thread::Builder::new()
        .name("ssh".to_owned())
        .spawn(move || child.wait())?;
    Ok(ours)
}

/// ssh gives its words to a shell on the other side.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.machine.contains(':') {
            true => write!(f, "[{}]", self.machine)?,
            false => f.write_str(&self.machine)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(rest: &str) -> String {
        let command = Remote::parse(rest).unwrap().command();
        let words = command.get_args().map(|it| it.to_string_lossy());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_address_becomes_the_command_that_the_docker_command_would_run() {
        insta::assert_snapshot!(command("box"), @"-o ConnectTimeout=30 -T -- box skiff system dial-stdio");
        insta::assert_snapshot!(command("me@box:2222/run/a b.sock"), @"-o ConnectTimeout=30 -T -l me -p 2222 -- box skiff --host 'unix:///run/a b.sock' system dial-stdio");
        insta::assert_snapshot!(command("[::1]:22"), @"-o ConnectTimeout=30 -T -p 22 -- ::1 skiff system dial-stdio");
        assert!(command("-oProxyCommand=x").contains(" -- -oProxyCommand=x "));
        assert!(command("box/a'b").contains(r"'unix:///a'\''b'"));
    }

    #[test]
    fn what_has_ended_is_no_zombie() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$"]);
        let said = std::io::read_to_string(talk_to(command).unwrap()).unwrap();
        let process = std::path::Path::new("/proc").join(said.trim());
        let began = std::time::Instant::now();
        while process.exists() {
            assert!(began.elapsed().as_secs() < 10, "{}", process.display());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["box", "me@box:22/run/x.sock", "[::1]", "me@[::1]:22"] {
            let remote = Remote::parse(text).unwrap();
            assert_eq!(remote.to_string(), format!("ssh://{text}"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let why = |text| Remote::parse(text).unwrap_err();
        assert_eq!(why("me:pass@box"), "plain-text password is not supported");
        assert_eq!(why("@box"), "the user's name is missing");
        assert_eq!(why("box:ssh"), "the port is no number");
        assert_eq!(why("/run/x.sock"), "the machine's name is missing");
    }
}
