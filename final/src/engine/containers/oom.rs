//! `oom`: the kernel has killed a process of a container for memory, which
//! need not be the end of the container.

use std::os::fd::AsFd;
use std::time::Duration;

use cgroups::{Cgroup, OomWatch};

use super::{Container, stop};
use crate::engine::Engine;
use crate::engine::events::Attributes;
use crate::shim::{self, Client, Exit};

impl Engine {
    /// Waits for the end of a container's process, and tells meanwhile of
    /// others that the OOM killer takes, `known` of which have been told.
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub(super) fn wait_and_tell_oom(
        &self,
        container: &Container,
        client: &Client,
        known: u64,
    ) -> Result<Exit, shim::Error> {
        let Some((cgroup, watch)) = watched(container) else {
            return self.tell_last_oom(container, client.wait(), false);
        };
        let before = known;
        // The process has run for a moment before anybody watched.
        let mut known = cgroup.oom_kills().unwrap_or(before);
        if known > before {
            self.tell(container, "oom", Attributes::new());
        }
        let exit = client.wait_beside(watch.as_fd(), || {
            let more = watch.clear().is_ok();
            if let Some(kills) = more_kills(&cgroup, known) {
                known = kills;
                self.tell(container, "oom", Attributes::new());
            }
            more
        });
        self.tell_last_oom(container, exit, known > before)
    }

    /// The process itself was killed, and nothing was heard of it before its
    /// cgroup went away.
    fn tell_last_oom(
        &self,
        container: &Container,
        exit: Result<Exit, shim::Error>,
        told: bool,
    ) -> Result<Exit, shim::Error> {
        if !told && exit.as_ref().is_ok_and(|exit| exit.oom_killed) {
            self.tell(container, "oom", Attributes::new());
        }
        exit
    }
}

/// The count, once it is more than `known`. Being readable is only a hint:
/// v1 gives it when the killer is called, a moment before there is somebody
/// dead to be counted, and both versions give it when the group goes away.
fn more_kills(cgroup: &Cgroup, known: u64) -> Option<u64> {
    for _ in 0..10 {
        match cgroup.oom_kills() {
            Ok(kills) if kills > known => return Some(kills),
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return None,
        }
    }
    None
}

/// How many processes of a container the OOM killer took so far.
pub(super) fn kills(container: &Container) -> u64 {
    let cgroup = stop::cgroup(container).ok().flatten();
    cgroup.and_then(|it| it.oom_kills().ok()).unwrap_or(0)
}

/// Without a memory controller there is nothing to watch.
fn watched(container: &Container) -> Option<(Cgroup, OomWatch)> {
    let cgroup = stop::cgroup(container).ok()??;
    let watch = cgroup.oom_events().ok()??;
    Some((cgroup, watch))
}
