//! Every field that a container can be created with is honoured, or refused
//! with a message that names it; none is dropped in silence.
//!
//! Which fields there are is asked of bollard's types, which are made from
//! Docker's own description of its API: a field that is new there and has no
//! example in `fields.json` fails the test.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount, MountBindOptions,
    MountImageOptions, MountTmpfsOptions, MountVolumeOptions,
};
use cli_api::Error;
use cli_api::client::Client;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::{Map, Value, json};

use super::page;
use crate::daemon::Daemon;

/// A value that is not the default, and what to expect of it.
#[derive(Debug, Deserialize)]
struct Example {
    value: Value,
    /// Other fields that it makes sense with only.
    #[serde(default)]
    with: Map<String, Value>,
    /// As inspect shows it, where that is something else.
    shown: Option<Value>,
    /// What a refusal says, where Docker's sentence does not name the field.
    says: Option<String>,
}

type Examples = BTreeMap<String, BTreeMap<String, Example>>;

fn examples() -> Examples {
    serde_json::from_str(include_str!("fields.json")).unwrap()
}

/// Catches what serde's derive says about a type: the names of its fields.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(
        self,
        _: V,
    ) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only structs have fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes
        byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Names(&mut names));
    assert!(!names.is_empty());
    names
}

#[test]
fn there_is_an_example_for_every_field_of_the_api() {
    let examples = examples();
    let check = |place: &str, prefix: &str, names: &[&str]| {
        for name in names {
            let known =
                examples[place].contains_key(&format!("{prefix}{name}"));
            assert!(known, "no example for {place}: {prefix}{name}");
        }
    };
    let parts = ["HostConfig", "NetworkingConfig"];
    let config = fields::<ContainerCreateBody>().iter().copied();
    let config: Vec<_> = config.filter(|it| !parts.contains(it)).collect();
    check("Config", "", &config);
    check("HostConfig", "", fields::<HostConfig>());
    // The others are what the engine answers, not what is asked of it.
    const ASKED: usize = 6;
    check("EndpointsConfig", "", &fields::<EndpointSettings>()[..ASKED]);
    check("Mounts", "", fields::<Mount>());
    check("Mounts", "BindOptions.", fields::<MountBindOptions>());
    check("Mounts", "VolumeOptions.", fields::<MountVolumeOptions>());
    check("Mounts", "ImageOptions.", fields::<MountImageOptions>());
    check("Mounts", "TmpfsOptions.", fields::<MountTmpfsOptions>());
}

/// How one field fared.
enum Fate {
    Honoured,
    Refused(String),
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_honoured_or_refused_by_name() {
    let test = "every_field_is_honoured_or_refused_by_name";
    let Some(daemon) = Daemon::start(test).await else { return };
    let host = format!("unix://{}", daemon.socket().display());
    let client = Client::new(host.parse().unwrap());
    let network = json!({
        "Name": "pine",
        "IPAM": { "Config": [{ "Subnet": "172.28.5.0/24" }] },
    });
    let _: Value = client.post("/networks/create", &network).await.unwrap();
    daemon.create("other", crate::daemon::sh("sleep 9")).await;
    let (mut faults, mut rows) = (Vec::new(), Vec::new());
    for (place, examples) in examples() {
        for (field, example) in examples {
            let name = format!("{place}.{field}");
            match try_out(&client, &place, &field, &example).await {
                Ok(fate) => rows.push(row(&name, &fate)),
                Err(fault) => faults.push(format!("{name}: {fault}")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    page::check("fields", &rows.join("\n"));
    daemon.remove("other").await;
    client.delete("/networks/pine").await.unwrap();
    for volume in ["pine"] {
        let _ = client.delete(&format!("/volumes/{volume}")).await;
    }
}

fn row(name: &str, fate: &Fate) -> String {
    match fate {
        Fate::Honoured => format!("| `{name}` | done |"),
        Fate::Refused(why) => format!("| `{name}` | refused: {why} |"),
    }
}

/// Creates a container with this one field set, and looks at it.
async fn try_out(
    client: &Client,
    place: &str,
    field: &str,
    example: &Example,
) -> Result<Fate, String> {
    let body = body(place, field, example);
    let created: Result<Value, Error> =
        client.post("/containers/create?name=field", &body).await;
    let warnings = match created {
        Ok(created) => created["Warnings"].to_string(),
        Err(Error::Api { status: 400..=409 | 501, message }) => {
            let last = field.rsplit('.').next().unwrap_or(field);
            let word = example.says.as_deref().unwrap_or(last);
            let lower = message.to_ascii_lowercase();
            return match lower.contains(&word.to_ascii_lowercase()) {
                true => Ok(Fate::Refused(message)),
                false => {
                    Err(format!("the refusal does not name it: {message}"))
                }
            };
        }
        Err(other) => return Err(other.to_string()),
    };
    let container: Value =
        client.get("/containers/field/json").await.map_err(shown)?;
    client.delete("/containers/field?v=1").await.map_err(shown)?;
    let seen = look(&container, place, field);
    let wanted = example.shown.as_ref().unwrap_or(&example.value);
    match contains(seen, wanted) || names(&warnings, field) {
        true => Ok(Fate::Honoured),
        false => Err(format!("asked for {wanted}, and inspect shows {seen}")),
    }
}

/// Some kernels lack what others have; a warning says so then, with spaces
/// where the field has capitals.
fn names(warnings: &str, field: &str) -> bool {
    let words = warnings.replace(' ', "").to_ascii_lowercase();
    words.contains(&field.to_ascii_lowercase())
}

fn shown(error: Error) -> String {
    error.to_string()
}

/// The smallest request that has the field.
fn body(place: &str, field: &str, example: &Example) -> Value {
    let mut part = example.with.clone();
    match field.split_once('.') {
        None => drop(part.insert(field.to_owned(), example.value.clone())),
        Some((outer, inner)) => {
            let outer = part.entry(outer).or_insert_with(|| json!({}));
            outer[inner] = example.value.clone();
        }
    }
    let mut body = json!({ "Image": "busybox", "Cmd": ["true"] });
    match place {
        "Config" => body.as_object_mut().unwrap().extend(part),
        "HostConfig" => body["HostConfig"] = part.into(),
        "EndpointsConfig" => {
            body["HostConfig"] = json!({ "NetworkMode": "pine" });
            body["NetworkingConfig"] =
                json!({ "EndpointsConfig": { "pine": part } });
        }
        _ => {
            part.entry("Target").or_insert(json!("/m"));
            part.entry("Type").or_insert(json!("volume"));
            body["HostConfig"] = json!({ "Mounts": [part] });
        }
    }
    body
}

/// Where inspect shows it.
fn look<'a>(container: &'a Value, place: &str, field: &str) -> &'a Value {
    let at = match place {
        "EndpointsConfig" => &container["NetworkSettings"]["Networks"]["pine"],
        "Mounts" => &container["HostConfig"]["Mounts"][0],
        _ => &container[place],
    };
    field.split('.').fold(at, |at, name| &at[name])
}

/// Objects and lists may show more than was asked for: what the image says,
/// or a default.
fn contains(seen: &Value, wanted: &Value) -> bool {
    match (seen, wanted) {
        (Value::Object(seen), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| {
                seen.get(key).is_some_and(|seen| contains(seen, value))
            })
        }
        (Value::Array(seen), Value::Array(wanted)) => wanted
            .iter()
            .all(|value| seen.iter().any(|seen| contains(seen, value))),
        _ => seen == wanted,
    }
}
