//! One text from stages that run side by side.
//!
//! A client reads the steps from the first to the last, as if they ran one
//! after the other. So the first stage that is not finished speaks at once,
//! and what the stages behind it say waits until it is their turn.

use super::options::BuildEvent;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where events go.
pub(super) type Events<'a> = &'a mut (dyn FnMut(BuildEvent) + Send);

/// Brings the events of all stages into order.
pub(super) struct Output<'a>(Mutex<Inner<'a>>);

struct Inner<'a> {
    events: Events<'a>,
    /// Whose turn it is; one behind the last when all are finished.
    live: usize,
    waiting: Vec<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: Vec<BuildEvent>,
    closed: bool,
}

impl<'a> Output<'a> {
    /// For so many stages.
    pub(super) fn new(events: Events<'a>, stages: usize) -> Self {
        let waiting = (0..stages).map(|_| Waiting::default()).collect();
        Self(Mutex::new(Inner { events, live: 0, waiting }))
    }

    /// An event of the stage at this place in the order.
    pub(super) fn tell(&self, place: usize, event: BuildEvent) {
        let mut inner = self.lock();
        match place == inner.live {
            true => (inner.events)(event),
            false => inner.waiting[place].events.push(event),
        }
    }

    /// The stage at this place has nothing more to say.
    pub(super) fn close(&self, place: usize) {
        let mut inner = self.lock();
        inner.waiting[place].closed = true;
        while inner.waiting.get(inner.live).is_some_and(|it| it.closed) {
            inner.live += 1;
            let next = inner.live;
            let Some(waiting) = inner.waiting.get_mut(next) else { break };
            for event in std::mem::take(&mut waiting.events) {
                (inner.events)(event);
            }
        }
    }

    /// The number of stages, which is the place of what comes after them.
    pub(super) fn end(&self) -> usize {
        self.lock().waiting.len()
    }

    /// A panic in the receiver loses one event and disturbs no other.
    fn lock(&self) -> MutexGuard<'_, Inner<'a>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_stage_is_heard_after_the_earlier_ones() {
        let mut said = String::new();
        let mut events = |event| {
            if let BuildEvent::Line(line) = event {
                said.push_str(&line);
            }
        };
        let output = Output::new(&mut events, 3);
        let say = |place, text: &str| {
            output.tell(place, BuildEvent::Line(text.into()));
        };
        say(1, "d");
        say(0, "a");
        say(2, "f");
        output.close(2);
        say(0, "b");
        say(0, "c");
        output.close(0);
        say(1, "e");
        output.close(1);
        say(output.end(), "g");
        assert_eq!(said, "abcdefg");
    }
}
