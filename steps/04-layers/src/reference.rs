//! Image references: what a person types to name an image.
//!
//! ```text
//! localhost:5000 / team/app : 1.2 @ sha256:3f1a…
//! └─ domain ───┘   └ path ┘   tag   └ digest ──┘
//! ```
//!
//! `nginx` is short for `docker.io/library/nginx:latest`. The grammar and the
//! rules of that expansion are Docker's, and so are the error sentences,
//! because people search the web for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

/// The registry that a name without one means.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The name space of Docker Hub's curated images.
pub const OFFICIAL: &str = "library/";
/// The tag that a name without one means.
pub const DEFAULT_TAG: &str = "latest";

/// The specification allows no longer repository name.
const NAME_MAX: usize = 255;
/// As much as a registry has to take.
const TAG_MAX: usize = 128;

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It follows none of the rules.
    #[error("invalid reference format")]
    Format,
    /// Upper-case letters in the repository.
    #[error(
        "invalid reference format: repository name ({0}) must be lowercase"
    )]
    Uppercase(String),
    /// Too long.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
    /// It would be mistaken for an image ID ever after.
    #[error(
        "invalid repository name ({0}), cannot specify 64-byte hexadecimal \
         strings"
    )]
    LooksLikeId(String),
    /// What follows the `@` is no digest.
    #[error("invalid reference format")]
    Digest(#[from] DigestError),
}

/// A parsed and completed image reference. The domain is always there; the
/// tag and the digest are as typed, see [`Reference::or_latest`].
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// Never empty.
    domain: String,
    /// With `library/` where that was left out.
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host and port, e.g. `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, e.g. `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was typed.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, if one was typed.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `docker.io/library/nginx`: without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// `nginx`: the name as people know it, without tag and digest.
    ///
    /// Whole where the short one would mean something else: Docker Hub's
    /// `ghcr.io/x` is not the registry's, nor is `library/` with 64 digits
    /// an image ID. The store keeps images under these names.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            // `library/a/b` is not an official image: keep it whole.
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.path,
        };
        match looks_like_id(short) || split_domain(short).1 != short {
            true => self.name(),
            false => short.to_owned(),
        }
    }

    /// `nginx:latest` or `nginx@sha256:…`: the reference as people know it.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// The same with the tag `latest` when neither tag nor digest was given.
    pub fn or_latest(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository by digest, without tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The repository alone, without tag and digest.
    pub fn repository(&self) -> Reference {
        Reference { tag: None, digest: None, ..self.clone() }
    }

    /// Tag before digest, the order in which both may be written.
    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if looks_like_id(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest, None),
        };
        // Only now: a digest has a colon of its own.
        let (path, tag) = split_tag(rest);
        let path = match domain {
            DEFAULT_DOMAIN if !path.contains('/') && !path.is_empty() => {
                format!("{OFFICIAL}{path}")
            }
            _ => path.to_owned(),
        };
        check_path(&path)?;
        if !is_domain(domain) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong);
        }
        Ok(Reference {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::parse).transpose()?,
        })
    }
}

/// Says whether the part before the first `/` is a registry. Only a dot, a
/// colon, `localhost` or an upper-case letter make it one: `grafana/loki` is
/// a repository of Docker Hub.
fn split_domain(text: &str) -> (&str, &str) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, text);
    };
    let is_host = first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase());
    match first {
        "index.docker.io" | DEFAULT_DOMAIN => (DEFAULT_DOMAIN, rest),
        _ if is_host => (first, rest),
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// The tag follows the last colon, unless a slash follows that.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Upper case gets an error of its own: it is the most frequent mistake, and
/// `docker build -t MyApp` should say what is wrong.
fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::Format);
    }
    if path.split('/').all(is_component) {
        return Ok(());
    }
    let lower = path.to_ascii_lowercase();
    if lower != path && lower.split('/').all(is_component) {
        return Err(ReferenceError::Uppercase(path.to_owned()));
    }
    Err(ReferenceError::Format)
}

/// Letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alnum = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let word = bytes[at..].iter().take_while(|b| alnum(**b)).count();
        if word == 0 {
            return false;
        }
        at += word;
        if at == bytes.len() {
            return true;
        }
        let joint = bytes[at..].iter().take_while(|b| !alnum(**b)).count();
        let text = &bytes[at..at + joint];
        let dashes = text.iter().all(|b| *b == b'-');
        if !dashes && !matches!(text, b"." | b"_" | b"__") {
            return false;
        }
        at += joint;
    }
}

/// A host and perhaps a port. Upper case is fine in host names, `_` is not.
fn is_domain(text: &str) -> bool {
    let digits = |port: &str| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
    };
    // An IPv6 address has colons of its own, hence the brackets.
    if let Some(rest) = text.strip_prefix('[') {
        let hex = |b: u8| b.is_ascii_hexdigit() || b == b':';
        return rest.split_once(']').is_some_and(|(address, port)| {
            !address.is_empty()
                && address.bytes().all(hex)
                && (port.is_empty()
                    || port.strip_prefix(':').is_some_and(digits))
        });
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    digits(port) && host.split('.').all(is_label)
}

/// What is between the dots of a host name (RFC 1123).
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty()
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Begins with a letter, digit or `_`: `-x` would look like a flag.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let rest = |b: u8| word(b) || b == b'.' || b == b'-';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(rest)
}

/// Image IDs are printed in lower case.
fn looks_like_id(text: &str) -> bool {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 64 && text.bytes().all(digit)
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

/// The full form, `docker.io/library/nginx:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str =
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn short_names_become_full_names() {
        for (typed, full, familiar) in [
            ("nginx", "docker.io/library/nginx", "nginx"),
            ("nginx:1", "docker.io/library/nginx:1", "nginx:1"),
            ("grafana/loki", "docker.io/grafana/loki", "grafana/loki"),
            ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
            ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
            ("localhost/a", "localhost/a", "localhost/a"),
            ("docker.io/a.io/b", "docker.io/a.io/b", "docker.io/a.io/b"),
            (
                "localhost:5000",
                "docker.io/library/localhost:5000",
                "localhost:5000",
            ),
            ("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"),
            ("127.0.0.1:5/x", "127.0.0.1:5/x", "127.0.0.1:5/x"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            (
                "ghcr.io/a/b/c--d__e.f",
                "ghcr.io/a/b/c--d__e.f",
                "ghcr.io/a/b/c--d__e.f",
            ),
            ("sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"),
        ] {
            assert_eq!(parse(typed).to_string(), full, "{typed}");
            assert_eq!(parse(typed).familiar(), familiar, "{typed}");
        }
    }

    #[test]
    fn a_tag_and_a_digest_may_stand_together() {
        let both = parse(&format!("a.io/b:c@sha256:{HEX}"));
        assert_eq!(both.tag(), Some("c"));
        assert_eq!(both.digest().unwrap().hex(), HEX);
        assert_eq!(parse("a").or_latest().tag(), Some("latest"));
        assert_eq!(both.clone().or_latest(), both);
    }

    #[test]
    fn mistakes_get_dockers_sentences() {
        let long = "a/".repeat(130) + "a";
        for (typed, sentence) in [
            ("", "invalid reference format"),
            (":tag", "invalid reference format"),
            (
                "Nginx",
                "invalid reference format: repository name \
                (library/Nginx) must be lowercase",
            ),
            ("a..b", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a:-b", "invalid reference format"),
            ("a b", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("https://a/b", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("host:/a", "invalid reference format"),
            ("host:5x/a", "invalid reference format"),
            ("[::1]x/a", "invalid reference format"),
            ("[::1]:/a", "invalid reference format"),
            ("under_score.io/a", "invalid reference format"),
            (&long, "repository name must not be more than 255 characters"),
        ] {
            let error = typed.parse::<Reference>().unwrap_err().to_string();
            assert_eq!(error, sentence, "{typed}");
        }
        assert!(matches!(
            HEX.parse::<Reference>(),
            Err(ReferenceError::LooksLikeId(_))
        ));
        assert!("a@sha256:12".parse::<Reference>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Reference>();
        }

        #[test]
        fn what_was_parsed_prints_and_parses_to_itself(
            text in "([a-z0-9.:-]{1,12}/)?[a-z0-9._/-]{1,20}(:[\\w.-]{1,9})?"
        ) {
            if let Ok(first) = text.parse::<Reference>() {
                let full = first.to_string();
                prop_assert_eq!(&full.parse::<Reference>().unwrap(), &first);
                let short = first.familiar();
                prop_assert_eq!(&short.parse::<Reference>().unwrap(), &first);
            }
        }
    }
}
