//! `Config`: what to run. The half of a container that travels with images.

use std::collections::BTreeMap;

use layers::config::Empty;
use layers::{ContainerConfig, Healthcheck};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The API's `Config`, with every field always present that Docker always
/// shows. Docs are in the API reference; here only what needs a word.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    pub image: String,
    pub volumes: Option<BTreeMap<String, Empty>>,
    pub working_dir: String,
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    pub on_build: Option<Vec<String>>,
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "words")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// What this engine does not know; refused on creation, by name.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A command is a list, or one word (as curl users write it).
fn words<'de, D>(from: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(Option::<Words>::deserialize(from)?.map(|words| match words {
        Words::Many(list) => list,
        Words::One(word) => vec![word],
    }))
}

impl Config {
    /// Fills in what the image says and the user did not, by Docker's rules.
    pub fn inherit(&mut self, image: &ContainerConfig) {
        // An entry point of the user's own makes the image's arguments
        // meaningless; so the two go together.
        let given = |list: &Option<Vec<String>>| {
            list.as_ref().is_some_and(|list| !list.is_empty())
        };
        if !given(&self.entrypoint) {
            if !given(&self.cmd) {
                self.cmd.clone_from(&image.cmd);
            }
            if self.entrypoint.is_none() {
                self.entrypoint.clone_from(&image.entrypoint);
            }
        }
        // `--entrypoint ""` arrives as one empty word and means "none".
        if self.entrypoint.as_deref() == Some(&[String::new()]) {
            self.entrypoint = None;
        }
        self.inherit_env(image);
        if self.user.is_empty() {
            self.user.clone_from(&image.user);
        }
        if self.working_dir.is_empty() {
            self.working_dir.clone_from(&image.working_dir);
        }
        if self.stop_signal.is_empty() {
            let signal = image.stop_signal.clone();
            self.stop_signal = signal.unwrap_or_default();
        }
        self.stop_timeout = self.stop_timeout.or(image.stop_timeout);
        self.shell = self.shell.take().or(image.shell.clone());
        merge(&mut self.exposed_ports, image.exposed_ports.as_ref());
        merge(&mut self.volumes, image.volumes.as_ref());
        self.volumes = self.volumes.take().filter(|all| !all.is_empty());
        for (key, value) in image.labels.iter().flatten() {
            self.labels.entry(key.clone()).or_insert(value.clone());
        }
        self.inherit_health(image);
    }

    fn inherit_env(&mut self, image: &ContainerConfig) {
        let mine = self.env.take().unwrap_or_default();
        let name = |entry: &str| {
            entry.split_once('=').map_or(entry, |(name, _)| name).to_owned()
        };
        let set: Vec<_> = mine.iter().map(|entry| name(entry)).collect();
        let inherited = image
            .env
            .iter()
            .flatten()
            .filter(|entry| !set.contains(&name(entry)));
        let inherited: Vec<_> = inherited.cloned().collect();
        let all = [mine, inherited].concat();
        self.env = Some(all).filter(|all| !all.is_empty());
    }

    fn inherit_health(&mut self, image: &ContainerConfig) {
        let Some(theirs) = &image.healthcheck else { return };
        let Some(mine) = &mut self.healthcheck else {
            self.healthcheck = Some(theirs.clone());
            return;
        };
        if mine.test.as_ref().is_none_or(Vec::is_empty) {
            mine.test.clone_from(&theirs.test);
        }
        let fill = |mine: &mut i64, theirs: i64| {
            if *mine == 0 {
                *mine = theirs;
            }
        };
        fill(&mut mine.interval, theirs.interval);
        fill(&mut mine.timeout, theirs.timeout);
        fill(&mut mine.start_period, theirs.start_period);
        fill(&mut mine.start_interval, theirs.start_interval);
        fill(&mut mine.retries, theirs.retries);
    }

    /// The command line: entry point, then arguments.
    pub fn argv(&self) -> Vec<String> {
        let parts = self.entrypoint.iter().chain(&self.cmd);
        parts.flatten().cloned().collect()
    }

    /// The same as a config of an image, for `commit`.
    pub fn to_image(&self) -> ContainerConfig {
        ContainerConfig {
            user: self.user.clone(),
            exposed_ports: self.exposed_ports.clone(),
            env: self.env.clone(),
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            volumes: self.volumes.clone(),
            working_dir: self.working_dir.clone(),
            labels: Some(self.labels.clone()),
            stop_signal: Some(self.stop_signal.clone())
                .filter(|signal| !signal.is_empty()),
            stop_timeout: self.stop_timeout,
            healthcheck: self.healthcheck.clone(),
            on_build: self.on_build.clone(),
            shell: self.shell.clone(),
            extra: Map::new(),
        }
    }
}

type Set = BTreeMap<String, Empty>;

fn merge(mine: &mut Option<Set>, theirs: Option<&Set>) {
    if let Some(theirs) = theirs {
        let mine = mine.get_or_insert_default();
        mine.extend(theirs.iter().map(|(key, it)| (key.clone(), *it)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn image() -> ContainerConfig {
        ContainerConfig {
            entrypoint: list(&["/start.sh"]),
            cmd: list(&["serve"]),
            env: list(&["PATH=/bin", "LANG=C"]),
            working_dir: "/srv".to_owned(),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn arguments_replace_the_images_arguments_only() {
        let mut config = Config { cmd: list(&["x"]), ..Config::default() };
        config.inherit(&image());
        assert_eq!(config.argv(), ["/start.sh", "x"]);
        assert_eq!(config.working_dir, "/srv");
    }

    #[test]
    fn an_entry_point_replaces_both() {
        let mut config =
            Config { entrypoint: list(&["sh"]), ..Config::default() };
        config.inherit(&image());
        assert_eq!(config.argv(), ["sh"]);
    }

    #[test]
    fn an_empty_entry_point_takes_the_images_away() {
        let entrypoint = list(&[""]);
        let cmd = list(&["ls"]);
        let mut config = Config { entrypoint, cmd, ..Config::default() };
        config.inherit(&image());
        assert_eq!(config.argv(), ["ls"]);
    }

    #[test]
    fn variables_are_replaced_by_name_and_kept_without_a_value() {
        let env = list(&["PATH=/mine", "LANG"]);
        let mut config = Config { env, ..Config::default() };
        config.inherit(&image());
        assert_eq!(config.env, list(&["PATH=/mine", "LANG"]));
    }

    #[test]
    fn a_command_may_be_one_word() {
        let config: Config =
            serde_json::from_str(r#"{"Cmd":"ls","Odd":1}"#).unwrap();
        assert_eq!(config.cmd, list(&["ls"]));
        assert!(config.unknown.contains_key("Odd"));
    }
}
