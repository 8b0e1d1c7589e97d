//! `docker stop`, `kill`, `restart`, `pause`, `unpause`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cgroups::{Cgroup, Hierarchy, Limits};

use super::state::{Status, Step};
use super::{Container, Phase, signal};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::{Attributes, attributes};
use crate::shim::{self, Client};

/// How `stop` and `restart` stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Instead of the container's own signal.
    pub signal: Option<String>,
    /// Seconds before SIGKILL instead of the container's own; −1 waits for
    /// ever.
    pub timeout: Option<i64>,
}

/// How long the news of an end may be on their way from the shim. It takes the
/// cgroup away first, so for that long there may be none to freeze or thaw.
const LAST_BREATH: Duration = Duration::from_secs(5);

impl Engine {
    /// Asks the process to end, and ends it if it does not.
    ///
    /// # Errors
    /// [`Error::NotModified`] if it does not run.
    pub fn stop(&self, name: &str, how: &Stop) -> Result<()> {
        let container = self.containers.find(name)?;
        let _verb = container.begin();
        if !container.status().is_up() {
            return Err(Error::NotModified);
        }
        self.stop_begun(&container, how)
            .map_err(|it| it.context(&format!("cannot stop container: {name}")))
    }

    /// The same for who holds the right to do something to it.
    pub(super) fn stop_begun(
        &self,
        container: &Arc<Container>,
        how: &Stop,
    ) -> Result<()> {
        self.end_begun(container, how)?;
        self.tell(container, "stop", Attributes::new());
        Ok(())
    }

    /// The same without a word of it, for a removal: Docker tells of a stop
    /// only who asked for one.
    pub(super) fn end_begun(
        &self,
        container: &Arc<Container>,
        how: &Stop,
    ) -> Result<()> {
        container.change(|record| record.own.stopped_by_hand = true)?;
        if container.status() == Status::Restarting {
            return container.advance(Step::GiveUp, |_| ());
        }
        let (own, grace) = container.with(|record| {
            (record.config.stop_signal.clone(), record.stop_timeout())
        });
        let wanted = how.signal.clone().unwrap_or(own);
        let number = match wanted.as_str() {
            "" => nix::libc::SIGTERM,
            word => signal::parse(word)?,
        };
        self.send(container, number)?;
        // A frozen process cannot act on a signal.
        if container.status() == Status::Paused {
            self.thaw(container)?;
        }
        let grace = how.timeout.unwrap_or(grace);
        let patience = u64::try_from(grace).ok().map(Duration::from_secs);
        if !self.wait_for_end(container, patience) {
            self.kill_all(container);
            self.wait_for_end(container, None);
        }
        Ok(())
    }

    /// Blocks until there is no process, or `patience` is over.
    pub(super) fn wait_for_end(
        &self,
        container: &Container,
        patience: Option<Duration>,
    ) -> bool {
        let over = |it: &Phase| it.removed || !it.status.has_process();
        self.block_until(container, patience, over)
    }

    /// Blocks until `over`, or until `patience` is; true in the first case.
    pub(super) fn block_until(
        &self,
        container: &Container,
        patience: Option<Duration>,
        over: impl FnMut(&Phase) -> bool,
    ) -> bool {
        let mut watch = container.watch();
        self.runtime.block_on(async {
            let ended = watch.wait_for(over);
            match patience {
                Some(time) => tokio::time::timeout(time, ended).await.is_ok(),
                None => ended.await.is_ok(),
            }
        })
    }

    /// SIGKILL for everything. The end of a PID namespace's first process
    /// is the end of all in it; a container without one of its own has only
    /// its cgroup to tell who belongs to it.
    pub(super) fn kill_all(&self, container: &Container) {
        let _ = self.send(container, nix::libc::SIGKILL);
        let own = container.with(|it| it.host_config.pid_mode.is_empty());
        if own {
            return;
        }
        if let Ok(Some(cgroup)) = cgroup(container)
            && let Err(error) = cgroup.kill()
        {
            tracing::warn!("cannot kill all of {}: {error}", container.id);
        }
    }

    /// Sends a signal to the first process, and says so.
    fn send(&self, container: &Container, number: i32) -> Result<()> {
        let client = Client::new(&container.dir);
        match client.kill(number) {
            // It ended a moment ago, which is what a stop wants.
            Ok(()) | Err(shim::Error::Io { .. }) => {}
            Err(error) => return Err(Error::internal(error)),
        }
        let number = number.to_string();
        self.tell(container, "kill", attributes([("signal", &number)]));
        Ok(())
    }

    /// `docker kill`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it does not run, [`Error::Invalid`] for an
    /// unknown signal.
    pub fn kill(&self, name: &str, word: &str) -> Result<()> {
        let number = match word {
            "" => nix::libc::SIGKILL,
            word => signal::parse(word)?,
        };
        let container = self.containers.find(name)?;
        let context = format!("cannot kill container: {name}");
        let status = container.status();
        if status == Status::Restarting && number == nix::libc::SIGKILL {
            container.change(|record| record.own.stopped_by_hand = true)?;
            return container.advance(Step::GiveUp, |_| ());
        }
        if !status.has_process() {
            let id = &container.id;
            let text = format!("container {id} is not running");
            return Err(Error::Conflict(text).context(&context));
        }
        let own = container.with(|record| record.config.stop_signal.clone());
        let stops =
            !own.is_empty() && signal::parse(&own).is_ok_and(|it| it == number);
        // Who kills by hand does not want a restart.
        if stops || matches!(number, nix::libc::SIGKILL | nix::libc::SIGTERM) {
            container.change(|record| record.own.stopped_by_hand = true)?;
        }
        self.send(&container, number).map_err(|it| it.context(&context))?;
        if number == nix::libc::SIGKILL {
            self.wait_for_end(&container, Some(Duration::from_secs(10)));
        }
        Ok(())
    }

    /// `docker restart`: also starts what does not run.
    ///
    /// # Errors
    /// As a stop and a start.
    pub fn restart(self: &Arc<Self>, name: &str, how: &Stop) -> Result<()> {
        let container = self.containers.find(name)?;
        let _verb = container.begin();
        let context = format!("Cannot restart container {name}");
        let all = || {
            if container.status().is_up() {
                self.stop_begun(&container, how)?;
            }
            self.start_begun(&container)
        };
        all().map_err(|error| error.context(&context))?;
        self.tell(&container, "restart", Attributes::new());
        Ok(())
    }

    /// `docker pause`: the kernel no longer schedules its processes.
    ///
    /// # Errors
    /// [`Error::Conflict`] in Docker's words if it does not run.
    pub fn pause(&self, name: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let _verb = container.begin();
        let status = container.status();
        super::state::next(&container.id, status, Step::Pause)?;
        let group = must_cgroup(&container)?;
        if let Err(error) = group.freeze().map_err(Error::internal) {
            self.wait_for_end(&container, Some(LAST_BREATH));
            let status = container.status();
            super::state::next(&container.id, status, Step::Pause)?;
            return Err(error);
        }
        container.advance(Step::Pause, |_| ())?;
        self.tell(&container, "pause", Attributes::new());
        Ok(())
    }

    /// `docker unpause`.
    ///
    /// # Errors
    /// In Docker's words if it is not paused.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let _verb = container.begin();
        let status = container.status();
        super::state::next(&container.id, status, Step::Unpause)?;
        self.thaw(&container)?;
        Ok(())
    }

    /// Lets its processes go on, if some are left: a group whose last process
    /// has just ended can still be frozen, and then there is none to thaw.
    fn thaw(&self, container: &Container) -> Result<()> {
        let thawed = must_cgroup(container)?
            .thaw()
            .map_err(Error::internal)
            .and_then(|()| container.advance(Step::Unpause, |_| ()));
        if let Err(error) = thawed {
            return match self.wait_for_end(container, Some(LAST_BREATH)) {
                true => Ok(()),
                false => Err(error),
            };
        }
        self.tell(container, "unpause", Attributes::new());
        Ok(())
    }
}

/// The cgroup that the shim made; `None` if it could make none.
///
/// # Errors
/// [`Error::Internal`] if the shim's record or the tree cannot be read.
pub(crate) fn cgroup(container: &Container) -> Result<Option<Cgroup>> {
    let record = shim::Record::load(&container.dir).map_err(Error::internal)?;
    let Some(place) = record.cgroup else { return Ok(None) };
    let hierarchy = hierarchy()?;
    let path = shim::cgroup_path(place.parent.as_deref(), &place.name);
    Cgroup::open(hierarchy, &path).map(Some).map_err(Error::internal)
}

/// Where this machine's cgroups are; that stays as it is.
pub(super) fn hierarchy() -> Result<&'static Hierarchy> {
    static FOUND: OnceLock<Hierarchy> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let found = Hierarchy::detect().map_err(Error::internal)?;
    Ok(FOUND.get_or_init(|| found))
}

impl Engine {
    /// The cgroup that the shim shall make. An ordinary user may have none,
    /// and needs none where nothing is limited.
    pub(in crate::engine) fn cgroup_of(
        &self,
        mut wanted: shim::Cgroup,
    ) -> Result<Option<shim::Cgroup>> {
        if self.config().rootless.is_none() {
            return Ok(Some(wanted));
        }
        // Filtering devices takes CAP_BPF on the host. It is not missed: in
        // a user namespace nobody can make a device node.
        wanted.limits.devices = None;
        let needed = wanted.limits != Limits::default();
        Ok((needed || hierarchy()?.is_usable()).then_some(wanted))
    }
}

/// Takes away the cgroup of a container that does not run. Its shim does
/// that; but a shim whose daemon was killed in the middle of a start may
/// have been killed, too, and leave it behind.
///
/// # Errors
/// [`Error::Internal`] if processes are in it that cannot be killed.
pub(super) fn sweep_cgroup(container: &Container) -> Result<()> {
    let parent =
        container.with(|it| it.host_config.resources.cgroup_parent.clone());
    let parent = Some(parent.as_str()).filter(|it| !it.is_empty());
    let path = shim::cgroup_path(parent, &container.id);
    let hierarchy = hierarchy()?;
    let cgroup = Cgroup::open(hierarchy, &path).map_err(Error::internal)?;
    if cgroup.dirs().next().is_none() {
        return Ok(());
    }
    cgroup.kill().map_err(Error::internal)?;
    cgroup.remove().map_err(Error::internal)
}

fn must_cgroup(container: &Container) -> Result<Cgroup> {
    cgroup(container)?.ok_or_else(|| {
        Error::Internal(format!(
            "container {} has no cgroup of its own: an ordinary user needs a \
             delegated one to pause, limit and measure it",
            container.id
        ))
    })
}
