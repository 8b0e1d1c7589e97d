//! `docker images`: which images, and what is said of each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use cli_api::server::ApiVersion;
use jiff::{Span, Timestamp};
use layers::store::Names;
use layers::{DiffId, Image, ImageId, Reference};
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::filters::Filters;
use crate::engine::system::disk_usage;

/// The filters that `GET /images/json` knows.
pub const FILTERS: &[&str] =
    &["dangling", "label", "label!", "before", "since", "until", "reference"];

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Also images that are only steps on the way to others.
    pub all: bool,
    /// Count what each image shares with others.
    pub shared_size: bool,
    /// Which.
    pub filters: Filters,
}

/// One line of `docker images`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// How many containers use it; −1 unless asked for.
    pub containers: i64,
    /// Seconds since 1970.
    pub created: i64,
    /// `sha256:…`.
    pub id: String,
    /// From the config.
    pub labels: Option<BTreeMap<String, String>>,
    /// The image that it was built upon here, or empty.
    pub parent_id: String,
    /// `name@sha256:…`.
    pub repo_digests: Vec<String>,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// Bytes in layers that other images have too; −1 unless asked for.
    pub shared_size: i64,
    /// Bytes in all layers.
    pub size: u64,
    /// The same, for clients before 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<u64>,
}

impl Engine {
    /// Lists images, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter that makes no sense,
    /// [`Error::NotFound`] for one that names an image that is not there.
    pub fn list_images(
        &self,
        wish: &Wish,
        version: ApiVersion,
    ) -> Result<Vec<Summary>> {
        let choice = Choice::new(self, wish)?;
        let images = self.store.list()?;
        let unpacked =
            |layer: &DiffId| self.store.layer(layer).map_or(0, |it| it.size);
        let shares =
            wish.shared_size.then(|| Shares::count(&images, &unpacked));
        let mut lines = Vec::new();
        for image in &images {
            let names = self.store.names(&image.id)?;
            let Some(names) = choice.keep(self, image, names)? else {
                continue;
            };
            let mut line = summary(image, names, version);
            if let Some(shares) = &shares {
                line.shared_size = shares.of(image);
                line.containers = self.containers_of(&image.id);
            }
            lines.push(line);
        }
        Ok(lines)
    }
}

impl Engine {
    /// What images take of the disk, for `docker system df`: each of them,
    /// and all together.
    ///
    /// # Errors
    /// What the store cannot read.
    pub fn image_usage(
        &self,
        version: ApiVersion,
    ) -> Result<(Vec<Summary>, u64)> {
        let wish = Wish { all: true, shared_size: true, ..Wish::default() };
        let mut lines = self.list_images(&wish, version)?;
        let images = self.store.list()?;
        let taken = |layer: &DiffId| self.store.layer_bytes(layer);
        let shares = Shares::count(&images, &taken);
        for line in &mut lines {
            let same = |image: &&Image| image.id.as_str() == line.id;
            if let Some(image) = images.iter().find(same) {
                line.size = shares.all_of(image);
                line.shared_size = shares.of(image);
            }
        }
        Ok((lines, shares.total()))
    }

    /// What the build cache keeps, likewise: layers, also such as an image
    /// has, and the directories of cache mounts.
    ///
    /// # Errors
    /// What the store cannot read.
    pub fn cache_usage(&self) -> Result<Vec<Value>> {
        let images = self.store.list()?;
        let used: HashSet<&DiffId> =
            images.iter().flat_map(Image::layers).collect();
        let mut layers = layers::build::cached_layers(self.store.root());
        layers.sort();
        layers.dedup();
        let rows = layers.iter().map(|layer| {
            let record =
                self.store.layer_dir(layer).with_file_name("layer.json");
            let made = record.metadata().and_then(|it| it.modified()).ok();
            let made = made.and_then(|at| Timestamp::try_from(at).ok());
            let made = made.unwrap_or_default().to_string();
            json!({
                "CreatedAt": made,
                "LastUsedAt": made,
                "ID": layer.short(),
                "Type": "regular",
                "Description": "",
                "InUse": false,
                "Shared": used.contains(layer),
                "Size": self.store.layer_bytes(layer),
                "UsageCount": 0,
            })
        });
        let mounts = layers::build::cache_mounts(self.store.root());
        Ok(rows.chain(mounts.iter().map(|path| mount_row(path))).collect())
    }
}

/// A cache mount in BuildKit's words.
fn mount_row(path: &Path) -> Value {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let made = path.metadata().and_then(|it| it.modified()).ok();
    let made = made.and_then(|at| Timestamp::try_from(at).ok());
    let made = made.unwrap_or_default().to_string();
    json!({
        "CreatedAt": made,
        "LastUsedAt": made,
        "ID": cli_api::id::short(&name),
        "Type": "exec.cachemount",
        "Description": "",
        "InUse": false,
        "Shared": false,
        "Size": disk_usage(path),
        "UsageCount": 0,
    })
}

/// The filters of one request, made ready.
struct Choice<'a> {
    wish: &'a Wish,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
    until: Option<Timestamp>,
    patterns: Vec<Pattern>,
}

impl<'a> Choice<'a> {
    fn new(engine: &Engine, wish: &'a Wish) -> Result<Choice<'a>> {
        let filters = &wish.filters;
        let of = |key: &str| -> Result<Option<i64>> {
            let name = filters.one(key);
            name.map(|name| Ok(created(&engine.image(name)?))).transpose()
        };
        let patterns = filters.all("reference").iter();
        Ok(Choice {
            wish,
            dangling: filters.flag("dangling")?,
            before: of("before")?,
            since: of("since")?,
            until: until(filters)?,
            patterns: patterns.map(|text| Pattern::new(text)).collect(),
        })
    }

    /// The names to show, or `None` to leave the image out.
    fn keep(
        &self,
        engine: &Engine,
        image: &Image,
        mut names: Names,
    ) -> Result<Option<Names>> {
        let at = created(image);
        let labels = image.config.config.labels.clone().unwrap_or_default();
        if self.before.is_some_and(|before| at >= before)
            || self.since.is_some_and(|since| at <= since)
            || self.until.is_some_and(|until| at >= until.as_second())
            || !self.wish.filters.labels(&labels)
        {
            return Ok(None);
        }
        let nameless = names.tags.is_empty() && names.digests.is_empty();
        if self.wish.filters.has("reference") {
            let fits = |name: &String| {
                self.patterns.iter().any(|pattern| pattern.fits(name))
            };
            names.tags.retain(fits);
            names.digests.retain(fits);
            if names.tags.is_empty() && names.digests.is_empty() {
                return Ok(None);
            }
        }
        let step = names.tags.is_empty()
            && !engine.store.children(&image.id)?.is_empty();
        let keep = match self.dangling {
            Some(wanted) => {
                names.tags.is_empty() == wanted && !(wanted && step)
            }
            None => self.wish.all || !(nameless && step),
        };
        Ok(keep.then_some(names))
    }
}

fn summary(image: &Image, names: Names, version: ApiVersion) -> Summary {
    let mut line = Summary {
        containers: -1,
        created: created(image),
        id: image.id.to_string(),
        labels: image.config.config.labels.clone(),
        parent_id: image
            .record
            .parent
            .as_ref()
            .map_or(String::new(), ImageId::to_string),
        repo_digests: names.digests,
        repo_tags: names.tags,
        shared_size: -1,
        size: image.record.size,
        virtual_size: (version < ApiVersion(1, 44))
            .then_some(image.record.size),
    };
    // Until 1.43 nameless images had a name that says so.
    if version < ApiVersion(1, 43) && line.repo_tags.is_empty() {
        if line.repo_digests.is_empty() {
            line.repo_digests.push("<none>@<none>".to_owned());
        }
        line.repo_tags.push("<none>:<none>".to_owned());
    }
    line
}

/// When an image was made, in seconds since 1970; 0 if it does not say.
pub fn created(image: &Image) -> i64 {
    image
        .config
        .created
        .as_deref()
        .and_then(|text| text.parse::<Timestamp>().ok())
        .map_or(0, Timestamp::as_second)
}

/// The filter `until`: a time, seconds since 1970, or how long ago.
///
/// # Errors
/// [`Error::Invalid`] for what is none of these.
pub fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    time(filters, "until")
}

/// The same under another name.
///
/// # Errors
/// As [`until`].
pub fn time(filters: &Filters, key: &str) -> Result<Option<Timestamp>> {
    let Some(text) = filters.one(key) else { return Ok(None) };
    let bad = || Error::Invalid(format!("invalid filter '{key}={text}'"));
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).map(Some).map_err(|_| bad());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time));
    }
    let ago = Span::from_str(text).map_err(|_| bad())?;
    Timestamp::now().checked_sub(ago).map(Some).map_err(|_| bad())
}

/// A pattern of `--filter reference=`: `*` stands for anything but a slash.
struct Pattern {
    name: String,
    tag: Option<String>,
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        };
        Pattern { name: name.to_owned(), tag: tag.map(str::to_owned) }
    }

    fn fits(&self, name: &str) -> bool {
        let Ok(reference) = name.parse::<Reference>() else { return false };
        let tag = reference.tag().unwrap_or_default();
        let tag_fits = self.tag.as_deref().is_none_or(|it| wild(it, tag));
        let names = [reference.familiar_name(), reference.name()];
        tag_fits && names.iter().any(|it| wild(&self.name, it))
    }
}

/// Matches `*` and `?` within one path segment, as Go's path.Match.
fn wild(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('/').zip(text.split('/'));
    pattern.split('/').count() == text.split('/').count()
        && parts
            .all(|(pattern, text)| segment(pattern.as_bytes(), text.as_bytes()))
}

fn segment(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            segment(&pattern[1..], text)
                || !text.is_empty() && segment(pattern, &text[1..])
        }
        (Some(b'?'), Some(_)) => segment(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => segment(&pattern[1..], &text[1..]),
        _ => false,
    }
}

/// Which layers several images have: the bytes of each, and how many do.
pub(crate) struct Shares(HashMap<DiffId, (u64, u32)>);

impl Shares {
    /// Counts the images over each layer, which has so many bytes.
    pub(crate) fn count(
        images: &[Image],
        bytes: &dyn Fn(&DiffId) -> u64,
    ) -> Shares {
        let mut layers: HashMap<DiffId, (u64, u32)> = HashMap::new();
        for layer in images.iter().flat_map(Image::layers) {
            let counted = layers.entry(layer.clone());
            counted.or_insert_with(|| (bytes(layer), 0)).1 += 1;
        }
        Shares(layers)
    }

    /// Bytes of an image that others share.
    pub(crate) fn of(&self, image: &Image) -> i64 {
        let shared = image.layers().iter().filter_map(|layer| {
            let (size, users) = self.0.get(layer)?;
            (*users > 1).then_some(*size)
        });
        i64::try_from(shared.sum::<u64>()).unwrap_or(i64::MAX)
    }

    /// Bytes of an image.
    fn all_of(&self, image: &Image) -> u64 {
        let layers = image.layers().iter();
        layers.filter_map(|layer| Some(self.0.get(layer)?.0)).sum()
    }

    /// Bytes of all images, where what they share counts once.
    fn total(&self) -> u64 {
        self.0.values().map(|(size, _)| size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_pattern_matches_like_a_path() {
        for (pattern, name, fits) in [
            ("busybox", "busybox:latest", true),
            ("busy*", "busybox:1.36", true),
            ("busybox:1.*", "busybox:1.36", true),
            ("busybox:1.*", "busybox:latest", false),
            ("*/loki", "grafana/loki:1", true),
            ("*", "grafana/loki:1", false),
            ("localhost:5000/*", "localhost:5000/a:b", true),
            ("docker.io/library/busybox", "busybox:latest", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern}");
        }
    }

    #[test]
    fn until_takes_a_time_seconds_or_an_age() {
        let parse = |text: &str| {
            let json = format!("{{\"until\":[\"{text}\"]}}");
            until(&Filters::parse(&json, FILTERS).unwrap())
        };
        assert_eq!(
            parse("1700000000").unwrap().unwrap().as_second(),
            1_700_000_000
        );
        assert_eq!(
            parse("2023-11-14T22:13:20Z").unwrap().unwrap().as_second(),
            1_700_000_000
        );
        assert!(parse("24h").unwrap().unwrap() < Timestamp::now());
        assert_eq!(
            parse("soon").unwrap_err().to_string(),
            "invalid filter 'until=soon'"
        );
    }
}
