//! Stopping a group: every process stands still at the next moment it would
//! return to user space. No signal is involved, so nothing can refuse it.
//!
//! Kernel: `cgroup-v1/freezer-subsystem.rst`, `cgroup.freeze` in
//! `cgroup-v2.rst`.

use super::Dir;
use crate::{Error, file};

const V1_STATE: &str = "freezer.state";
const V2_FREEZE: &str = "cgroup.freeze";
const V2_EVENTS: &str = "cgroup.events";

/// Asks for it; see [`is_frozen`] for when it is done.
pub(crate) fn set(dir: Dir<'_>, frozen: bool) -> Result<(), Error> {
    match dir {
        Dir::V1(dir) => {
            let state = if frozen { "FROZEN" } else { "THAWED" };
            file::write(&dir.join(V1_STATE), state)
        }
        Dir::V2(dir) => file::write(&dir.join(V2_FREEZE), u8::from(frozen)),
    }
}

/// Whether all processes stand still. On v1 reading the state is also what
/// makes the kernel look again at those that were too busy (`FREEZING`).
pub(crate) fn is_frozen(dir: Dir<'_>) -> Result<bool, Error> {
    match dir {
        Dir::V1(dir) => {
            let state = file::read_opt(&dir.join(V1_STATE))?;
            Ok(state.is_some_and(|state| state.trim() == "FROZEN"))
        }
        Dir::V2(dir) => {
            let events = file::read_keyed(&dir.join(V2_EVENTS))?;
            Ok(events.get("frozen") == Some(&1))
        }
    }
}
