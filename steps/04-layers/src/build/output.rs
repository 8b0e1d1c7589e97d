//! One text from stages that run side by side.
//!
//! A person reads the steps from the first to the last, as if they ran one
//! after the other. So the first stage that is not finished speaks at once,
//! and what the stages behind it say waits until it is their turn. Who can
//! draw several stages at the same time hears all at once, with the number
//! of the stage.

use super::options::BuildEvent;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where events go.
pub(super) enum Events<'a> {
    /// One stage after the other.
    InOrder(&'a mut (dyn FnMut(BuildEvent) + Send)),
    /// As they happen.
    Live(&'a mut (dyn FnMut(usize, BuildEvent) + Send)),
}

impl Events<'_> {
    /// The same for a shorter time.
    pub(super) fn lend(&mut self) -> Events<'_> {
        match self {
            Self::InOrder(events) => Events::InOrder(&mut **events),
            Self::Live(events) => Events::Live(&mut **events),
        }
    }
}

/// Hands the events of all stages on.
pub(super) enum Output<'a> {
    InOrder(Mutex<Inner<'a>>),
    Live(Mutex<&'a mut (dyn FnMut(usize, BuildEvent) + Send)>, usize),
}

pub(super) struct Inner<'a> {
    events: &'a mut (dyn FnMut(BuildEvent) + Send),
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
        match events {
            Events::InOrder(events) => {
                let waiting = (0..stages).map(|_| Waiting::default());
                let waiting = waiting.collect();
                let inner = Inner { events, live: 0, waiting };
                Self::InOrder(Mutex::new(inner))
            }
            Events::Live(events) => Self::Live(Mutex::new(events), stages),
        }
    }

    /// An event of the stage at this place in the order.
    pub(super) fn tell(&self, place: usize, event: BuildEvent) {
        match self {
            Self::InOrder(inner) => lock(inner).tell(place, event),
            Self::Live(events, _) => lock(events)(place, event),
        }
    }

    /// The stage at this place has nothing more to say.
    pub(super) fn close(&self, place: usize) {
        if let Self::InOrder(inner) = self {
            lock(inner).close(place);
        }
    }

    /// The number of stages, which is the place of what comes after them.
    pub(super) fn end(&self) -> usize {
        match self {
            Self::InOrder(inner) => lock(inner).waiting.len(),
            Self::Live(_, stages) => *stages,
        }
    }
}

impl Inner<'_> {
    fn tell(&mut self, place: usize, event: BuildEvent) {
        match place == self.live {
            true => (self.events)(event),
            false => self.waiting[place].events.push(event),
        }
    }

    fn close(&mut self, place: usize) {
        self.waiting[place].closed = true;
        while self.waiting.get(self.live).is_some_and(|it| it.closed) {
            self.live += 1;
            let next = self.live;
            let Some(waiting) = self.waiting.get_mut(next) else { break };
            for event in std::mem::take(&mut waiting.events) {
                (self.events)(event);
            }
        }
    }
}

/// A panic in the receiver loses one event and disturbs no other.
fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
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
        let output = Output::new(Events::InOrder(&mut events), 3);
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

    #[test]
    fn who_hears_all_at_once_hears_which_stage_it_is() {
        let mut said = Vec::new();
        let mut events = |place, event| {
            if let BuildEvent::Line(line) = event {
                said.push((place, line));
            }
        };
        let output = Output::new(Events::Live(&mut events), 2);
        let say = |place, text: &str| {
            output.tell(place, BuildEvent::Line(text.into()));
        };
        say(1, "a");
        say(0, "b");
        output.close(1);
        say(output.end(), "c");
        let line = |place, text: &str| (place, text.to_owned());
        assert_eq!(said, [line(1, "a"), line(0, "b"), line(2, "c")]);
    }
}
