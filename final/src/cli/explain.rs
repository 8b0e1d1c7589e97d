//! `run --explain`: the story of a start.

use std::fmt;

use cli_api::table::Table;
use serde::Deserialize;

use super::context::Context;
use super::query::segment;

/// One step that the engine took, as `GET /containers/ID/steps` tells it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Step {
    name: String,
    /// The system call behind it, as a man page: `clone3(2)`.
    man: String,
    call: String,
    micros: u64,
    reason: String,
    chapter: String,
}

/// The steps of one start, in order.
#[derive(Debug, Clone)]
pub(crate) struct Story(Vec<Step>);

/// Asks the engine what it did.
///
/// # Errors
/// If the engine is one that does not keep a record, such as dockerd.
pub(crate) async fn fetch(
    context: &Context,
    container: &str,
) -> anyhow::Result<Story> {
    let path = format!("/containers/{}/steps", segment(container));
    Ok(Story(context.client.get(&path).await?))
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["STEP", "CALL", "TIME", "CHAPTER", "WHY"]);
        for step in &self.0 {
            let call = match step.call.is_empty() {
                true => step.man.clone(),
                false => step.call.clone(),
            };
            table.row([
                step.name.clone(),
                call,
                time(step.micros),
                step.chapter.clone(),
                step.reason.clone(),
            ]);
        }
        let total = self.0.iter().map(|it| it.micros).sum();
        writeln!(f, "{table}{} in all", time(total))
    }
}

fn time(micros: u64) -> String {
    match micros {
        it @ ..1000 => format!("{it} µs"),
        it => format!("{}.{} ms", it / 1000, it % 1000 / 100),
    }
}
