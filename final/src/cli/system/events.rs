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
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
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
        Some(text) => Some(Template::parse(text)?),
    };
    let query = Query::new("/events")
        .maybe("since", args.since.as_deref())
        .maybe("until", args.until.as_deref())
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
            (Some(template), _) => println!("{}", template.render(&event)?),
            (None, Some(_)) => println!("{event}"),
            (None, None) => println!("{}", show(&event)),
        }
    }
    Ok(0)
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
