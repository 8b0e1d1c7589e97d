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
    /// Show the size of what containers have written
    #[arg(short, long)]
    size: bool,
    /// Only things of this kind: container, image, network or volume
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
    #[command(flatten)]
    what: What,
}

/// `container inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ContainerArgs {
    /// Show the size of what containers have written
    #[arg(short, long)]
    size: bool,
    #[command(flatten)]
    what: What,
}

/// `image inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImageArgs {
    /// Only if it is for this platform, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    what: What,
}

/// `network inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkArgs {
    /// Ask for what other nodes of a swarm know, too
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    what: What,
}

/// `volume inspect`, and what the others have of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct What {
    /// Print by this template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names or IDs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// A kind of things.
#[derive(Debug, Clone)]
struct Kind {
    name: &'static str,
    /// Before the name in a path, and behind it.
    around: [&'static str; 2],
    /// Parameters of the request.
    query: Vec<(&'static str, String)>,
}

impl Kind {
    /// All, in the order in which a name is looked up.
    fn all() -> [Kind; 4] {
        let kind = |name, around| Kind { name, around, query: Vec::new() };
        [
            kind("container", ["containers", "/json"]),
            kind("image", ["images", "/json"]),
            kind("network", ["networks", ""]),
            kind("volume", ["volumes", ""]),
        ]
    }

    fn asking(mut self, key: &'static str, value: Option<String>) -> Kind {
        self.query.extend(value.map(|value| (key, value)));
        self
    }

    fn path(&self, name: &str) -> String {
        let [before, behind] = self.around;
        let path = format!("/{before}/{}{behind}", segment(name));
        let query = Query::new(path);
        let all = self.query.iter();
        all.fold(query, |query, (key, value)| query.with(key, value)).build()
    }
}

fn on(flag: bool) -> Option<String> {
    flag.then(|| "1".to_owned())
}

/// `inspect`, of things of any kind.
pub(crate) async fn inspect(
    context: &Context,
    args: InspectArgs,
) -> anyhow::Result<u8> {
    let [container, others @ ..] = Kind::all();
    let container = container.asking("size", on(args.size));
    let mut kinds: Vec<_> = [container].into_iter().chain(others).collect();
    if let Some(wanted) = &args.kind {
        kinds.retain(|it| it.name == wanted);
        anyhow::ensure!(
            !kinds.is_empty(),
            "unknown type: {wanted:?}: must be one of \"container\", \
             \"image\", \"network\", \"volume\""
        );
    }
    show(context, &args.what, &kinds).await
}

/// `container inspect`.
pub(crate) async fn container(
    context: &Context,
    args: ContainerArgs,
) -> anyhow::Result<u8> {
    let [kind, ..] = Kind::all();
    let kind = kind.asking("size", on(args.size));
    show(context, &args.what, &[kind]).await
}

/// `image inspect`.
pub(crate) async fn image(
    context: &Context,
    args: ImageArgs,
) -> anyhow::Result<u8> {
    let [_, kind, ..] = Kind::all();
    let kind = kind.asking("platform", args.platform);
    show(context, &args.what, &[kind]).await
}

/// `network inspect`.
pub(crate) async fn network(
    context: &Context,
    args: NetworkArgs,
) -> anyhow::Result<u8> {
    let [_, _, kind, _] = Kind::all();
    let kind = kind.asking("verbose", on(args.verbose));
    show(context, &args.what, &[kind]).await
}

/// `volume inspect`.
pub(crate) async fn volume(
    context: &Context,
    what: What,
) -> anyhow::Result<u8> {
    let [.., kind] = Kind::all();
    show(context, &what, &[kind]).await
}

async fn show(
    context: &Context,
    args: &What,
    kinds: &[Kind],
) -> anyhow::Result<u8> {
    let template = match args.format.as_deref() {
        None | Some("json") => None,
        Some(text) => Some(Template::parse_or_64(text)?),
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in &args.names {
        match find(context, name, kinds).await? {
            Ok(value) => found.push(value),
            Err(why) => missing.push(why),
        }
    }
    match (&template, &args.format) {
        (Some(template), _) => {
            for value in &found {
                let text = template.render(value);
                // The line ends, whatever there is to say.
                println!("{}", text.as_deref().unwrap_or_default());
                text?;
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
    kinds: &[Kind],
) -> anyhow::Result<Result<Value, String>> {
    if name.trim().is_empty() {
        let why = "invalid container name or ID: value is empty";
        return Ok(Err(why.to_owned()));
    }
    let mut why = format!("Error: No such object: {name}");
    for kind in kinds {
        match context.client.get(&kind.path(name)).await {
            Ok(value) => return Ok(Ok(value)),
            Err(error) if error.status() == Some(404) => {
                if let ([_], Error::Api { message, .. }) = (kinds, &error) {
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
