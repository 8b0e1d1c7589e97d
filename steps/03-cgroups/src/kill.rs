//! Stopping a whole group: freeze, thaw, kill.
//!
//! A loop that reads `cgroup.procs` and kills what it finds can lose against
//! a fork bomb: new processes appear between the reading and the killing.
//! The kernel offers two ways to win. `cgroup.kill` (v2, Linux 5.14) kills
//! the whole tree at once. The freezer holds everybody still, so that the
//! list is complete, and the signals act when the group thaws.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::controllers::{Dir, freezer};
use crate::{Cgroup, Error, Kind, file};

/// How long we wait for the kernel to do as told.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops every process of the group where it is (`docker pause`). They
    /// do not notice: no signal is sent. Returns when all stand still.
    ///
    /// # Errors
    /// [`Error::Timeout`] after 10 s; the group is thawed again then.
    /// [`Error::Gone`] if its last process ended meanwhile.
    /// [`Error::NoController`] without a freezer.
    pub fn freeze(&self) -> Result<(), Error> {
        let dir = self.freezer()?;
        freezer::set(dir, true)?;
        let frozen = self.wait_for("frozen", || {
            if !dir.path().exists() {
                let dir = dir.path().to_owned();
                return Err(Error::Gone { dir });
            }
            freezer::is_frozen(dir)
        });
        if frozen.is_err() {
            // Half-frozen groups confuse everybody; go back to before.
            let _ = freezer::set(dir, false);
        }
        frozen
    }

    /// Lets the processes of a frozen group go on.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), Error> {
        let dir = self.freezer()?;
        freezer::set(dir, false)?;
        self.wait_for("thawed", || Ok(!freezer::is_frozen(dir)?))
    }

    /// Whether the group is frozen now.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn is_frozen(&self) -> Result<bool, Error> {
        match self.dir(Kind::Freezer) {
            Some(dir) => freezer::is_frozen(dir),
            None => Ok(false),
        }
    }

    /// Kills every process of the group and of the groups below it, frozen
    /// or not, and waits until none is left. Zombies count as gone: they are
    /// for their parent to reap.
    ///
    /// # Errors
    /// [`Error::Timeout`] if some are still there after 10 s, such as a
    /// process in an uninterruptible wait for a dead NFS server.
    pub fn kill(&self) -> Result<(), Error> {
        if let Some(Dir::V2(dir)) = self.dir(Kind::Freezer)
            && file::write_opt(&dir.join("cgroup.kill"), 1)?
        {
            return self.wait_for("empty", || self.is_empty());
        }
        self.wait_for("empty", || {
            self.kill_frozen()?;
            self.is_empty()
        })
    }

    fn kill_frozen(&self) -> Result<(), Error> {
        let freezer = self.dir(Kind::Freezer);
        if let Some(dir) = freezer {
            freezer::set(dir, true)?;
        }
        for pid in self.procs()? {
            let Ok(pid) = i32::try_from(pid) else { continue };
            // PID 0 is a process of a PID namespace we cannot see. kill(0)
            // would hit our own process group instead.
            if pid > 0 {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        // On v1 a frozen process does not even die: SIGKILL waits for thaw.
        match freezer {
            Some(dir) => freezer::set(dir, false),
            None => Ok(()),
        }
    }

    fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.procs()?.is_empty())
    }

    fn freezer(&self) -> Result<Dir<'_>, Error> {
        self.dir(Kind::Freezer)
            .ok_or_else(|| Error::no_controller(Kind::Freezer, "pause"))
    }

    /// Asks until the answer is yes. There is no event for most of these
    /// states, and they take a millisecond or less.
    fn wait_for(
        &self,
        wanted: &'static str,
        mut done: impl FnMut() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        while !done()? {
            if start.elapsed() > PATIENCE {
                let dir = self.groups.first().map(|g| g.dir.clone());
                return Err(Error::Timeout {
                    dir: dir.unwrap_or_default(),
                    wanted,
                    seconds: PATIENCE.as_secs(),
                });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }
}
