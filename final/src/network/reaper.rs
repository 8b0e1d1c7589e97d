//! Waits for the cables of containers that have left.
//!
//! When the last reference to a network namespace goes, the kernel removes
//! the links in it, and with each veth its other end, many namespaces at
//! once and in its own time: some twenty milliseconds that nobody needs to
//! wait for. Until then the address is not free. A namespace that somebody
//! still holds (an `ip netns` of an operator, a debugger) would keep its
//! cable; it is then pulled on our side.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::names::Shared;
use super::route::Route;
use super::state::Endpoint;
use super::{Error, lock};

const LOOK_AGAIN: Duration = Duration::from_millis(4);
/// The kernel's usual time, many times over.
const PATIENCE: Duration = Duration::from_millis(300);

/// The thread that waits.
#[derive(Debug)]
pub(super) struct Reaper {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    ends: Vec<(Endpoint, Instant)>,
    closed: bool,
}

impl Reaper {
    /// In the calling thread's network namespace.
    pub(super) fn start(state: Arc<Shared>) -> Result<Reaper, Error> {
        let route = Route::open()?;
        let queue = Arc::<Queue>::default();
        let own = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("skiff-reaper".into())
            .spawn(move || own.work(route, &state))
            .map_err(Error::io("start a thread for", "removed links"))?;
        Ok(Reaper { queue })
    }

    /// Takes over the endpoints of a container whose namespace was let go.
    pub(super) fn take(&self, ends: Vec<Endpoint>) {
        let now = Instant::now();
        let ends = ends.into_iter().map(|it| (it, now));
        lock(&self.queue.pending).ends.extend(ends);
        self.queue.changed.notify_all();
    }

    /// Returns when nothing is waited for any more.
    pub(super) fn settle(&self) {
        while !lock(&self.queue.pending).ends.is_empty() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        lock(&self.queue.pending).closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn work(&self, mut route: Route, state: &Shared) {
        loop {
            let mut pending = lock(&self.pending);
            while pending.ends.is_empty() && !pending.closed {
                pending = self
                    .changed
                    .wait(pending)
                    .unwrap_or_else(|it| it.into_inner());
            }
            if pending.closed {
                return;
            }
            let ends = pending.ends.clone();
            drop(pending);
            for (end, since) in ends {
                self.look(&mut route, state, &end, since);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn look(
        &self,
        route: &mut Route,
        state: &Shared,
        end: &Endpoint,
        since: Instant,
    ) {
        if route.index(&end.veth).is_some() {
            // A refusal is tried again with the next look.
            if since.elapsed() < PATIENCE || route.delete(&end.veth).is_err() {
                return;
            }
        }
        state.lock().let_go(end);
        lock(&self.pending).ends.retain(|(it, _)| it.veth != end.veth);
    }
}
