//! `run --explain`: the story of a start.

use std::fmt;

use cli_api::table::Table;
use namespaces::{STEPS, Timing};
use serde::Deserialize;

use super::context::Context;
use super::query::segment;

/// What was done to start a container, in the order in which it was done,
/// and how long each step took: `GET /containers/ID/steps`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Story {
    pid: i32,
    steps: Vec<Timing>,
}

/// Asks the engine what it did.
///
/// # Errors
/// If the engine is one that does not keep a record, such as dockerd.
pub(crate) async fn fetch(
    context: &Context,
    container: &str,
) -> anyhow::Result<Story> {
    let path = format!("/containers/{}/steps", segment(container));
    Ok(context.client.get(&path).await?)
}

/// Steps that the table of the namespaces crate does not have, because they
/// happen before: what they are, where to read on, why they are there.
const BEFORE: [(&str, &str, &str, &str); 2] = [
    (
        "shim",
        "posix_spawn(3)",
        "final",
        "a small process of its own holds the container's streams and sees \
         its end, so that the daemon may die",
    ),
    (
        "make cgroup",
        "mkdir(2)",
        "cgroups",
        "a directory in /sys/fs/cgroup is a group of processes with limits",
    ),
];

/// Man page, chapter and reason of a step.
fn about(name: &str) -> (&'static str, &'static str, &'static str) {
    let before = BEFORE.iter().find(|it| it.0 == name);
    let inside = STEPS.iter().find(|it| it.name == name);
    match (before, inside) {
        (Some((_, man, chapter, reason)), _) => (man, chapter, reason),
        (None, Some(it)) => (it.man, it.chapter, it.reason),
        (None, None) => ("", "", ""),
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["STEP", "TOOK", "READ", "CHAPTER", "WHY"]);
        for step in &self.steps {
            let (man, chapter, reason) = about(&step.step);
            table.row([&*step.step, &time(step.took_us), man, chapter, reason]);
        }
        // Some steps overlap, so the sum of all says nothing.
        let total = self.steps.iter().map(|it| it.at_us).max().unwrap_or(0);
        writeln!(
            f,
            "{table}{} until the command ran, as PID {} of this machine",
            time(total),
            self.pid
        )
    }
}

fn time(micros: u64) -> String {
    match micros {
        it @ ..1000 => format!("{it} µs"),
        it => format!("{}.{} ms", it / 1000, it % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_a_table_with_a_reason_for_each_step() {
        let step = |name: &str, at_us, took_us| Timing {
            step: name.to_owned(),
            at_us,
            took_us,
        };
        let story = Story {
            pid: 4711,
            steps: vec![step("shim", 900, 900), step("clone", 1234, 334)],
        };
        insta::assert_snapshot!(story);
    }
}
