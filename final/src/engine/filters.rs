//! `?filters={"label":["a=b"]}`: which of many things a client wants.
//!
//! Clients send a map of lists; old ones (API 1.21 and before, and the
//! docker command to this day) a map of maps whose values are `true`.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::error::{Error, Result};

/// Parsed filters: values of the same key are alternatives, different keys
/// must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses the query parameter; empty means no filter.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no such JSON, and by name for a filter
    /// that is not in `known`.
    pub fn parse(text: &str, known: &[&str]) -> Result<Filters> {
        if text.trim().is_empty() {
            return Ok(Filters::default());
        }
        let bad = || Error::Invalid(format!("invalid filter: {text}"));
        let json: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| bad())?;
        let mut filters = BTreeMap::new();
        for (key, values) in json {
            if !known.contains(&key.as_str()) {
                let text = format!("invalid filter '{key}'");
                return Err(Error::Invalid(text));
            }
            filters.insert(key, words(values).ok_or_else(bad)?);
        }
        Ok(Filters(filters))
    }

    /// All values of a key; empty if it is not filtered by.
    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether the key is filtered by.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The single value of a key.
    pub fn one(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str)
    }

    /// Whether `test` holds for any value, or the key is not filtered by.
    pub fn any(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        !self.has(key) || self.all(key).iter().any(|value| test(value))
    }

    /// The values of a key as what Docker takes names to be filtered by:
    /// whole names, or regular expressions that fit somewhere in them.
    pub fn patterns(&self, key: &str) -> Patterns {
        let all = self.all(key).iter();
        let parsed = all.map(|it| (it.clone(), Regex::new(it).ok()));
        Patterns(self.has(key).then(|| parsed.collect()))
    }

    /// A filter that is true or false.
    ///
    /// # Errors
    /// [`Error::Invalid`] in Docker's words.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.one(key) {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(other) => {
                Err(Error::Invalid(format!("invalid filter '{key}=[{other}]'")))
            }
        }
    }

    /// Whether the labels have all of `label` (`key` or `key=value`) and
    /// none of `label!`.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|is| is == value),
            None => labels.contains_key(wanted),
        };
        self.all("label").iter().all(has)
            && !(self.has("label!") && self.all("label!").iter().all(has))
    }
}

/// See [`Filters::patterns`]; `None` where nothing is filtered by.
#[derive(Debug)]
pub struct Patterns(Option<Vec<(String, Option<Regex>)>>);

impl Patterns {
    /// Whether one of the names fits one of the patterns, or there are none.
    pub fn match_any(&self, names: &[&str]) -> bool {
        let Some(patterns) = &self.0 else { return true };
        patterns.iter().any(|(text, regex)| {
            names.iter().any(|name| {
                name == text
                    || regex.as_ref().is_some_and(|it| it.is_match(name))
            })
        })
    }
}

fn words(values: Value) -> Option<Vec<String>> {
    match values {
        Value::Array(list) => list
            .into_iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        Value::Object(map) => Some(
            map.into_iter()
                .filter(|(_, on)| on.as_bool() == Some(true))
                .map(|(key, _)| key)
                .collect(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let list = r#"{"status":["running"]}"#;
        let map = r#"{"status":{"running":true,"paused":false}}"#;
        let known = &["status"];
        assert_eq!(
            Filters::parse(list, known).unwrap(),
            Filters::parse(map, known).unwrap()
        );
    }

    #[test]
    fn a_name_is_found_by_a_part_by_the_whole_or_by_a_regular_expression() {
        let fits = |pattern: &str, name: &str| {
            let text = serde_json::json!({ "name": [pattern] }).to_string();
            let filters = Filters::parse(&text, &["name"]).unwrap();
            let bare = name.trim_start_matches('/');
            filters.patterns("name").match_any(&[name, bare])
        };
        assert!(fits("web", "/web-1"));
        assert!(fits("^/web$", "/web"));
        assert!(fits("^/?web$", "/web"));
        assert!(fits("^web$", "/web"));
        assert!(fits("db|web", "/web-1"));
        assert!(!fits("^web$", "/web-1"));
        // No regular expression, but a whole name all the same.
        assert!(fits("a(b", "a(b"));
        assert!(!fits("a(b", "a(bc"));
        assert!(Filters::default().patterns("name").match_any(&["any"]));
    }

    #[test]
    fn an_unknown_filter_is_refused_by_name() {
        let error = Filters::parse(r#"{"color":["red"]}"#, &[]).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'color'");
    }

    #[test]
    fn labels_match_by_key_or_by_key_and_value() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let holds = |text: &str| {
            Filters::parse(text, &["label", "label!"]).unwrap().labels(&labels)
        };
        assert!(holds(r#"{"label":["a"]}"#));
        assert!(holds(r#"{"label":["a=b"]}"#));
        assert!(!holds(r#"{"label":["a=c"]}"#));
        assert!(!holds(r#"{"label!":["a"]}"#));
        assert!(holds(r#"{"label!":["z"]}"#));
    }
}
