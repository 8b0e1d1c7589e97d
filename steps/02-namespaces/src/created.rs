//! A container that stands at the gate, and then runs.
//!
//! The parent's view of a new process. It is known by a *pidfd*, a file
//! descriptor that means this one process and no later one with the same
//! number (pidfd_open(2)): a PID may be given away as soon as its process
//! has been collected, and a signal sent by number could hit a stranger.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open,
    pidfd_send_signal, waitid,
};

use crate::error::text;
use crate::plan::Plan;
use crate::steps::{Id, STEPS};
use crate::wire::{Clock, Go, News, Wire};
use crate::{CgroupEntry, Error, Timing, explain};

/// A new process. Dropped before [`Created::start`], it is ended.
#[derive(Debug)]
pub struct Created {
    pid: i32,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
    wire: Option<Wire>,
    pub(crate) plan: Plan,
    pub(crate) clock: Clock,
    /// How it ended, once it has been collected. The PID means nothing any
    /// more then.
    gone: Option<Exit>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit status, or 128 + n after signal n, as shells and Docker.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Created {
    pub(crate) fn new(
        pid: i32,
        pidfd: OwnedFd,
        wire: Wire,
        plan: Plan,
        clock: Clock,
    ) -> Created {
        Created {
            pid,
            pidfd,
            terminal: None,
            wire: Some(wire),
            plan,
            clock,
            gone: None,
        }
    }

    /// Its PID as the caller counts; inside it is 1 in a new namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Means this very process for ever; readable (poll) when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The master side of its terminal, if it has one; to be taken once.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Who the command runs as.
    pub fn credentials(&self) -> &crate::Credentials {
        &self.plan.rights.who
    }

    /// Opens the gate and returns when the command runs: the execve closes
    /// the child's end of the wire, and that is what is waited for. So an
    /// error of the execve itself ("not found") comes back from here, and
    /// not as a container that ended with a strange exit code.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::NotExecutable`] in Docker's words.
    pub fn start(&mut self) -> Result<(), Error> {
        self.tell(Go::Start)?;
        match self.hear()? {
            News::Closed => {
                self.wire = None;
                self.clock.mark(Id::Exec);
                Ok(())
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// What each step took, in order. The parent's and the child's run side
    /// by side, so the times overlap: while the parent writes PIDs into
    /// cgroups (which can take milliseconds, when the kernel has to wait for
    /// an RCU grace period), the child mounts.
    pub fn timings(&self) -> Vec<Timing> {
        // Two lanes, each with the end of its last step.
        const PARENTS: [Id; 5] =
            [Id::Prepare, Id::Clone, Id::IdMaps, Id::Cgroup, Id::OomScore];
        let mut list = Vec::new();
        let mut before = [0_u32; 2];
        for (slot, step) in STEPS.iter().enumerate() {
            let end = self.clock.ends[slot];
            if end == 0 {
                continue; // not part of this start
            }
            let childs =
                usize::from(!PARENTS.iter().any(|it| *it as usize == slot));
            if slot == Id::Clone as usize {
                before[1] = end; // the child's time begins here
            }
            list.push(Timing {
                step: step.name.to_owned(),
                at_us: end.into(),
                took_us: end.saturating_sub(before[childs]).into(),
            });
            before[childs] = end;
        }
        list
    }

    /// Sends a signal by number. A process that has ended is no error.
    ///
    /// # Errors
    /// EINVAL for a number that is no signal.
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        send_signal(self.pidfd(), signal)
    }

    /// Blocks until it has ended, and collects it.
    ///
    /// # Errors
    /// ECHILD if somebody else has collected it.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        if let Some(exit) = self.gone {
            return Ok(exit);
        }
        let exit = collect(self.pidfd.as_fd())?;
        self.gone = Some(exit);
        Ok(exit)
    }

    /// If a stepping stone was made: hears from it who the real child is,
    /// and collects it. The PID cannot mean another process yet, because
    /// the real child is ours and nobody else collects it.
    pub(crate) fn step_off_stone(&mut self) -> Result<(), Error> {
        if !self.plan.joins.by_stone {
            return Ok(());
        }
        match self.hear()? {
            News::Made(pid) => {
                let pidfd = open_pidfd(pid)?;
                let _ = collect(self.pidfd.as_fd());
                (self.pid, self.pidfd) = (pid, pidfd);
                self.tell(Go::Known)
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// Who root inside is outside: only somebody in the *parent* user
    /// namespace may write the child's maps, and only once.
    pub(crate) fn give_identity(&mut self) -> Result<(), Error> {
        if let Some(maps) = &self.plan.maps {
            maps.write(self.pid())?;
            self.tell(Go::Mapped)?;
        }
        self.clock.mark(Id::IdMaps);
        Ok(())
    }

    /// The child stands at the gate, or says what went wrong.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), Error> {
        match self.hear()? {
            News::Ready(clock, terminal) => {
                self.clock = clock;
                self.terminal = terminal;
                Ok(())
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// Writes the PID into the cgroups, then lets the child go on; while
    /// this happens, the child already mounts.
    pub(crate) fn give_limits(
        &mut self,
        files: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        let text = self.pid.to_string();
        for file in files {
            rustix::io::write(file, text.as_bytes())
                .map_err(explain::cgroup)?;
        }
        self.clock.mark(Id::Cgroup);
        if let Some(score) = self.plan.oom_score_adj {
            set_oom_score(self.pid, score)?;
            self.clock.mark(Id::OomScore);
        }
        if self.plan.waits_for_cgroup {
            self.tell(Go::Limited)?;
        }
        Ok(())
    }

    pub(crate) fn tell(&mut self, go: Go) -> Result<(), Error> {
        let sent = match &self.wire {
            Some(wire) => wire.tell(go),
            None => Err(Errno::PIPE),
        };
        match sent {
            Ok(()) => Ok(()),
            // It is gone; what it said before is still there to be read.
            Err(_) => match self.hear()? {
                News::Failed(id, fault) => {
                    Err(explain::fault(&self.plan, id, fault))
                }
                _ => Err(self.died()),
            },
        }
    }

    pub(crate) fn hear(&self) -> Result<News, Error> {
        match &self.wire {
            Some(wire) => wire.hear(&self.clock).map_err(explain::wire),
            None => Ok(News::Closed),
        }
    }

    /// The error behind news that should not have come now.
    pub(crate) fn unexpected(&mut self, news: News) -> Error {
        match news {
            News::Failed(id, fault) => explain::fault(&self.plan, id, fault),
            _ => self.died(),
        }
    }

    fn died(&mut self) -> Error {
        match self.wait() {
            Ok(Exit { signal: Some(signal), .. }) => {
                Error::Died(format!("signal {signal}"))
            }
            Ok(exit) => Error::Died(format!("exit code {}", exit.code)),
            Err(error) => Error::Died(error.to_string()),
        }
    }
}

impl Drop for Created {
    /// Nobody has started it, so nobody will miss it. Once it runs, dropping
    /// the handle changes nothing: a container may outlive who made it.
    fn drop(&mut self) {
        if self.wire.is_some() && self.gone.is_none() {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
            let _ = self.wait();
        }
    }
}

impl<'fd> CgroupEntry<'fd> {
    /// The `cgroup.procs` files that are left to write. Those of v2 are not
    /// when the child is born there: a second move would only cost time.
    pub(crate) fn files_to_write(&self) -> Vec<BorrowedFd<'fd>> {
        let born_there = |fd: &OwnedFd| {
            self.into.is_some()
                && rustix::fs::fstatfs(fd)
                    .is_ok_and(|it| it.f_type == libc::CGROUP2_SUPER_MAGIC)
        };
        let files = self.procs.iter().filter(|fd| !born_there(fd));
        files.map(AsFd::as_fd).collect()
    }
}

/// pidfd_open(2).
pub(crate) fn open_pidfd(pid: i32) -> Result<OwnedFd, Error> {
    let opened = match Pid::from_raw(pid) {
        Some(pid) => pidfd_open(pid, PidfdFlags::empty()),
        None => Err(Errno::SRCH),
    };
    opened.map_err(|errno| Error::Step {
        step: STEPS[Id::Join as usize].name,
        what: format!("pidfd_open of PID {pid}"),
        errno,
        hint: "; the container has ended".to_owned(),
    })
}

/// pidfd_send_signal(2), where a process that has ended is no error.
pub(crate) fn send_signal(
    pidfd: BorrowedFd<'_>,
    signal: i32,
) -> Result<(), Error> {
    let Some(known) = Signal::from_named_raw(signal) else {
        return Err(Error::Invalid(format!("invalid signal: {signal}")));
    };
    match pidfd_send_signal(pidfd, known) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::Invalid(format!(
            "cannot send signal {signal}: {}",
            text(errno)
        ))),
    }
}

/// waitid(2) on a pidfd, which takes this child and no other: a program
/// with several children may wait for each on its own thread.
fn collect(pidfd: BorrowedFd<'_>) -> Result<Exit, Error> {
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) | Ok(None) => {}
            Ok(Some(status)) => {
                let signal = status.terminating_signal();
                let code = match signal {
                    Some(signal) => 128 + signal,
                    None => status.exit_status().unwrap_or(255),
                };
                return Ok(Exit { code, signal });
            }
            Err(errno) => {
                return Err(Error::Invalid(format!(
                    "cannot wait for the process: {}",
                    text(errno)
                )));
            }
        }
    }
}

/// From outside, because the child's `/proc` may be any by then.
fn set_oom_score(pid: i32, score: i32) -> Result<(), Error> {
    let path = Path::new("/proc").join(pid.to_string()).join("oom_score_adj");
    std::fs::write(&path, score.to_string()).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::Step {
            step: STEPS[Id::OomScore as usize].name,
            what: format!("write {score} to {}", path.display()),
            errno,
            hint: match errno {
                Errno::ACCESS | Errno::PERM => {
                    "; only CAP_SYS_RESOURCE may lower the score below the \
                     engine's own: ask for a higher --oom-score-adj"
                }
                Errno::INVAL => "; the range is -1000 to 1000",
                _ => "",
            }
            .to_owned(),
        }
    })
}
