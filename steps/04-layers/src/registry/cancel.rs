//! A wish to stop, shared by who has it and who works.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::error::{Error, Result};

/// How often the wish is looked at while nothing happens.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The way to stop a pull or push from another thread. What was cancelled
/// leaves nothing behind.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Wish>);

#[derive(Debug, Default)]
struct Wish {
    asked: AtomicBool,
    /// Whose connections end with the wish.
    agents: Mutex<Vec<Agent>>,
}

impl Cancel {
    /// Asks for the stop. A thread that waits for a silent server is woken:
    /// it would look at the wish only when its read has timed out.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        for agent in std::mem::take(&mut *self.agents()) {
            agent.shutdown();
        }
    }

    /// An error once the stop was asked for.
    pub fn check(&self) -> Result<()> {
        match self.0.asked.load(Ordering::SeqCst) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    /// Lets the wish end this agent's connections too.
    ///
    /// Looked at under the lock under which `cancel` empties the list: an
    /// agent is either seen there or told here.
    pub fn ends(&self, agent: &Agent) {
        let mut agents = self.agents();
        match self.check() {
            Ok(()) => agents.push(agent.clone()),
            Err(_) => agent.clone().shutdown(),
        }
    }

    /// Of what failed because it was cancelled, only that is worth telling:
    /// the connections were shut down under whoever used them.
    pub(super) fn settle<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.check().err().unwrap_or(error))
    }

    /// What `ask` brings, but not waited for past a cancellation. It has a
    /// thread of its own, because neither connect(2) nor a name server that
    /// keeps silent can be woken; left alone, it ends by its timeouts.
    pub fn unless_asked<T: Send + 'static>(
        &self,
        ask: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        // Nothing is ever sent: the channel breaks when the thread is done,
        // with an answer or a panic, and that can be waited for with a limit.
        let (working, done) = channel::<Infallible>();
        let thread = std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                let _working = working;
                ask()
            })
            .map_err(|cause| Error::Outside(Box::new(cause)))?;
        while done.recv_timeout(LOOK_UP) == Err(RecvTimeoutError::Timeout) {
            self.check()?;
        }
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Sleeps, but not past a cancellation.
    pub(super) fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_UP));
        }
    }

    /// A list of handles is whole at any moment, whoever panicked.
    fn agents(&self) -> std::sync::MutexGuard<'_, Vec<Agent>> {
        self.0.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_panics_does_not_look_cancelled() {
        let panic = std::panic::catch_unwind(|| -> Result<()> {
            Cancel::default().unless_asked(|| panic!("a defect"))
        });
        let said = panic.unwrap_err();
        assert_eq!(said.downcast_ref::<&str>(), Some(&"a defect"));
    }

    #[test]
    fn an_answer_is_waited_for_only_until_the_cancellation() {
        let cancel = Cancel::default();
        assert_eq!(cancel.unless_asked(|| 7).unwrap(), 7);
        cancel.cancel();
        let forever = || std::thread::sleep(Duration::from_secs(60));
        let began = Instant::now();
        let stopped = cancel.unless_asked(forever);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
