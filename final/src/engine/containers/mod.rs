//! Containers: one record each, one verb at a time, many watchers.
//!
//! A [`Container`] has three locks, for three different needs:
//!
//! - `verb` is held by whoever starts, pauses, renames, removes… it, for as
//!   long as that takes. Two removals of the same container queue up here,
//!   and the second one finds it gone.
//! - `record` is held for a moment, to read or to change the record.
//! - `phase` is a channel on which everyone who waits is told of each
//!   change; waiting therefore costs nothing and holds nothing.
//!
//! Each verb is a module: `create`, `start`, `stop`, `remove`…

pub mod archive;
pub mod attach;
pub mod config;
mod connection;
pub mod create;
mod devices;
mod discard;
pub mod exec;
mod exec_files;
mod exec_memory;
mod exit;
pub mod health;
pub mod host_config;
pub mod inspect;
mod limits;
mod link_env;
pub mod list;
pub mod log_options;
pub mod logs;
mod mounts;
mod oom;
pub mod record;
mod recover;
pub mod remove;
mod restart;
pub mod root;
mod security;
mod signal;
mod spec;
mod start;
pub mod state;
pub mod stats;
pub mod stop;
pub mod top;
mod tree;
pub mod update;
pub(super) mod validate;
mod warnings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use cli_api::state::write_json;
use tokio::sync::watch;

pub use self::limits::bytes;
use self::record::Record;
use self::state::{Status, Step};
use super::error::{Error, Result};

/// What is told to those who wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phase {
    /// Where it is in its life.
    pub status: Status,
    /// How often its process has ended.
    pub exits: u64,
    /// The code of the last end.
    pub exit_code: i32,
    /// It is gone.
    pub removed: bool,
    /// Why its removal failed; empty otherwise.
    pub error: String,
}

/// One container.
#[derive(Debug)]
pub struct Container {
    /// Its ID, 64 hexadecimal digits.
    pub id: String,
    /// Its files.
    pub dir: PathBuf,
    verb: Mutex<()>,
    record: Mutex<Record>,
    phase: watch::Sender<Phase>,
    attachers: Mutex<Vec<attach::Waiting>>,
    execs: Mutex<BTreeMap<String, Arc<exec::Exec>>>,
    last_pause: Mutex<Option<Duration>>,
}

impl Container {
    /// A container with this record, whose files are in `dir`.
    pub fn new(dir: PathBuf, record: Record) -> Container {
        let phase = Phase {
            status: record.state.status,
            exit_code: record.state.exit_code,
            ..Phase::default()
        };
        Container {
            id: record.id.clone(),
            dir,
            verb: Mutex::default(),
            record: Mutex::new(record),
            phase: watch::channel(phase).0,
            attachers: Mutex::default(),
            execs: Mutex::default(),
            last_pause: Mutex::default(),
        }
    }

    /// A copy of the record.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Reads something from the record.
    pub fn with<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the record and writes it down.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be written; the change holds in
    /// memory all the same.
    pub fn change<T>(&self, edit: impl FnOnce(&mut Record) -> T) -> Result<T> {
        let mut record = self.lock();
        let result = edit(&mut record);
        self.save(&record)?;
        Ok(result)
    }

    /// The one way from a state to the next: checks it against the table,
    /// writes it down, tells those who wait.
    ///
    /// # Errors
    /// Docker's sentence if it cannot be; nothing has changed then.
    pub fn advance(
        &self,
        step: Step,
        edit: impl FnOnce(&mut Record),
    ) -> Result<()> {
        let mut record = self.lock();
        record.state.advance(&self.id, step)?;
        edit(&mut record);
        let saved = self.save(&record);
        self.phase.send_modify(|phase| {
            phase.status = record.state.status;
            phase.exit_code = record.state.exit_code;
            phase.exits +=
                u64::from(matches!(step, Step::Exit | Step::ExitToRestart));
        });
        saved
    }

    /// Waits for the right to do something to it that takes time.
    pub fn begin(&self) -> MutexGuard<'_, ()> {
        lock(&self.verb)
    }

    /// How long the restart policy waits this time.
    pub(super) fn next_pause(&self, ran: Duration) -> Duration {
        let mut last = lock(&self.last_pause);
        let next = restart::pause(*last, ran);
        *last = Some(next);
        next
    }

    /// Follows its life.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.lock().state.status
    }

    /// Tells those who wait that it is gone.
    pub(super) fn tell_removed(&self, error: String) {
        self.phase.send_modify(|phase| {
            phase.removed = error.is_empty();
            phase.error = error;
        });
    }

    /// Writes the record. A rename is enough: it must survive the death of
    /// this process, and containers do not survive that of the machine.
    fn save(&self, record: &Record) -> Result<()> {
        write_json(&record::config_file(&self.dir), record)
            .map_err(Error::internal)
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

/// A panic while a lock was held leaves data that is whole: every change of
/// ours is a single assignment or is checked before it is made.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All the containers of one engine.
#[derive(Debug, Default)]
pub struct Containers {
    dir: PathBuf,
    index: RwLock<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Names are taken before there is a container, so that two creations
    /// cannot get the same one.
    ids_by_name: BTreeMap<String, String>,
}

impl Containers {
    /// The containers whose directories are in `dir`; none are read yet.
    pub fn new(dir: PathBuf) -> Containers {
        Containers { dir, index: RwLock::default() }
    }

    /// Where the directories of all containers are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// By full ID, by name, or by the beginning of exactly one ID.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Invalid`] if several match.
    pub fn find(&self, typed: &str) -> Result<Arc<Container>> {
        let index = self.read();
        if let Some(container) = index.by_id.get(typed) {
            return Ok(container.clone());
        }
        let name = typed.trim_start_matches('/');
        let named = index.ids_by_name.get(name);
        if let Some(found) = named.and_then(|id| index.by_id.get(id)) {
            return Ok(found.clone());
        }
        let mut matching = index
            .by_id
            .range(typed.to_owned()..)
            .take_while(|(id, _)| !typed.is_empty() && id.starts_with(typed));
        match (matching.next(), matching.next()) {
            (Some((_, found)), None) => Ok(found.clone()),
            (None, _) => Err(Error::no_container(typed)),
            _ => Err(Error::Invalid(format!(
                "multiple IDs found with provided prefix: {typed}"
            ))),
        }
    }

    /// Every container, in no particular order.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.read().by_id.values().cloned().collect()
    }

    /// Takes a name for `id`.
    ///
    /// # Errors
    /// [`Error::Conflict`] in Docker's words if somebody has it.
    pub fn take_name(&self, name: &str, id: &str) -> Result<()> {
        let mut index = self.write();
        if let Some(owner) = index.ids_by_name.get(name) {
            return Err(Error::Conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use \
                 by container \"{owner}\". You have to remove (or rename) \
                 that container to be able to reuse that name."
            )));
        }
        index.ids_by_name.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Gives a name back.
    pub fn free_name(&self, name: &str) {
        self.write().ids_by_name.remove(name);
    }

    /// Makes a container findable; its name is taken already.
    pub fn insert(&self, container: Arc<Container>) {
        self.write().by_id.insert(container.id.clone(), container);
    }

    /// Makes it unfindable and frees its name.
    pub fn forget(&self, container: &Container) {
        let name = container.with(|record| record.short_name().to_owned());
        let mut index = self.write();
        index.by_id.remove(&container.id);
        index.ids_by_name.remove(&name);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
