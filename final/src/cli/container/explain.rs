//! `explain`: what a container is made of.

use clap::Args;
use serde_json::Value;

use super::run::path;
use crate::cli::context::Context;
use crate::cli::format::Template;
use crate::explain::Explanation;

/// Show what a container is made of
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    /// Print by this template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Name or ID
    container: String,
}

/// `explain`.
pub(crate) async fn explain(
    context: &Context,
    args: ExplainArgs,
) -> anyhow::Result<u8> {
    let path = path(&args.container, "explain");
    match args.format.as_deref() {
        None => {
            let it: Explanation = context.client.get(&path).await?;
            print!("{it}");
        }
        Some("json") => {
            let it: Value = context.client.get(&path).await?;
            println!("{}", serde_json::to_string_pretty(&it)?);
        }
        Some(text) => {
            let template = Template::parse(text)?;
            let it: Value = context.client.get(&path).await?;
            println!("{}", template.render(&it)?);
        }
    }
    Ok(0)
}
