//! What the daemon of a stage holds in memory, and its life.
//!
//! A container is a [`Job`]: a record of what was asked and what became of
//! it, and, while it runs, a handle on its process. The record exists twice.
//! In memory it is a *watch*, a value that others can wait for to change:
//! that is all there is to `wait` and `stop`. On disk it is a file, which
//! is all that a later daemon will know.
//!
//! ```text
//! created ── start ──▶ running ── the process ends ──▶ exited ── rm ──▶
//!    └────────── start fails ────────────────────────────▲
//! ```

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::{oneshot, watch};

use super::place::{Place, log_in};
use super::process::{Event, supervise};
use super::{Ended, Inside, Record, Run, Stage, Started, Status, Stdio};
use crate::server::ApiError;
use crate::{id, state};

/// The daemon: the stage, and a record per container.
pub(crate) struct Daemon<S: Stage> {
    /// What is special about this stage.
    pub(crate) stage: S,
    /// Where its files are.
    pub(crate) place: Place,
    /// By ID, containers and execs alike. An ordinary lock, not an
    /// asynchronous one: it is never held while anything is waited for.
    jobs: Mutex<HashMap<String, Arc<Job<S>>>>,
    /// Whether anybody needs us.
    pub(crate) idle: Idle,
    /// Rung by `POST /shutdown`.
    pub(crate) shutdown: tokio::sync::Notify,
}

/// A process with its record: a container, or an exec in one.
pub(crate) struct Job<S: Stage> {
    /// Its files: the log, and for a container the record.
    pub(crate) dir: PathBuf,
    /// An exec is forgotten with its container, and is in no list.
    pub(crate) is_exec: bool,
    /// What is known of it. Receivers are woken by every change.
    pub(crate) record: watch::Sender<Record<S::Flags>>,
    /// Set while the process runs. A pidfd means this very process even
    /// after it has ended and its PID belongs to another.
    handle: Mutex<Option<OwnedFd>>,
}

/// When the daemon was needed last, and how many requests are under way.
///
/// A daemon that was started by a command ends by itself when nothing runs
/// and nobody asks, so that an afternoon with six stages does not leave six
/// daemons. Its state is on disk; the next command starts it again.
#[derive(Debug)]
pub(crate) struct Idle(Mutex<(Instant, usize)>);

impl<S: Stage> Daemon<S> {
    /// Opens the state of this stage. What ran under an earlier daemon that
    /// was killed is ended now: nobody reads its output any more.
    pub(crate) fn open(place: Place) -> anyhow::Result<Arc<Daemon<S>>> {
        fs::create_dir_all(place.containers())?;
        let stage = S::open(&place.state)?;
        let mut jobs = HashMap::new();
        for entry in fs::read_dir(place.containers())? {
            let dir = entry?.path();
            let Ok(mut record) =
                state::read_json::<Record<S::Flags>>(&dir.join("config.json"))
            else {
                // A crash between mkdir(2) and the first record leaves an
                // empty directory. That must not keep us from starting.
                eprintln!("skipping {}: no whole record", dir.display());
                continue;
            };
            if record.state.status == Status::Running {
                end_orphan(&mut record);
                state::write_json(&dir.join("config.json"), &record)?;
            }
            let id = record.id.clone();
            jobs.insert(id, Arc::new(Job::new(dir, false, record)));
        }
        Ok(Arc::new(Daemon {
            stage,
            place,
            jobs: Mutex::new(jobs),
            idle: Idle(Mutex::new((Instant::now(), 0))),
            shutdown: tokio::sync::Notify::new(),
        }))
    }

    /// Makes the record of a container; nothing runs yet.
    pub(crate) fn create(
        &self,
        mut run: Run<S::Flags>,
    ) -> Result<Arc<Job<S>>, ApiError> {
        if !run.name.is_empty() && !id::is_name(&run.name) {
            return Err(ApiError::bad_request(format!(
                "Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] \
                 are allowed",
                run.name
            )));
        }
        run.id = id::hex64();
        // The lock is held from the question to the answer: of two requests
        // with the same name at the same time, one is refused.
        let mut jobs = self.jobs();
        let owner = |name: &str| {
            let mut containers = jobs.values().filter(|it| !it.is_exec);
            containers.find(|it| it.record.borrow().name == name)
        };
        if let Some(other) = owner(&run.name) {
            return Err(ApiError::conflict(format!(
                "Conflict. The container name \"/{}\" is already in use by \
                 container \"{}\". You have to remove (or rename) that \
                 container to be able to reuse that name.",
                run.name,
                other.record.borrow().id
            )));
        }
        if run.name.is_empty() {
            let name = id::random_name();
            run.name = match owner(&name) {
                None => name,
                Some(_) => format!("{name}_{}", id::short(&run.id)),
            };
        }
        let dir = self.place.container(&run.id);
        fs::create_dir_all(&dir).map_err(ApiError::internal)?;
        let job = Arc::new(Job::new(dir, false, Record::new(run)));
        job.save(&job.record.borrow());
        let id = job.record.borrow().id.clone();
        jobs.insert(id, job.clone());
        Ok(job)
    }

    /// A further process in a container; it has a log, and no file.
    pub(crate) fn create_exec(
        &self,
        container: &Job<S>,
        args: Vec<String>,
    ) -> Result<Arc<Job<S>>, ApiError> {
        let mut run = container.record.borrow().config.clone();
        run.id = id::hex64();
        run.name = String::new();
        run.args = args;
        let dir = container.dir.join("exec").join(&run.id);
        fs::create_dir_all(&dir).map_err(ApiError::internal)?;
        let id = run.id.clone();
        let job = Arc::new(Job::new(dir, true, Record::new(run)));
        self.jobs().insert(id, job.clone());
        Ok(job)
    }

    /// The container that `typed` means: by ID, name, or beginning of an ID.
    pub(crate) fn find(&self, typed: &str) -> Result<Arc<Job<S>>, ApiError> {
        let jobs = self.jobs();
        let name = |job: &Job<S>| job.record.borrow().name.clone();
        let all: Vec<_> =
            jobs.iter().map(|(id, job)| (id, name(job), job)).collect();
        let all = all
            .iter()
            .map(|(id, name, job)| (id.as_str(), name.as_str(), *job));
        id::resolve(typed, all)
            .map_err(|it| ApiError::bad_request(it.to_string()))?
            .cloned()
            .ok_or_else(|| {
                ApiError::not_found(format!("No such container: {typed}"))
            })
    }

    /// All containers, newest first.
    pub(crate) fn containers(&self) -> Vec<Record<S::Flags>> {
        let jobs = self.jobs();
        let containers = jobs.values().filter(|it| !it.is_exec);
        let mut all: Vec<_> =
            containers.map(|it| it.record.borrow().clone()).collect();
        all.sort_by(|a, b| b.created.cmp(&a.created));
        all
    }

    /// Starts the process of `job` by `start`, and returns when it runs.
    ///
    /// Fails with 409 for one that has run already, and with 400 and the
    /// stage's own words if the process cannot be made.
    pub(crate) async fn start<F>(
        self: &Arc<Self>,
        job: Arc<Job<S>>,
        start: F,
    ) -> Result<(), ApiError>
    where
        F: FnOnce(&S, Stdio) -> anyhow::Result<Started> + Send + 'static,
    {
        if job.record.borrow().state.status != Status::Created {
            return Err(ApiError::conflict(
                "a container of this stage starts once; run a new one",
            ));
        }
        // The first event, that it runs or that it does not, is the answer
        // to this request; the second comes when it ends, maybe tomorrow.
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let log = log_in(&job.dir);
        let daemon = self.clone();
        supervise(
            &log,
            move |stdio| start(&daemon.stage, stdio),
            move |event| {
                let answer = job.happened(event);
                if let Some(tell) = tell.take() {
                    let _ = tell.send(answer);
                }
            },
        )
        .map_err(ApiError::internal)?;
        match told.await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::internal("the start was given up")),
        }
    }

    /// Forgets a container that does not run, with all that it left.
    pub(crate) fn remove(&self, job: &Job<S>) -> Result<(), ApiError> {
        let record = job.record.borrow().clone();
        if record.state.status == Status::Running {
            return Err(ApiError::conflict(format!(
                "cannot remove container \"/{}\": container is running: stop \
                 the container before removing or force remove",
                record.name
            )));
        }
        self.stage
            .remove(&record.id)
            .map_err(|why| ApiError::internal(format!("{why:#}")))?;
        // Last of all: as long as the record is there, a removal that was
        // interrupted can be tried again.
        fs::remove_dir_all(&job.dir).map_err(ApiError::internal)?;
        self.jobs().retain(|_, it| !it.dir.starts_with(&job.dir));
        Ok(())
    }

    /// Kills all that runs, and waits for its end.
    pub(crate) async fn kill_all(&self) {
        let all: Vec<_> = self.jobs().values().cloned().collect();
        for job in all.iter().filter(|it| it.runs()) {
            let _ = job.signal(Signal::KILL);
        }
        for job in all {
            let _ = job.ended().await;
        }
    }

    /// Returns when nothing has run and nobody has asked for `limit`.
    pub(crate) async fn until_idle(&self, limit: Duration) {
        loop {
            tokio::time::sleep(limit / 10).await;
            let busy = self.jobs().values().any(|it| it.runs());
            if !busy && self.idle.since() > limit {
                return;
            }
        }
    }

    /// The lock. A panic in another request does not make the table of
    /// containers wrong, so a poisoned lock is taken all the same.
    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Arc<Job<S>>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Stage> Job<S> {
    fn new(dir: PathBuf, is_exec: bool, record: Record<S::Flags>) -> Job<S> {
        let record = watch::Sender::new(record);
        Job { dir, is_exec, record, handle: Mutex::new(None) }
    }

    /// For the stage's `exec` and `inspect`.
    pub(crate) fn inside(&self) -> Inside<S::Flags> {
        let record = self.record.borrow();
        Inside { run: record.config.clone(), pid: record.state.pid }
    }

    /// Whether its process is there.
    pub(crate) fn runs(&self) -> bool {
        self.record.borrow().state.status == Status::Running
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), ApiError> {
        let handle = self.handle.lock();
        let handle = handle.unwrap_or_else(PoisonError::into_inner);
        let name = self.record.borrow().name.clone();
        let Some(handle) = &*handle else {
            return Err(ApiError::conflict(format!(
                "cannot kill container: {name}: container is not running"
            )));
        };
        match pidfd_send_signal(handle, signal) {
            // It has ended, and nobody has noticed yet: done.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(why) => Err(ApiError::internal(format!(
                "cannot signal the process of {name}: {why}"
            ))),
        }
    }

    /// Waits until it does not run any more.
    pub(crate) async fn ended(&self) -> Record<S::Flags> {
        let mut watch = self.record.subscribe();
        let over =
            watch.wait_for(|it| it.state.status != Status::Running).await;
        // The sender is in `self`, so waiting cannot fail.
        over.map_or_else(|_| self.record.borrow().clone(), |it| it.clone())
    }

    /// Writes down what [`supervise`] reports. Gives the answer to whoever
    /// asked for the start.
    fn happened(&self, event: Event) -> Result<(), ApiError> {
        let mut answer = Ok(());
        let handle = match &event {
            // Opened before anybody waits for the process: until then its
            // PID cannot be given to another.
            Event::Started(pid) => i32::try_from(*pid)
                .ok()
                .and_then(Pid::from_raw)
                .and_then(|it| pidfd_open(it, PidfdFlags::empty()).ok()),
            _ => None,
        };
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = handle;
        self.record.send_modify(|record| {
            match event {
                Event::Started(pid) => record.state.running(pid),
                Event::Ended(Ok(ended)) => {
                    record.state.exited(ended, String::new());
                }
                Event::Ended(Err(why)) => {
                    let ended = Ended { code: 125, oom_killed: false };
                    record.state.exited(ended, format!("{why:#}"));
                }
                Event::Failed(why) => {
                    let text = format!("{why:#}");
                    let code = exit_code_of(&text);
                    answer = Err(ApiError::bad_request(text.clone()));
                    record
                        .state
                        .exited(Ended { code, oom_killed: false }, text);
                }
            }
            // Before anybody hears of it: who waits for the end may remove
            // the directory next.
            self.save(record);
        });
        answer
    }

    /// Puts the record on disk, except an exec's, which nobody will ask for
    /// after a restart.
    fn save(&self, record: &Record<S::Flags>) {
        if self.is_exec {
            return;
        }
        let file = self.dir.join("config.json");
        // Without a record the container is lost to the *next* daemon only.
        if let Err(why) = state::write_json(&file, record) {
            eprintln!("{why}");
        }
    }
}

/// Docker's exit codes for a command that could not be started, by the text
/// of the error: that is all that crosses the API.
pub(crate) fn exit_code_of(error: &str) -> i32 {
    let text = error.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|it| text.contains(it));
    if says(&["executable file not found", "no such file or directory"]) {
        127
    } else if says(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    }
}

/// Kills what an earlier daemon left running. By PID *and* start time: the
/// machine may have been booted since, and the PID be anybody's.
fn end_orphan<F>(record: &mut Record<F>) {
    if record.state.alive()
        && let Ok(pid) = i32::try_from(record.state.pid)
        && let Some(pid) = Pid::from_raw(pid)
    {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    let ended = Ended { code: 137, oom_killed: false };
    let why = "the daemon of this stage was killed";
    record.state.exited(ended, why.to_owned());
}

impl Idle {
    /// Somebody asks; the daemon is busy until the answer is complete.
    pub(crate) fn begin(&self) {
        self.change(1);
    }

    /// The answer is complete.
    pub(crate) fn end(&self) {
        self.change(-1);
    }

    fn change(&self, by: isize) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (Instant::now(), now.1.saturating_add_signed(by));
    }

    fn since(&self) -> Duration {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.1 > 0 { Duration::ZERO } else { now.0.elapsed() }
    }
}
