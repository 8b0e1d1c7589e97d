//! Two pulls of one layer share one download.
//!
//! Who comes first downloads; who comes later waits, watches the same
//! counter, and finds the layer in the store. If the first fails or is
//! cancelled, one of the others takes over.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::digest::Digest;

/// One layer of one store.
type Key = (PathBuf, Digest);

/// Of this process: two daemons on one data root would each download, and the
/// second finds the layer there when it is done.
static FLIGHTS: LazyLock<Mutex<HashMap<Key, Arc<Flight>>>> =
    LazyLock::new(Mutex::default);

#[derive(Default)]
pub(super) struct Flight {
    /// Bytes that have come.
    pub(super) bytes: AtomicU64,
    /// Over, one way or the other.
    landed: Mutex<bool>,
    changed: Condvar,
}

/// The right to download; given up when dropped.
pub(super) struct Pilot {
    key: Key,
    pub(super) flight: Arc<Flight>,
}

pub(super) enum Boarding {
    /// Nobody else is at it.
    Pilot(Pilot),
    /// Somebody is: wait, then look again.
    Passenger(Arc<Flight>),
}

/// Who asks first is the pilot.
pub(super) fn board(store: PathBuf, blob: &Digest) -> Boarding {
    let key = (store, blob.clone());
    let mut flights = FLIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(flight) = flights.get(&key) {
        return Boarding::Passenger(Arc::clone(flight));
    }
    let flight = Arc::new(Flight::default());
    flights.insert(key.clone(), Arc::clone(&flight));
    Boarding::Pilot(Pilot { key, flight })
}

impl Flight {
    /// Waits a moment; true when it is over, well or badly.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(landed, time, |l| !*l);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// For the passengers' progress lines.
    pub(super) fn seen(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let flights = FLIGHTS.lock();
        flights.unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        let landed = self.flight.landed.lock();
        *landed.unwrap_or_else(PoisonError::into_inner) = true;
        self.flight.changed.notify_all();
    }
}
