//! Several layers at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// Does `work` for all items, in order, at most `threads` at a time. After a
/// failure nothing new is begun; what is under way is waited for, so that
/// nobody writes any more when this returns the first error.
pub(crate) fn parallel<T: Sync>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let problem = Mutex::new(None);
    // A thread that panics ends the scope with a panic, so a poisoned lock
    // is never seen by anybody who could still act on it.
    let seen = || problem.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        while seen().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return };
            if let Err(e) = work(item) {
                seen().get_or_insert(e);
            }
        }
    };
    std::thread::scope(|scope| {
        // This thread is one of them.
        for _ in 1..threads.clamp(1, items.len().max(1)) {
            scope.spawn(run);
        }
        run();
    });
    let problem = seen().take();
    problem.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn all_items_are_done_and_the_first_error_stops_the_rest() {
        let done = Mutex::new(Vec::new());
        let items: Vec<usize> = (0..50).collect();
        let note = |n: &usize| {
            done.lock().unwrap().push(*n);
            Ok(())
        };
        parallel(4, &items, note).unwrap();
        let mut all = std::mem::take(&mut *done.lock().unwrap());
        all.sort_unstable();
        assert_eq!(all, items);
        let fail = |n: &usize| match n {
            3 => Err(Error::Cancelled),
            _ => note(n),
        };
        assert!(parallel(1, &items, fail).is_err());
        assert_eq!(*done.lock().unwrap(), [0, 1, 2]);
        parallel(3, &Vec::<usize>::new(), note).unwrap();
    }
}
