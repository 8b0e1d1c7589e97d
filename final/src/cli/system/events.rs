//! `events`.

use clap::Args;
use cli_api::client::Payload;
use http::Method;
use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::format::Template;
use crate::cli::progress::Lines;
use crate::cli::query::{Filter, Query};
use crate::cli::units::moment;

/// Show what happens, as it happens
#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    /// Only what matches, as type=container, event=die, container=web; may
    /// repeat
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// From this time on, or since so long ago (10m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print by this template, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// `events`.
pub(crate) async fn events(
    context: &Context,
    args: EventsArgs,
) -> anyhow::Result<u8> {
    let template = match args.format.as_deref() {
        None | Some("json") => None,
        Some(text) => Some(Template::parse_or_64(text)?),
    };
    let [since, until] = [&args.since, &args.until]
        .map(|time| time.as_deref().map(moment).transpose());
    let query = Query::new("/events")
        .maybe("since", since.map_err(anyhow::Error::msg)?)
        .maybe("until", until.map_err(anyhow::Error::msg)?)
        .filters(&args.filter)
        .build();
    let answer =
        context.client.send(Method::GET, &query, Payload::none()).await?;
    let mut lines = Lines::new(answer);
    while let Some(line) = lines.next().await? {
        let Ok(event) = serde_json::from_slice::<Value>(&line) else {
            continue;
        };
        match (&template, &args.format) {
            (Some(template), _) => {
                println!("{}", template.render(&with_all(event))?);
            }
            (None, Some(_)) => println!("{event}"),
            (None, None) => println!("{}", show(&event)),
        }
    }
    Ok(0)
}

/// A template calls these fields by their names in Go, and may ask for those
/// that only some events have.
fn with_all(mut event: Value) -> Value {
    if let Some(fields) = event.as_object_mut() {
        for (field, in_go) in [
            ("status", "Status"),
            ("id", "ID"),
            ("from", "From"),
            ("scope", "Scope"),
            ("time", "Time"),
            ("timeNano", "TimeNano"),
        ] {
            let value = fields.get(field).cloned();
            fields.insert(in_go.to_owned(), value.unwrap_or("".into()));
        }
    }
    event
}

/// `TIME container start ID (image=nginx, name=web)`.
fn show(event: &Value) -> String {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let nanos = event["timeNano"].as_i64().unwrap_or(0);
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos))
        .map(|it| it.to_zoned_datetime(jiff::tz::TimeZone::system()))
        .map(|it| it.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string())
        .unwrap_or_default();
    let mut attributes: Vec<_> = event["Actor"]["Attributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, it)| format!("{key}={}", text(it)))
        .collect();
    attributes.sort();
    let line = format!(
        "{time} {} {} {}",
        text(&event["Type"]),
        text(&event["Action"]),
        text(&event["Actor"]["ID"]),
    );
    match attributes.is_empty() {
        true => line,
        false => format!("{line} ({})", attributes.join(", ")),
    }
}
