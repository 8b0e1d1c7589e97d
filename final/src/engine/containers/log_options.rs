//! `--log-driver` and `--log-opt`: what they may say, and what the shim is
//! told for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cli_api::jsonlog::Attributes;
use regex::Regex;
use serde_json::json;

use super::host_config::LogConfig;
use super::limits::bytes;
use super::record::Record;
use crate::cli::format::Template;
use crate::engine::error::{Error, Result};
use crate::shim::Log;

/// What both drivers that write files know.
const FILES: [&str; 3] = ["max-size", "max-file", "compress"];

/// What json-file can put into every line.
const LINES: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

/// What any driver knows: Docker puts a buffer before it.
const DELIVERY: [&str; 2] = ["mode", "max-buffer-size"];

/// Refuses a driver that there is none, and what a driver does not know or
/// cannot read.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words, with the driver's name.
pub fn check(log: &LogConfig) -> Result<()> {
    let (driver, options) = (log.kind.as_str(), &log.config);
    let known = |key: &&String| {
        let key = key.as_str();
        FILES.contains(&key)
            || DELIVERY.contains(&key)
            || driver != "local" && LINES.contains(&key)
    };
    let unknown = options.keys().find(|key| !known(key));
    let refused = match (driver, unknown) {
        ("none", _) => return Ok(()),
        ("json-file" | "", Some(key)) => {
            format!("unknown log opt '{key}' for json-file log driver")
        }
        ("local", Some(key)) => {
            format!("unknown log opt '{key}' for log driver local")
        }
        ("json-file" | "local" | "", None) => {
            delivery(options)?;
            Files::parse(driver, options).map_err(not_started)?;
            return lines(options).map_err(not_started);
        }
        (other, _) => {
            format!("logger: no log driver named '{other}' is registered")
        }
    };
    Err(Error::Invalid(refused))
}

/// Docker finds these out at the start; nobody is served by a container that
/// cannot be started.
fn not_started(why: String) -> Error {
    Error::Invalid(format!("failed to initialize logging driver: {why}"))
}

fn delivery(options: &BTreeMap<String, String>) -> Result<()> {
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Error::Invalid(format!(
            "logger: logging mode not supported: {mode}"
        )));
    }
    let Some(size) = options.get("max-buffer-size") else { return Ok(()) };
    let text = if mode != "non-blocking" {
        "logger: max-buffer-size option is only supported with \
         'mode=non-blocking'"
            .to_owned()
    } else if bytes(size).is_none() {
        format!("error parsing option max-buffer-size: invalid size: '{size}'")
    } else {
        return Ok(());
    };
    Err(Error::Invalid(text))
}

/// How many files, and how large.
struct Files {
    max_size: Option<u64>,
    max_file: u32,
    compress: bool,
}

impl Files {
    fn parse(
        driver: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Files, String> {
        // `local` rotates unless told otherwise; json-file grows for ever.
        let local = driver == "local";
        let max_size = match options.get("max-size").map(String::as_str) {
            None if local => Some(20 << 20),
            None | Some("-1") => None,
            Some(text) => match bytes(text) {
                Some(0) => {
                    return Err("max-size must be a positive number".to_owned());
                }
                None => return Err(format!("invalid size: '{text}'")),
                size => size,
            },
        };
        let max_file = match options.get("max-file") {
            None if local => 5,
            None => 1,
            Some(text) => text.parse::<i64>().map_err(|_| {
                format!("strconv.Atoi: parsing {text:?}: invalid syntax")
            })?,
        };
        if max_file < 1 {
            return Err("max-file cannot be less than 1".to_owned());
        }
        let compress = match options.get("compress").map(String::as_str) {
            None => local && max_file > 1,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(text) => {
                return Err(format!(
                    "strconv.ParseBool: parsing {text:?}: invalid syntax"
                ));
            }
        };
        if compress && (max_file == 1 || max_size.is_none()) {
            let text = "compress cannot be true when max-file is less than 2 \
                        or max-size is not set";
            return Err(text.to_owned());
        }
        let max_file = u32::try_from(max_file).unwrap_or(u32::MAX);
        Ok(Files { max_size, max_file, compress })
    }
}

/// Whether what is put into every line can be read; on a container that has
/// nothing, since the words alone count.
fn lines(options: &BTreeMap<String, String>) -> Result<(), String> {
    for key in ["labels-regex", "env-regex"] {
        if let Some(text) = options.get(key) {
            Regex::new(text).map_err(|why| {
                format!("error parsing regexp: {}", last_line(&why))
            })?;
        }
    }
    let About { id, name, image, image_name } = About::default();
    let nobody = tag(options, &About { id, name, image, image_name });
    nobody.map(drop)
}

/// The reason: before it, the crate draws the expression.
fn last_line(why: &regex::Error) -> String {
    let text = why.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// What a tag can say of a container.
#[derive(Default)]
struct About<'a> {
    id: &'a str,
    name: &'a str,
    image: &'a str,
    image_name: &'a str,
}

/// `--log-opt tag={{.Name}}`, filled in.
fn tag(
    options: &BTreeMap<String, String>,
    about: &About<'_>,
) -> Result<Option<String>, String> {
    let Some(text) = options.get("tag").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let data = json!({
        "ID": short(about.id),
        "FullID": about.id,
        "Name": about.name,
        "ImageID": short(about.image),
        "ImageFullID": about.image,
        "ImageName": about.image_name,
        "DaemonName": "docker",
    });
    let filled = Template::parse(text).and_then(|it| it.render(&data));
    filled.map(Some).map_err(|why| why.to_string())
}

/// What stands in every line: the labels and variables that were named or
/// fit an expression, and the tag.
fn attributes(record: &Record) -> Attributes {
    let options = &record.host_config.log_config.config;
    let names = |key: &str| {
        let list = options.get(key).map_or("", String::as_str).split(',');
        list.map(str::to_owned).collect::<Vec<_>>()
    };
    let fits =
        |key: &str| options.get(key).and_then(|text| Regex::new(text).ok());
    let mut attributes = Attributes::new();
    let mut pick = |kind: &str, pairs: Vec<(&str, &str)>| {
        let (named, regex) = (names(kind), fits(&format!("{kind}-regex")));
        let regex =
            |key: &str| regex.as_ref().is_some_and(|it| it.is_match(key));
        for (key, value) in pairs {
            if named.iter().any(|it| it == key) || regex(key) {
                attributes.insert(key.to_owned(), value.to_owned());
            }
        }
    };
    let labels = &record.config.labels;
    pick("labels", labels.iter().map(|(k, v)| (&**k, &**v)).collect());
    let env = record.config.env.iter().flatten();
    pick("env", env.filter_map(|it| it.split_once('=')).collect());
    let about = About {
        id: &record.id,
        name: record.short_name(),
        image: &record.image,
        image_name: &record.config.image,
    };
    // It was checked on creation.
    if let Ok(Some(tag)) = tag(options, &about) {
        attributes.insert("tag".to_owned(), tag);
    }
    attributes
}

/// What the shim shall do.
///
/// # Errors
/// [`Error::Invalid`], as [`check`].
pub(super) fn log(record: &Record) -> Result<Log> {
    let LogConfig { kind, config } = &record.host_config.log_config;
    if kind == "none" {
        return Ok(Log::None);
    }
    let files = Files::parse(kind, config).map_err(not_started)?;
    let non_blocking =
        config.get("mode").is_some_and(|mode| mode == "non-blocking");
    let size = config.get("max-buffer-size").and_then(|text| bytes(text));
    Ok(Log::JsonFile {
        path: PathBuf::from(&record.log_path),
        max_size: files.max_size,
        max_file: files.max_file,
        compress: files.compress,
        buffer: non_blocking.then_some(size.unwrap_or(1 << 20)),
        attrs: attributes(record),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str, options: &[(&str, &str)]) -> String {
        let pair = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), (*value).to_owned())
        };
        let config = options.iter().map(pair).collect();
        let log = LogConfig { kind: kind.to_owned(), config };
        let said = check(&log).err().map(|it| it.to_string());
        said.unwrap_or_default()
    }

    #[test]
    fn options_are_refused_in_dockers_words() {
        let all: &[(&str, &[(&str, &str)])] = &[
            ("json-file", &[("bogus", "1")]),
            ("local", &[("tag", "x")]),
            ("journald", &[]),
            ("json-file", &[("mode", "x")]),
            ("json-file", &[("max-buffer-size", "1m")]),
            ("local", &[("mode", "non-blocking"), ("max-buffer-size", "x")]),
            ("json-file", &[("compress", "true")]),
            ("json-file", &[("compress", "x")]),
            ("json-file", &[("max-file", "0")]),
            ("json-file", &[("max-file", "x")]),
            ("json-file", &[("max-size", "x")]),
            ("json-file", &[("labels-regex", "(")]),
            ("json-file", &[("tag", "{{.Bogus}}")]),
        ];
        let said: Vec<_> =
            all.iter().map(|(kind, options)| refused(kind, options)).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn options_that_mean_something_are_taken() {
        for (kind, options) in [
            ("json-file", &[("max-size", "10m"), ("max-file", "3")][..]),
            ("json-file", &[("tag", "{{.Name}}/{{.ID}}"), ("env", "A")]),
            ("local", &[("compress", "false"), ("mode", "non-blocking")]),
            ("none", &[("anything", "1")]),
        ] {
            assert_eq!(refused(kind, options), "");
        }
    }
}
