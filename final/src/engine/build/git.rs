//! Runs git, which the engine does not bring along, for a build context.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::engine::error::{Error, Result};
use crate::engine::progress::Progress;

/// How often a client that has gone away is looked for.
const LOOK_UP: Duration = Duration::from_millis(20);

/// A directory to work in, for a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Git<'a> {
    pub(super) dir: &'a Path,
    pub(super) progress: &'a Progress,
}

impl Git<'_> {
    /// Runs one command, but not on when the client has gone away.
    ///
    /// # Errors
    /// [`Error::Internal`] with what git said.
    pub(super) fn run<const N: usize>(
        self,
        words: [impl AsRef<OsStr>; N],
    ) -> Result<()> {
        let ours = std::env::vars_os().map(|(name, _)| name);
        let mut command = command(self.dir, ours);
        command.args(&words);
        let (status, said) = self.follow(command).map_err(|error| {
            Error::Internal(format!(
                "unable to prepare context: cannot run git: {error}; a build \
                 from a repository needs it on the daemon's machine"
            ))
        })?;
        if status.success() {
            return Ok(());
        }
        let verb = words[0].as_ref().display();
        let said = match self.progress.gone() {
            true => "the client has gone away",
            false => said.trim(),
        };
        Err(Error::Internal(format!(
            "unable to prepare context: git {verb}: {said}"
        )))
    }

    /// How it ended, and what it said. Into a file: a pipe would have to be
    /// read meanwhile, and whatever git left behind could hold it open.
    fn follow(self, mut command: Command) -> io::Result<(ExitStatus, String)> {
        let mut said = tempfile::tempfile()?;
        let mut child = command.stderr(said.try_clone()?).spawn()?;
        let status = self.end_of(&mut child)?;
        Ok((status, text(&mut said)?))
    }

    fn end_of(self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.progress.gone() {
                // Transports and submodules are processes of their own.
                let group = Pid::from_child(child);
                kill_process_group(group, Signal::KILL)?;
                return child.wait();
            }
            std::thread::sleep(LOOK_UP);
        }
    }
}

fn text(said: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// git in `dir`. Of our environment's names, those with which git was told
/// about another repository are not handed on: a daemon that was started from
/// a git hook has a GIT_DIR, and git would work there.
fn command(dir: &Path, ours: impl Iterator<Item = OsString>) -> Command {
    let mut command = Command::new("git");
    for name in ours.filter(|it| it.as_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command
        .current_dir(dir)
        // Who asks for a build must not read files of this machine by it
        // (file://, ext::), nor use the configuration of the daemon's user.
        .env("GIT_PROTOCOL_FROM_USER", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // Nobody is there to type a password or to know a host's key.
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    command
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn git_is_told_nothing_about_a_repository_of_the_daemons() {
        let ours = ["GIT_DIR", "GIT_CONFIG_GLOBAL", "HOME"];
        let command = command(Path::new("/"), ours.map(Into::into).into_iter());
        let told = |name: &str| {
            command.get_envs().find(|it| it.0 == name).map(|it| it.1)
        };
        assert_eq!(told("GIT_DIR"), Some(None));
        let nowhere = Some(Some(OsStr::new("/dev/null")));
        assert_eq!(told("GIT_CONFIG_GLOBAL"), nowhere);
        assert_eq!(told("HOME"), None, "handed on as it is");
    }

    #[test]
    fn what_git_runs_ends_when_the_client_goes_away() {
        let (progress, client) = Progress::channel();
        let git = Git { dir: Path::new("/"), progress: &progress };
        if let Err(error) = git.run(["--version"]) {
            return cli_api::testing::skip("git ends", &error.to_string());
        }
        let began = Instant::now();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(client);
        });
        let waits = ["-c", "alias.wait=!sleep 100", "wait"];
        let said = git.run(waits).unwrap_err().to_string();
        assert!(said.ends_with("the client has gone away"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(50));
    }
}
