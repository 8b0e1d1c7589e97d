//! `docker image inspect` and `docker history`.

use cli_api::server::ApiVersion;
use layers::{DiffId, History, Image, ImageId};
use serde::Serialize;
use serde_json::{Value, json};

use super::list::created;
use crate::engine::Engine;
use crate::engine::containers::config::Config;
use crate::engine::error::Result;

/// Docker's zero time: "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One line of `docker history`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Step {
    /// The image after this step, if it is here; else `<missing>`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// Names of that image.
    pub tags: Option<Vec<String>>,
    /// Bytes that the step added.
    pub size: u64,
    /// A note.
    pub comment: String,
    /// The layer that the step made, if it made one. Not Docker's, so only
    /// told to who asks: a layer of no bytes looks there like a step without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<DiffId>,
}

impl Engine {
    /// Everything about an image.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::engine::Error::NotFound).
    pub fn inspect_image(
        &self,
        name: &str,
        version: ApiVersion,
    ) -> Result<Value> {
        let image = self.image(name)?;
        let names = self.store.names(&image.id)?;
        let config = &image.config;
        let parent = image.record.parent.as_ref();
        let last = config.history.last();
        let mut view = json!({
            "Id": image.id,
            "RepoTags": names.tags,
            "RepoDigests": names.digests,
            "Parent": parent.map_or(String::new(), ImageId::to_string),
            "Comment": last.and_then(|it| it.comment.clone())
                .unwrap_or_default(),
            "Created": config.created.clone().unwrap_or_default(),
            "DockerVersion": config.extra.get("docker_version")
                .cloned().unwrap_or_else(|| json!("")),
            "Author": config.author.clone().unwrap_or_default(),
            "Config": config_view(&image, version),
            "Architecture": config.architecture,
            "Os": config.os,
            "Size": image.record.size,
            "GraphDriver": self.image_driver(&image),
            "RootFS": { "Type": "layers", "Layers": image.layers() },
            "Metadata": {
                "LastTagTime": image.record.last_tagged.clone()
                    .unwrap_or_else(|| NEVER.to_owned()),
            },
        });
        add_old_fields(&mut view, &image, version);
        Ok(view)
    }

    /// Where its layers are, in the form of a container's.
    fn image_driver(&self, image: &Image) -> Value {
        let mut dirs: Vec<String> = image
            .layers()
            .iter()
            .rev()
            .map(|layer| self.store.layer_dir(layer).display().to_string())
            .collect();
        if dirs.is_empty() {
            return json!({ "Data": null, "Name": "overlay2" });
        }
        let top = dirs.remove(0);
        let mut data = json!({ "UpperDir": top });
        if !dirs.is_empty() {
            data["LowerDir"] = json!(dirs.join(":"));
        }
        json!({ "Data": data, "Name": "overlay2" })
    }

    /// How an image came about, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::engine::Error::NotFound).
    pub fn history(&self, name: &str) -> Result<Vec<Step>> {
        let image = self.image(name)?;
        let mut layers = image.layers().iter();
        let mut steps: Vec<Step> = Vec::new();
        for entry in &image.config.history {
            let layer = match entry.empty_layer {
                true => None,
                false => layers.next(),
            };
            steps.push(self.step(entry, layer));
        }
        // Layers that the history does not explain.
        steps.extend(layers.map(|layer| Step {
            created: created(&image),
            ..self.step(&History::default(), Some(layer))
        }));
        steps.reverse();
        self.name_steps(&image, &mut steps)?;
        Ok(steps)
    }

    fn step(&self, entry: &History, layer: Option<&DiffId>) -> Step {
        let created = entry.created.as_deref();
        let size = layer.and_then(|layer| self.store.layer(layer).ok());
        Step {
            id: "<missing>".to_owned(),
            created: created
                .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                .map_or(0, jiff::Timestamp::as_second),
            created_by: entry.created_by.clone().unwrap_or_default(),
            tags: None,
            size: size.map_or(0, |layer| layer.size),
            comment: entry.comment.clone().unwrap_or_default(),
            layer: layer.cloned(),
        }
    }

    /// An image that was built here has its predecessors here as well.
    fn name_steps(&self, image: &Image, steps: &mut [Step]) -> Result<()> {
        let mut next = Some(image.clone());
        for step in steps {
            let Some(image) = next else { break };
            let tags = self.store.names(&image.id)?.tags;
            step.id = image.id.to_string();
            step.tags = Some(tags).filter(|tags| !tags.is_empty());
            let parent = image.record.parent.as_ref();
            let length = image.config.history.len();
            next = parent
                .and_then(|parent| self.store.image(parent).ok())
                // A base image may be several steps further down.
                .filter(|it| it.config.history.len() + 1 == length);
        }
        Ok(())
    }
}

/// What was there once, for clients that still look for it.
fn add_old_fields(view: &mut Value, image: &Image, version: ApiVersion) {
    if let Some(variant) = &image.config.variant {
        view["Variant"] = json!(variant);
    }
    if version < ApiVersion(1, 44) {
        view["VirtualSize"] = json!(image.record.size);
    }
    if version < ApiVersion(1, 45) {
        let of = |key: &str| image.config.extra.get(key).cloned();
        view["Container"] = of("container").unwrap_or_else(|| json!(""));
        view["ContainerConfig"] =
            of("container_config").unwrap_or_else(|| json!(Config::default()));
    }
}

/// Up to 1.49 the config of an image had all the fields of a container's.
fn config_view(image: &Image, version: ApiVersion) -> Value {
    let own = serde_json::to_value(&image.config.config).unwrap_or_default();
    if version >= ApiVersion(1, 50) {
        return own;
    }
    let mut view = serde_json::to_value(Config::default()).unwrap_or_default();
    if let (Some(view), Value::Object(own)) = (view.as_object_mut(), own) {
        view.extend(own);
        if view.get("Labels").is_some_and(|labels| *labels == json!({})) {
            view.insert("Labels".to_owned(), Value::Null);
        }
    }
    view
}
