//! `top` and `diff`: what happens inside.

use clap::Args;
use cli_api::table::Table;
use serde_json::Value;

use super::run::path;
use crate::cli::context::Context;
use crate::cli::query::Query;

/// List the processes in a container
#[derive(Debug, Clone, Args)]
pub(crate) struct TopArgs {
    /// Name or ID
    container: String,
    /// Options of ps(1), as -eo pid,comm
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PS_OPTIONS"
    )]
    options: Vec<String>,
}

/// `top`.
pub(crate) async fn top(
    context: &Context,
    args: TopArgs,
) -> anyhow::Result<u8> {
    let options = args.options.join(" ");
    let options = (!options.is_empty()).then_some(options);
    let query = Query::new(path(&args.container, "top"))
        .maybe("ps_args", options)
        .build();
    let found: Value = context.client.get(&query).await?;
    let cells = |row: &Value| -> Vec<String> {
        let cells = row.as_array().into_iter().flatten();
        cells.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let mut table = Table::new(cells(&found["Titles"]));
    for row in found["Processes"].as_array().into_iter().flatten() {
        table.row(cells(row));
    }
    print!("{table}");
    Ok(0)
}

/// List what a container has changed in its files
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// Name or ID
    container: String,
}

/// `diff`: C changed, A added, D deleted.
pub(crate) async fn diff(
    context: &Context,
    args: DiffArgs,
) -> anyhow::Result<u8> {
    let found: Option<Vec<Value>> =
        context.client.get(&path(&args.container, "changes")).await?;
    for change in found.iter().flatten() {
        let letter = match change["Kind"].as_u64() {
            Some(0) => 'C',
            Some(1) => 'A',
            _ => 'D',
        };
        println!("{letter} {}", change["Path"].as_str().unwrap_or_default());
    }
    Ok(0)
}
