//! `docker ps`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use layers::Reference;
use serde::Serialize;
use serde_json::{Value, json};

use super::record::Record;
use super::state::{NEVER, State, Status};
use super::{Container, inspect};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::filters::{Filters, Patterns};

/// The filters of `docker ps`.
pub const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// What `GET /containers/json` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, running or not; 0 or less means all.
    pub limit: i64,
    /// With sizes, which takes a walk over their files.
    pub size: bool,
    /// Which.
    pub filters: Filters,
}

/// One line of the answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct Summary {
    pub id: String,
    pub names: Vec<String>,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    pub created: i64,
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub labels: BTreeMap<String, String>,
    pub state: Status,
    pub status: String,
    pub host_config: Value,
    pub network_settings: Value,
    pub mounts: Vec<volumes::MountPoint>,
}

/// One port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct Port {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    pub private_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    #[serde(rename = "Type")]
    pub kind: String,
}

impl Engine {
    /// The containers that were asked for, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::NotFound`] for a filter's value.
    pub fn list(&self, query: &Query) -> Result<Vec<Summary>> {
        let filter = Filter::new(self, &query.filters)?;
        // A filter by state is about all of them, as in Docker.
        let all = query.all
            || query.limit > 0
            || ["status", "exited"].iter().any(|it| query.filters.has(it));
        let mut found: Vec<(Record, Arc<Container>)> = self
            .containers
            .all()
            .into_iter()
            .map(|container| (container.record(), container))
            .filter(|(record, _)| all || record.state.status.is_up())
            .collect();
        found.sort_by(|a, b| b.0.created.cmp(&a.0.created));
        let mut list = Vec::new();
        for (record, container) in found {
            if query.limit > 0 && list.len() as i64 == query.limit {
                break;
            }
            if filter.matches(&record)? {
                let mut summary = summary(&record);
                if query.size {
                    let (written, with_image) = self.sizes(&container);
                    summary.size_rw = Some(written);
                    summary.size_root_fs = Some(with_image);
                }
                list.push(summary);
            }
        }
        Ok(list)
    }
}

/// Filters with their values looked up.
struct Filter<'a> {
    filters: &'a Filters,
    names: Patterns,
    before: Option<String>,
    since: Option<String>,
    /// `ancestor`: image IDs, and the names as they were given.
    images: Vec<String>,
}

impl<'a> Filter<'a> {
    fn new(engine: &Engine, filters: &'a Filters) -> Result<Filter<'a>> {
        let created = |key: &str| -> Result<Option<String>> {
            let Some(name) = filters.one(key) else { return Ok(None) };
            let container = engine.containers.find(name)?;
            Ok(Some(container.with(|record| record.created.clone())))
        };
        for status in filters.all("status") {
            if Status::parse(status).is_none() {
                return Err(Error::Invalid(format!(
                    "invalid filter 'status={status}'"
                )));
            }
        }
        let resolve = |name: &String| {
            let image = engine.store.resolve(name);
            image.map_or_else(|_| name.clone(), |it| it.id.to_string())
        };
        Ok(Filter {
            filters,
            names: filters.patterns("name"),
            before: created("before")?,
            since: created("since")?,
            images: filters.all("ancestor").iter().map(resolve).collect(),
        })
    }

    fn matches(&self, record: &Record) -> Result<bool> {
        let filters = self.filters;
        let state = &record.state;
        let exited = filters
            .all("exited")
            .iter()
            .map(|code| {
                code.parse::<i32>().map_err(|_| {
                    Error::Invalid(format!("invalid filter 'exited={code}'"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let ended = state.status == Status::Exited;
        Ok(filters.any("id", |id| record.id.starts_with(id))
            && self.names.match_any(&[&record.name, record.short_name()])
            && filters.any("status", |it| state.status.name() == it)
            && filters.any("health", |it| health(state) == it)
            && (exited.is_empty()
                || (ended && exited.contains(&state.exit_code)))
            && self.before.as_ref().is_none_or(|it| record.created < *it)
            && self.since.as_ref().is_none_or(|it| record.created > *it)
            && (self.images.is_empty() || self.is_child(record))
            && filters.labels(&record.config.labels)
            && filters.any("volume", |it| has_volume(record, it))
            && filters.any("network", |it| in_network(record, it))
            && filters.any("publish", |it| has_port(record, it, true))
            && filters.any("expose", |it| has_port(record, it, false))
            && filters.flag("is-task")? != Some(true)
            && filters.any("isolation", |it| matches!(it, "" | "default")))
    }

    fn is_child(&self, record: &Record) -> bool {
        let named = |image: &String| {
            *image == record.image
                || *image == record.config.image
                || record.image.starts_with(&format!("sha256:{image}"))
        };
        self.images.iter().any(named)
    }
}

fn health(state: &State) -> &str {
    state.health.as_ref().map_or("none", |it| it.status.as_str())
}

fn has_volume(record: &Record, wanted: &str) -> bool {
    inspect::mount_points(record).iter().any(|it| {
        it.name == wanted || it.source == wanted || it.destination == wanted
    })
}

fn in_network(record: &Record, wanted: &str) -> bool {
    inspect::networks(record).iter().any(|(name, endpoint)| {
        name == wanted
            || (!endpoint.network_id.is_empty()
                && endpoint.network_id.starts_with(wanted))
    })
}

/// `80`, `80/tcp` or `8000-8010/tcp`.
fn has_port(record: &Record, wanted: &str, public: bool) -> bool {
    let (range, kind) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (Ok(low), Ok(high)) = (low.parse::<u16>(), high.parse::<u16>()) else {
        return false;
    };
    port_list(record).iter().any(|port| {
        let number =
            if public { port.public_port } else { Some(port.private_port) };
        port.kind == kind && number.is_some_and(|it| low <= it && it <= high)
    })
}

/// The ports, one entry for each place where they are published.
fn port_list(record: &Record) -> Vec<Port> {
    let mut list = Vec::new();
    for (port, bindings) in inspect::ports(record) {
        let (number, kind) = port.split_once('/').unwrap_or((&port, "tcp"));
        let Ok(private_port) = number.parse() else { continue };
        let kind = kind.to_owned();
        let bindings = bindings.unwrap_or_default();
        if bindings.is_empty() {
            let (ip, public_port) = (None, None);
            list.push(Port { ip, private_port, public_port, kind });
            continue;
        }
        for binding in bindings {
            list.push(Port {
                ip: Some(binding.host_ip),
                private_port,
                public_port: binding.host_port.parse().ok(),
                kind: kind.clone(),
            });
        }
    }
    list.sort();
    list
}

/// The command as one line. Only arguments with spaces stand in quotes, which
/// is for people to read and for no shell.
fn command_line(record: &Record) -> String {
    let mut line = record.path.clone();
    for word in &record.args {
        line += &match word.contains(' ') {
            true => format!(" '{word}'"),
            false => format!(" {word}"),
        };
    }
    line
}

/// The line for one container.
fn summary(record: &Record) -> Summary {
    let networks = inspect::networks(record);
    Summary {
        id: record.id.clone(),
        names: vec![record.name.clone()],
        image: image_name(record),
        image_id: record.image.clone(),
        command: command_line(record),
        created: time(&record.created).map_or(0, Timestamp::as_second),
        ports: port_list(record),
        size_rw: None,
        size_root_fs: None,
        labels: record.config.labels.clone(),
        state: record.state.status,
        status: status(&record.state, Timestamp::now()),
        host_config: json!({
            "NetworkMode": inspect::network_mode(record),
        }),
        network_settings: json!({ "Networks": networks }),
        mounts: inspect::mount_points(record).into_iter().cloned().collect(),
    }
}

/// The image as it was typed, without what is obvious.
fn image_name(record: &Record) -> String {
    let typed = &record.config.image;
    match typed.parse::<Reference>() {
        Ok(_) if !typed.contains(':') && !typed.contains('/') => typed.clone(),
        Ok(reference) => reference.familiar(),
        Err(_) => typed.clone(),
    }
}

/// The words of the STATUS column.
pub fn status(state: &State, now: Timestamp) -> String {
    let since = |from: &str| {
        let seconds = time(from)
            .map_or(0, |from| now.as_second().saturating_sub(from.as_second()));
        duration(seconds)
    };
    let code = state.exit_code;
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Restarting => {
            format!("Restarting ({code}) {} ago", since(&state.finished_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Running => {
            let up = format!("Up {}", since(&state.started_at));
            match health(state) {
                "none" => up,
                "starting" => format!("{up} (health: starting)"),
                word => format!("{up} ({word})"),
            }
        }
        Status::Exited if state.finished_at == NEVER => "Created".to_owned(),
        Status::Exited => {
            format!("Exited ({code}) {} ago", since(&state.finished_at))
        }
    }
}

/// A length of time as Docker says it: roughly, in words.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ => match hours {
            1 => "About an hour".to_owned(),
            2..48 => format!("{hours} hours"),
            48..336 => format!("{} days", hours / 24),
            336..1440 => format!("{} weeks", hours / 24 / 7),
            1440..17520 => format!("{} months", hours / 24 / 30),
            _ => format!("{} years", hours / 24 / 365),
        },
    }
}

/// A time in a record, or as a client gives it: RFC 3339, seconds since
/// 1970 with or without a fraction, or so long ago (`10m`, `1h30m`).
///
/// # Errors
/// [`Error::Invalid`] that shows the text.
pub fn time(text: &str) -> Result<Timestamp> {
    let bad = || Error::Invalid(format!("invalid time: {text:?}"));
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Some((seconds, fraction)) = text.split_once('.')
        && let Ok(seconds) = seconds.parse::<i64>()
    {
        let digits = format!("{fraction:0<9}");
        let nanos = digits.get(..9).and_then(|it| it.parse().ok());
        return Timestamp::new(seconds, nanos.ok_or_else(bad)?)
            .map_err(|_| bad());
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).map_err(|_| bad());
    }
    let ago: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
    Timestamp::now().checked_sub(ago).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_docker_says_them() {
        let mut table = String::new();
        for seconds in [
            0, 1, 59, 60, 119, 120, 3599, 3600, 5399, 5400, 172_800, 1_209_600,
            5_184_000, 63_072_000,
        ] {
            table += &format!("{seconds:>9} {}\n", duration(seconds));
        }
        insta::assert_snapshot!(table, @r"
                0 Less than a second
                1 1 second
               59 59 seconds
               60 About a minute
              119 About a minute
              120 2 minutes
             3599 59 minutes
             3600 About an hour
             5399 About an hour
             5400 2 hours
           172800 2 days
          1209600 2 weeks
          5184000 2 months
         63072000 2 years
        ");
    }

    #[test]
    fn a_time_may_be_absolute_in_seconds_or_so_long_ago() {
        let text = "2024-05-01T10:00:00.5Z";
        assert_eq!(time(text).unwrap().to_string(), text);
        assert_eq!(time("10.5").unwrap().as_millisecond(), 10_500);
        assert_eq!(time("10").unwrap().as_second(), 10);
        let ago =
            Timestamp::now().as_second() - time("1h").unwrap().as_second();
        assert!((3599..=3601).contains(&ago), "{ago}");
        assert!(time("soon").is_err());
    }
}
