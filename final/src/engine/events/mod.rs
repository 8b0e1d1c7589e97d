//! What happened, told to everyone who listens: `docker events`.
//!
//! Whoever reports an event must never wait for whoever reads it. So events
//! go into a ring that readers follow at their own pace; a reader that falls
//! a whole ring behind is told so and dropped.

mod history;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use history::History;

/// How far a reader may fall behind.
const RING: usize = 4096;

/// Names and values that describe what an event is about.
pub type Attributes = BTreeMap<String, String>;

/// What kind of object an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "Docker's own words")]
pub enum Kind {
    Builder,
    Container,
    Daemon,
    Image,
    Network,
    Volume,
}

impl Kind {
    /// The word in the JSON and in filters.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Builder => "builder",
            Kind::Container => "container",
            Kind::Daemon => "daemon",
            Kind::Image => "image",
            Kind::Network => "network",
            Kind::Volume => "volume",
        }
    }
}

/// One line of `GET /events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The action again, for clients from before API 1.22.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The actor's ID again, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The image, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What kind of object.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// The verb: `create`, `die`, `exec_create: sh` …
    #[serde(rename = "Action")]
    pub action: String,
    /// The object.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`; a swarm has another one.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The object of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// ID, or name for what has none.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, image, labels, exit code …
    #[serde(rename = "Attributes")]
    pub attributes: Attributes,
}

impl Event {
    fn new(
        kind: Kind,
        action: &str,
        id: &str,
        attributes: Attributes,
    ) -> Event {
        let now = Timestamp::now();
        let legacy = matches!(kind, Kind::Container | Kind::Image);
        let from = attributes.get("image").filter(|_| legacy).cloned();
        Event {
            status: legacy.then(|| action.to_owned()),
            id: legacy.then(|| id.to_owned()),
            from,
            kind,
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        }
    }
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        let nanos = i128::from(self.time_nano);
        Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MIN)
    }
}

/// The engine's events: those that were, and a ring of those to come.
#[derive(Debug)]
pub struct Events {
    past: Mutex<History>,
    live: broadcast::Sender<Event>,
}

impl Events {
    /// Takes up the history in that file, which need not exist.
    pub fn open(file: &Path) -> Events {
        let past = Mutex::new(History::open(file));
        Events { past, live: broadcast::channel(RING).0 }
    }

    /// Tells everyone. Waits for nobody.
    pub fn emit(
        &self,
        kind: Kind,
        action: &str,
        id: &str,
        attributes: Attributes,
    ) {
        let mut past = self.past();
        // Made under the lock, so that the history is in the order of time,
        // and told under it, so that a subscriber sees each event exactly
        // once, either as past or as live.
        let event = Event::new(kind, action, id, attributes);
        past.push(event.clone());
        // That nobody listens is no error.
        let _ = self.live.send(event);
    }

    /// What is remembered since that moment (nothing, without one), and what
    /// is to come.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
    ) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let past = self.past();
        let remembered = since.map(|since| past.since(since));
        (remembered.unwrap_or_default(), self.live.subscribe())
    }

    /// How many listen; `/info` says so.
    pub fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    fn past(&self) -> MutexGuard<'_, History> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attributes from pairs.
pub fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> Attributes {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_gets_the_past_and_the_future_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::open(&dir.path().join("events"));
        events.emit(Kind::Volume, "create", "a", Attributes::new());
        let (past, mut live) = events.subscribe(Some(Timestamp::MIN));
        events.emit(Kind::Volume, "destroy", "a", Attributes::new());
        assert_eq!(past.len(), 1);
        assert_eq!(live.try_recv().unwrap().action, "destroy");
        assert!(live.try_recv().is_err());
    }

    #[test]
    fn a_reader_that_sleeps_holds_up_nobody_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::open(&dir.path().join("events"));
        let (_, mut live) = events.subscribe(None);
        for _ in 0..RING + 1 {
            events.emit(Kind::Daemon, "reload", "x", Attributes::new());
        }
        let error = live.try_recv().unwrap_err();
        assert!(matches!(error, broadcast::error::TryRecvError::Lagged(_)));
    }

    #[test]
    fn the_json_is_dockers() {
        let image = attributes([("image", "nginx"), ("name", "web")]);
        let mut event = Event::new(Kind::Container, "start", "c1", image);
        event.time = 1;
        event.time_nano = 1_000_000_002;
        insta::assert_snapshot!(serde_json::to_string(&event).unwrap(), @r#"{"status":"start","id":"c1","from":"nginx","Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"image":"nginx","name":"web"}},"scope":"local","time":1,"timeNano":1000000002}"#);
    }
}
