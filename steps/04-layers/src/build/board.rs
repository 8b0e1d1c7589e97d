//! The stages of a build that run side by side: who is finished, who waits
//! for whom, who is to stop.
//!
//! A stage does not wait for all that it needs before it begins, only at the
//! line where it needs it: `COPY --from=build` at the end of a stage lets
//! everything above it run while `build` is still compiling. Stages refer to
//! earlier ones only, so nobody waits in a circle.

use super::options::BuildError;
use super::stage::State;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What has become of one stage.
enum Slot {
    /// The target does not need it.
    Unplanned,
    Building,
    Done(Box<State>),
    /// Why is kept until somebody reports it.
    Failed(Option<BuildError>),
}

struct Table {
    slots: Vec<Slot>,
    /// Keys of the steps that are being carried out now.
    busy: HashSet<String>,
}

/// The stages by number.
pub(super) struct Board {
    table: Mutex<Table>,
    changed: Condvar,
}

impl Board {
    /// `planned` are the numbers of the stages to build, out of `count`.
    pub(super) fn new(count: usize, planned: &[usize]) -> Self {
        let slot = |index| match planned.contains(&index) {
            true => Slot::Building,
            false => Slot::Unplanned,
        };
        let slots = (0..count).map(slot).collect();
        let table = Table { slots, busy: HashSet::new() };
        Self { table: Mutex::new(table), changed: Condvar::new() }
    }

    /// The place of a stage that now begins.
    pub(super) fn seat(&self, index: usize) -> Seat<'_> {
        Seat { board: self, index }
    }

    /// What another stage has become, once it has. `None` if it is not part
    /// of this build.
    ///
    /// # Errors
    /// [`BuildError::Stopped`] if it failed.
    pub(super) fn wait(
        &self,
        index: usize,
    ) -> Result<Option<State>, BuildError> {
        let table = self
            .wait_while(|table| matches!(table.slots[index], Slot::Building));
        match &table.slots[index] {
            Slot::Done(state) => Ok(Some(State::clone(state))),
            Slot::Failed(_) => Err(BuildError::Stopped),
            Slot::Unplanned | Slot::Building => Ok(None),
        }
    }

    /// Whether some stage has failed: what the others make is of no use then.
    pub(super) fn stopped(&self) -> bool {
        let failed = |slot: &Slot| matches!(slot, Slot::Failed(_));
        self.lock().slots.iter().any(failed)
    }

    /// The failure to report: the first in the order of the file that is not
    /// itself the consequence of another.
    pub(super) fn failure(&self) -> Option<BuildError> {
        let mut table = self.lock();
        let errors = table.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Failed(error) => error.take(),
            _ => None,
        });
        let (causes, consequences): (Vec<_>, Vec<_>) =
            errors.partition(|e| !matches!(e, BuildError::Stopped));
        causes.into_iter().chain(consequences).next()
    }

    /// The right to carry out the step of this key. Two stages that begin
    /// alike come by the same steps at the same time; the second waits and
    /// then finds the result in the cache.
    pub(super) fn claim(&self, key: &str) -> Claim<'_> {
        let mut table = self.wait_while(|table| table.busy.contains(key));
        table.busy.insert(key.to_owned());
        Claim { board: self, key: key.to_owned() }
    }

    fn wait_while(
        &self,
        condition: impl Fn(&Table) -> bool,
    ) -> MutexGuard<'_, Table> {
        self.changed
            .wait_while(self.lock(), |table| condition(table))
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change is one assignment, so a thread that panicked has left
    /// nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stage under way. Dropped without a result, by a panic, it has failed:
/// who waits for it must not wait for ever.
pub(super) struct Seat<'a> {
    board: &'a Board,
    index: usize,
}

impl Seat<'_> {
    /// Tells the others how it went.
    pub(super) fn finish(self, result: Result<State, BuildError>) {
        let slot = match result {
            Ok(state) => Slot::Done(Box::new(state)),
            Err(error) => Slot::Failed(Some(error)),
        };
        self.board.lock().slots[self.index] = slot;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let slot = &mut self.board.lock().slots[self.index];
        if matches!(slot, Slot::Building) {
            *slot = Slot::Failed(None);
        }
        self.board.changed.notify_all();
    }
}

/// See [`Board::claim`].
pub(super) struct Claim<'a> {
    board: &'a Board,
    key: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.board.lock().busy.remove(&self.key);
        self.board.changed.notify_all();
    }
}
