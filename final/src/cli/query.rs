//! Paths and parameters of requests.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Builds `/path?a=1&b=2`.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    text: String,
    any: bool,
}

impl Query {
    /// A path; its parts must have been through [`segment`] where they come
    /// from the user.
    pub(crate) fn new(path: impl Into<String>) -> Query {
        Query { text: path.into(), any: false }
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, key: &str, value: impl AsRef<str>) -> Query {
        let mark = if self.any { '&' } else { '?' };
        self.any = true;
        self.text.push(mark);
        self.text.push_str(key);
        self.text.push('=');
        self.text.push_str(&encode(value.as_ref(), ""));
        self
    }

    /// Adds `key=1` if `yes`.
    pub(crate) fn flag(self, key: &str, yes: bool) -> Query {
        if yes { self.with(key, "1") } else { self }
    }

    /// Adds a parameter if there is a value.
    pub(crate) fn maybe(
        self,
        key: &str,
        value: Option<impl ToString>,
    ) -> Query {
        match value {
            Some(value) => self.with(key, value.to_string()),
            None => self,
        }
    }

    /// Adds `SOURCE_DATE_EPOCH`, if it is set: what makes an image twice the
    /// same.
    pub(crate) fn with_epoch(self) -> Query {
        self.maybe("sourcedateepoch", source_date_epoch())
    }

    /// Adds `--filter`s.
    pub(crate) fn filters(self, filters: &[Filter]) -> Query {
        let mut filters = filters.iter().filter(|it| !it.is_none()).peekable();
        if filters.peek().is_none() {
            return self;
        }
        let mut all = Map::new();
        for Filter(key, value) in filters {
            let values = all.entry(key).or_insert_with(|| Map::new().into());
            if let Value::Object(values) = values {
                values.insert(value.clone(), true.into());
            }
        }
        self.with("filters", Value::Object(all).to_string())
    }

    /// The finished path.
    pub(crate) fn build(self) -> String {
        self.text
    }
}

/// See <https://reproducible-builds.org/specs/source-date-epoch/>.
pub(crate) fn source_date_epoch() -> Option<String> {
    std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty())
}

/// One part of a path. Slashes stay: names of images have them.
pub(crate) fn segment(text: &str) -> String {
    encode(text, "/:@")
}

/// Percent-encoding (RFC 3986, 2.1) of all but unreserved characters and
/// those in `also`.
fn encode(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let it = char::from(byte);
        if it.is_ascii_alphanumeric()
            || "-._~".contains(it)
            || also.contains(it)
        {
            out.push(it);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `--filter key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(pub(crate) String, pub(crate) String);

impl Filter {
    /// `--filter ''`
    fn is_none(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        // Scripts have variables there, and docker does not mind.
        if text.is_empty() {
            return Ok(Filter(String::new(), String::new()));
        }
        let (key, value) = text
            .split_once('=')
            .ok_or("bad format of filter (expected name=value)")?;
        Ok(Filter(key.trim().to_lowercase(), value.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_names_of_images_are_not() {
        let query = Query::new(format!("/images/{}/tag", segment("a/b:c d")))
            .with("repo", "docker.io/x")
            .flag("no", false)
            .flag("yes", true)
            .maybe("t", None::<u8>)
            .build();
        assert_eq!(query, "/images/a/b:c%20d/tag?repo=docker.io%2Fx&yes=1");
    }

    #[test]
    fn filters_are_sent_as_the_docker_command_sends_them() {
        let filter: Filter = "status=running".parse().unwrap();
        let query = Query::new("/x").filters(&[filter]).build();
        assert_eq!(
            query,
            "/x?filters=%7B%22status%22%3A%7B%22running%22%3Atrue%7D%7D"
        );
        assert!("status".parse::<Filter>().is_err());
        let none: Filter = "".parse().unwrap();
        assert_eq!(Query::new("/x").filters(&[none]).build(), "/x");
    }
}
