//! One build: what it was asked for, what it has told, what came out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, stream};
use layers::ImageId;
use layers::registry::Cancel;
use prost::Message;
use tokio::sync::Notify;

use super::grpc::{Code, Status};
use super::wire::control::{SolveRequest, StatusResponse};
use crate::engine::Engine;

/// gRPC messages have a limit, and a watcher may come late.
const MOST_AT_ONCE: usize = 1 << 20;

/// A build, from its `Control.Solve` until the connection ends: `Status` may
/// come late, and still wants to hear everything.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: SolveRequest,
    pub(super) cancel: Cancel,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    told: Vec<StatusResponse>,
    ended: bool,
    /// How many have something to tell, even if the client has given up.
    working: usize,
    results: HashMap<String, Arc<Built>>,
    returned: Option<Result<Option<Arc<Built>>, Status>>,
}

impl Job {
    pub(super) fn new(request: SolveRequest) -> Arc<Job> {
        Arc::new(Job {
            request,
            cancel: Cancel::default(),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Tells whoever watches.
    pub(super) fn tell(&self, status: StatusResponse) {
        self.lock().told.push(status);
        self.changed.notify_waiters();
    }

    /// Somebody who will tell something, for as long as the value lives.
    pub(super) fn work(self: &Arc<Self>) -> Work {
        self.lock().working += 1;
        Work(self.clone())
    }

    /// Nothing more will be told but by those who work on it.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }

    /// All that was told and will be. What has gathered comes at once.
    pub(super) fn watch(
        self: Arc<Self>,
    ) -> impl Stream<Item = Result<StatusResponse, Status>> + Send {
        stream::unfold((self, 0), async |(job, heard)| {
            let told = job.new_since(heard).await?;
            let heard = heard + told.len();
            let all = told.into_iter().reduce(joined);
            Some((Ok(all.unwrap_or_default()), (job, heard)))
        })
    }

    /// Waits for what is told behind the first `heard`.
    async fn new_since(&self, heard: usize) -> Option<Vec<StatusResponse>> {
        loop {
            let changed = self.changed.notified();
            if let Some(told) = self.since(heard)? {
                return Some(told);
            }
            changed.await;
        }
    }

    /// What was told behind the first `heard`: `Some(None)` while there is
    /// nothing new, `None` when there will be nothing.
    #[allow(clippy::option_option, reason = "two different nothings")]
    fn since(&self, heard: usize) -> Option<Option<Vec<StatusResponse>>> {
        let state = self.lock();
        match state.told.get(heard..) {
            Some(new) if !new.is_empty() => {
                let mut room = MOST_AT_ONCE;
                let fits = |it: &&StatusResponse| {
                    let fits = room > 0;
                    room = room.saturating_sub(it.encoded_len());
                    fits
                };
                Some(Some(new.iter().take_while(fits).cloned().collect()))
            }
            _ if state.ended && state.working == 0 => None,
            _ => Some(None),
        }
    }

    /// Keeps what a build within this one has made; its name.
    pub(super) fn keep(&self, built: Built) -> String {
        let name = cli_api::id::hex64();
        self.lock().results.insert(name.clone(), Arc::new(built));
        name
    }

    /// What the client wants of all that, or why it wants nothing.
    pub(super) fn hand_in(&self, outcome: Result<Vec<String>, Status>) {
        let mut state = self.lock();
        let found = outcome.and_then(|names| {
            let name = names.iter().find(|it| !it.is_empty());
            let Some(name) = name else { return Ok(None) };
            let found = state.results.get(name).cloned();
            found.map(Some).ok_or_else(|| {
                let text = format!("no such ref: {name}");
                Status::new(Code::NotFound, text)
            })
        });
        state.returned = Some(found);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits for that.
    pub(super) async fn returned(&self) -> Result<Option<Arc<Built>>, Status> {
        loop {
            let changed = self.changed.notified();
            if let Some(outcome) = self.lock().returned.take() {
                return outcome;
            }
            changed.await;
        }
    }

    /// Whole at any moment, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn joined(mut all: StatusResponse, more: StatusResponse) -> StatusResponse {
    all.vertexes.extend(more.vertexes);
    all.statuses.extend(more.statuses);
    all.logs.extend(more.logs);
    all.warnings.extend(more.warnings);
    all
}

/// See [`Job::work`].
#[derive(Debug)]
pub(super) struct Work(Arc<Job>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.changed.notify_waiters();
    }
}

/// Ends the build with the call for it: one that its client has given up is
/// dropped.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Arc<Job>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel.cancel();
        self.0.end();
    }
}

/// An image that was built. Unless its client wants it as an image, it goes
/// when the last who knows of it has: what stays is its part of the cache.
#[derive(Debug)]
pub(super) struct Built {
    engine: Arc<Engine>,
    pub(super) image: ImageId,
    /// Whether it is there because of this build.
    fresh: bool,
    wanted: AtomicBool,
}

impl Built {
    pub(super) fn new(
        engine: &Arc<Engine>,
        image: ImageId,
        fresh: bool,
    ) -> Built {
        let (engine, wanted) = (engine.clone(), AtomicBool::new(false));
        Built { engine, image, fresh, wanted }
    }

    /// It is an image like any other from now on.
    pub(super) fn is_wanted(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        if !self.fresh || self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let (engine, image) = (self.engine.clone(), self.image.clone());
        self.engine.runtime.spawn_blocking(move || {
            let names = engine.store.names(&image);
            // Somebody else has built the same meanwhile and named it.
            if names.is_ok_and(|it| it.tags.is_empty()) {
                let _ = engine.remove_image(&image.to_string(), false, false);
            }
        });
    }
}
