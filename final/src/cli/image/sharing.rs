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
        context.client.get(&format!("{path}/history?layers=1")).await?;
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

/// The layers, each with the step that made it, where that can be told.
fn layers(digests: &[String], history: &[Value]) -> Vec<Layer> {
    let steps = makers(digests.len(), history);
    let layer = |(index, digest): (usize, &String)| {
        let place = steps.as_ref().map(|steps| steps[index]);
        let step = place.map(|place| &history[place]);
        let by = step.and_then(|step| step["CreatedBy"].as_str());
        Layer {
            digest: digest.clone(),
            by: by.unwrap_or_default().to_owned(),
            size: step.map_or(0, size),
            step: place,
        }
    };
    digests.iter().enumerate().map(layer).collect()
}

/// The steps that made a layer, the oldest first; the history begins with the
/// newest. Our engine says which they are. Of another's, a step without a
/// layer has no size, and a layer of no bytes looks like one: they are told
/// apart only where the numbers fit.
fn makers(layers: usize, history: &[Value]) -> Option<Vec<usize>> {
    let chosen = |made: fn(&Value) -> bool| -> Vec<usize> {
        let all = (0..history.len()).rev();
        all.filter(|place| made(&history[*place])).collect()
    };
    let guesses = [
        chosen(|step| step["Layer"].is_string()),
        chosen(|step| size(step) > 0),
        chosen(|_| true),
    ];
    guesses.into_iter().find(|steps| steps.len() == layers)
}

fn size(step: &Value) -> u64 {
    step["Size"].as_u64().unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_layer_of_no_bytes_has_its_instruction_and_so_have_the_others() {
        let history = [
            json!({"CreatedBy": "CMD [\"sh\"]", "Size": 0}),
            json!({"CreatedBy": "RUN touch /x", "Size": 0, "Layer": "c"}),
            json!({"CreatedBy": "ENV A=b", "Size": 0}),
            json!({"CreatedBy": "COPY a /", "Size": 9, "Layer": "b"}),
            json!({"CreatedBy": "ADD base /", "Size": 7, "Layer": "a"}),
        ];
        let digests = ["a", "b", "c"].map(str::to_owned);
        let seen: Vec<_> = layers(&digests, &history)
            .into_iter()
            .map(|layer| (layer.by, layer.size, layer.step))
            .collect();
        let expected = [
            ("ADD base /".to_owned(), 7, Some(4)),
            ("COPY a /".to_owned(), 9, Some(3)),
            ("RUN touch /x".to_owned(), 0, Some(1)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_history_of_another_engine_is_read_by_its_sizes() {
        let mut history = vec![
            json!({"CreatedBy": "CMD", "Size": 0}),
            json!({"CreatedBy": "COPY", "Size": 9}),
            json!({"CreatedBy": "ADD", "Size": 7}),
        ];
        assert_eq!(makers(2, &history), Some(vec![2, 1]));
        history[1]["Size"] = json!(0);
        assert_eq!(makers(2, &history), None);
    }
}
