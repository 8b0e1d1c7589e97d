//! `docker events`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cli_api::server::Params;
use http::header;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};

use super::Result;
use super::follow::body_of;
use crate::engine::containers::list::time;
use crate::engine::events::Event;
use crate::engine::filters::Filters;
use crate::engine::{Engine, Error};

const FILTERS: &[&str] = &[
    "builder",
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// `GET /events`
pub async fn events(
    State(engine): State<Arc<Engine>>,
    Params(query): Params<HashMap<String, String>>,
) -> Result<Response> {
    let get = |key: &str| query.get(key).map_or("", String::as_str);
    let filters = Filters::parse(get("filters"), FILTERS)?;
    let moment = |key: &str| {
        Some(get(key)).filter(|it| !it.is_empty()).map(time).transpose()
    };
    let (since, until) = (moment("since")?, moment("until")?);
    if let (Some(from), Some(to)) = (since, until)
        && from > to
    {
        return Err(Error::Invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            get("since"),
            get("until")
        ))
        .into());
    }
    // Without `since` only what comes; except to look back from `until`.
    let back = since.or(until.map(|_| Timestamp::MIN));
    let (past, live) = engine.events.subscribe(back);
    let (sender, receiver) = mpsc::channel(64);
    let feed = Feed { sender, filters, until };
    tokio::spawn(async move { feed.run(past, live).await });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, body_of(receiver)).into_response())
}

/// One client that listens.
struct Feed {
    sender: mpsc::Sender<Bytes>,
    filters: Filters,
    until: Option<Timestamp>,
}

impl Feed {
    async fn run(self, past: Vec<Event>, mut live: broadcast::Receiver<Event>) {
        for event in past {
            if self.until.is_some_and(|until| event.at() > until) {
                return;
            }
            if !self.send(&event).await {
                return;
            }
        }
        let end = self.until.map(|until| {
            let left = until.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or_default()
        });
        let forward = async {
            // A reader that has fallen a whole ring behind gets an error
            // here, and its connection ends.
            while let Ok(event) = live.recv().await {
                if !self.send(&event).await {
                    return;
                }
            }
        };
        let gone = self.sender.closed();
        tokio::select! {
            () = forward => {}
            () = gone => {}
            () = sleep(end) => {}
        }
    }

    /// False once the client is gone.
    async fn send(&self, event: &Event) -> bool {
        if !matches(&self.filters, event) {
            return true;
        }
        let Ok(mut line) = serde_json::to_vec(event) else { return true };
        line.push(b'\n');
        self.sender.send(line.into()).await.is_ok()
    }
}

async fn sleep(end: Option<Duration>) {
    match end {
        Some(end) => tokio::time::sleep(end).await,
        None => std::future::pending().await,
    }
}

/// An object is named by its ID, the beginning of it, or its name.
fn matches(filters: &Filters, event: &Event) -> bool {
    let attributes = &event.actor.attributes;
    let named = |kind: &str| {
        let name = attributes.get("name");
        filters.any(kind, |wanted| {
            (event.kind.name() == kind
                && (event.actor.id.starts_with(wanted)
                    || name.is_some_and(|name| name == wanted)))
                || attributes.get(kind).is_some_and(|it| it == wanted)
        })
    };
    let verb = event.action.split(':').next().unwrap_or_default();
    filters.any("type", |it| it == event.kind.name())
        && filters.any("event", |it| it == event.action || it == verb)
        && filters.any("scope", |it| it == event.scope)
        && named("container")
        && named("image")
        && named("network")
        && named("volume")
        && named("daemon")
        && filters.labels(attributes)
}
