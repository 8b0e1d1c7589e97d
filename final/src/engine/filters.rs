//! `?filters={"label":["a=b"]}`: which of many things a client wants.
//!
//! Clients send a map of lists; old ones (API 1.21 and before, and the
//! docker command to this day) a map of maps whose values are `true`.

use std::collections::BTreeMap;

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
