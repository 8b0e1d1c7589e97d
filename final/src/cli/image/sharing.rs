//! Which images have which layers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::query::segment;

/// One image: its names, and its layers from the lowest to the highest.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// Its tags, or its short ID.
    pub(super) names: Vec<String>,
    pub(super) layers: Vec<Layer>,
}

/// One layer, as the image's history tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: String,
    pub(super) by: String,
    pub(super) size: u64,
    /// Its place in the history, where the newest step is the first.
    pub(super) step: Option<usize>,
}

/// All images of the engine.
pub(super) async fn stacks(context: &Context) -> anyhow::Result<Vec<Stack>> {
    let found: Option<Vec<Value>> = context.client.get("/images/json").await?;
    let mut stacks = Vec::new();
    for image in found.iter().flatten() {
        let id = image["Id"].as_str().unwrap_or_default();
        stacks.push(stack(context, id).await?);
    }
    stacks.sort_by(|a, b| a.names.cmp(&b.names));
    Ok(stacks)
}

/// The image of this name.
pub(super) async fn stack(
    context: &Context,
    name: &str,
) -> anyhow::Result<Stack> {
    let path = format!("/images/{}", segment(name));
    let image: Value = context.client.get(&format!("{path}/json")).await?;
    let history: Vec<Value> =
        context.client.get(&format!("{path}/history")).await?;
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut names = texts(&image["RepoTags"]);
    if names.is_empty() {
        let id = image["Id"].as_str().unwrap_or_default();
        names.push(cli_api::id::short(id).to_owned());
    }
    let digests = texts(&image["RootFS"]["Layers"]);
    Ok(Stack { names, layers: layers(&digests, &history) })
}

/// The history begins with the newest step and has steps without a layer,
/// which have no size. A layer of no bytes looks like one of those, so the
/// steps are told apart only where the numbers fit.
fn layers(digests: &[String], history: &[Value]) -> Vec<Layer> {
    let size = |step: &Value| step["Size"].as_u64().unwrap_or(0);
    let all: Vec<(usize, &Value)> = history.iter().enumerate().rev().collect();
    let filled = all.iter().copied().filter(|(_, step)| size(step) > 0);
    let filled: Vec<(usize, &Value)> = filled.collect();
    let fit = |steps: &&Vec<_>| steps.len() == digests.len();
    let steps = [filled, all];
    let steps = steps.iter().find(fit);
    let layer = |(index, digest): (usize, &String)| {
        let step = steps.map(|steps| steps[index]);
        let by = step.and_then(|(_, step)| step["CreatedBy"].as_str());
        Layer {
            digest: digest.clone(),
            by: by.unwrap_or_default().to_owned(),
            size: step.map_or(0, |(_, step)| size(step)),
            step: step.map(|(place, _)| place),
        }
    };
    digests.iter().enumerate().map(layer).collect()
}

/// The names of the images that have each layer, by its digest.
pub(super) fn users(stacks: &[Stack]) -> BTreeMap<&str, Vec<&str>> {
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for stack in stacks {
        for layer in &stack.layers {
            let list = users.entry(layer.digest.as_str()).or_default();
            for name in &stack.names {
                if !list.contains(&name.as_str()) {
                    list.push(name);
                }
            }
        }
    }
    users
}
