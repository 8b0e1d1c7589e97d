//! `inspect`: all that is known, as JSON or by a template.

use clap::Args;
use cli_api::Error;
use serde_json::Value;

use super::context::Context;
use super::failure::Failure;
use super::format::Template;
use super::query::{Query, segment};

/// Show all that is known about containers, images, networks and volumes
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectArgs {
    /// Print by this template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Show the size of what containers have written
    #[arg(short, long)]
    size: bool,
    /// Only things of this kind: container, image, network or volume
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
    /// Names or IDs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Kinds in the order in which a name is looked up.
const KINDS: [(&str, &str); 4] = [
    ("container", "containers"),
    ("image", "images"),
    ("network", "networks"),
    ("volume", "volumes"),
];

/// `inspect`, of things of one kind or of any.
pub(crate) async fn inspect(
    context: &Context,
    args: InspectArgs,
    only: Option<&str>,
) -> anyhow::Result<u8> {
    let only = only.or(args.kind.as_deref());
    if let Some(kind) = only {
        anyhow::ensure!(
            KINDS.iter().any(|(name, _)| *name == kind),
            "unknown type: {kind:?}"
        );
    }
    let template = match args.format.as_deref() {
        None | Some("json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in &args.names {
        match find(context, name, only, args.size).await? {
            Ok(value) => found.push(value),
            Err(why) => missing.push(why),
        }
    }
    match (&template, &args.format) {
        (Some(template), _) => {
            for value in &found {
                println!("{}", template.render(value)?);
            }
        }
        (None, Some(_)) => {
            found.iter().for_each(|it| println!("{it}"));
        }
        (None, None) => println!("{}", indented(&found)?),
    }
    if missing.is_empty() {
        return Ok(0);
    }
    Err(Failure::new(1, missing.join("\n")).into())
}

/// The first kind that has the name; a sentence if none has.
async fn find(
    context: &Context,
    name: &str,
    only: Option<&str>,
    size: bool,
) -> anyhow::Result<Result<Value, String>> {
    let mut why = format!("Error: No such object: {name}");
    for (kind, plural) in KINDS {
        if only.is_some_and(|it| it != kind) {
            continue;
        }
        let tail = if plural.starts_with(['c', 'i']) { "/json" } else { "" };
        let query = Query::new(format!("/{plural}/{}{tail}", segment(name)))
            .flag("size", size && kind == "container");
        match context.client.get(&query.build()).await {
            Ok(value) => return Ok(Ok(value)),
            Err(error) if error.status() == Some(404) => {
                if let (Some(_), Error::Api { message, .. }) = (only, &error) {
                    why = format!("Error response from daemon: {message}");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Err(why))
}

/// JSON with Docker's four blanks.
fn indented(found: &[Value]) -> anyhow::Result<String> {
    let mut out = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut to = serde_json::Serializer::with_formatter(&mut out, indent);
    serde::Serialize::serialize(found, &mut to)?;
    Ok(String::from_utf8(out)?)
}
