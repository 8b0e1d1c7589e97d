//! `buildx du` and `buildx prune`: the build cache in BuildKit's records.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::attrs::invalid;
use super::grpc::{Status, unknown};
use super::wire::Timestamp;
use super::wire::control::{DiskUsageRequest, PruneRequest, UsageRecord};
use crate::engine::Engine;
use crate::engine::build::{FILTERS, Prune};
use crate::engine::filters::Filters;

type Result<T> = std::result::Result<T, Status>;

/// What `GET /system/df` has of a thing in the cache.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    r#type: String,
    description: String,
    in_use: bool,
    shared: bool,
    size: i64,
    usage_count: i64,
    created_at: String,
    last_used_at: String,
}

impl From<Row> for UsageRecord {
    fn from(row: Row) -> UsageRecord {
        let time = |text: &str| {
            text.parse::<jiff::Timestamp>().ok().map(Timestamp::from)
        };
        UsageRecord {
            id: row.id,
            mutable: row.r#type == "exec.cachemount",
            in_use: row.in_use,
            size: row.size,
            created_at: time(&row.created_at),
            last_used_at: time(&row.last_used_at),
            usage_count: row.usage_count,
            description: row.description,
            record_type: row.r#type,
            shared: row.shared,
            parents: Vec::new(),
        }
    }
}

/// All that the cache keeps, or what of it the filters let through.
pub(super) fn usage(
    engine: &Engine,
    request: &DiskUsageRequest,
) -> Result<Vec<UsageRecord>> {
    let filters = filters(&request.filter)?;
    let rows = engine.cache_usage().map_err(unknown)?;
    let rows = rows.into_iter().map(|row| {
        let row: Row = serde_json::from_value(row).map_err(unknown)?;
        Ok(UsageRecord::from(row))
    });
    let fits = |row: &UsageRecord| {
        let is = |key, value| {
            filters
                .flag(key)
                .is_ok_and(|wanted| wanted.is_none_or(|it| it == value))
        };
        filters.any("id", |it| row.id.starts_with(it))
            && filters.any("type", |it| row.record_type == it)
            && is("inuse", row.in_use)
            && is("shared", row.shared)
            && is("private", !row.shared)
    };
    let mut rows = rows.collect::<Result<Vec<_>>>()?;
    rows.retain(fits);
    Ok(rows)
}

/// Frees space; what has gone.
pub(super) fn prune(
    engine: &Engine,
    request: &PruneRequest,
) -> Result<Vec<UsageRecord>> {
    let everything = DiskUsageRequest::default();
    let mut before = usage(engine, &everything)?;
    let bytes = |it: i64| u64::try_from(it).ok().filter(|it| *it > 0);
    let mut words = request.filter.clone();
    if let Some(age) = bytes(request.keep_duration) {
        let seconds = Duration::from_nanos(age).as_secs();
        words.push(format!("until=={seconds}s"));
    }
    let prune = Prune {
        filters: filters(&words)?,
        reserved_space: bytes(request.reserved_space),
        max_used_space: bytes(request.max_used_space),
        min_free_space: bytes(request.min_free_space),
    };
    engine.prune_build_cache(&prune).map_err(unknown)?;
    let after = usage(engine, &everything)?;
    before.retain(|it| after.iter().all(|left| left.id != it.id));
    Ok(before)
}

/// `type==regular,inuse==false`, and a flag alone for true: containerd's
/// language, as far as clients write it.
fn filters(words: &[String]) -> Result<Filters> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let terms = words.iter().flat_map(|it| it.split(','));
    for term in terms.filter(|it| !it.is_empty()) {
        let (key, value) = match term.split_once("==") {
            Some(pair) => pair,
            None if term.contains(['~', '!', '=']) => {
                return Err(invalid(format!("invalid filter {term:?}")));
            }
            None => (term, "true"),
        };
        all.entry(key.trim()).or_default().push(value.trim_matches('"'));
    }
    let text = json!(all).to_string();
    Filters::parse(&text, FILTERS).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_terms_joined_by_commas() {
        let all = |words: &[&str]| {
            let own: Vec<_> = words.iter().map(|it| it.to_string()).collect();
            filters(&own)
        };
        let found = all(&["type==regular,inuse", "id==abc"]).unwrap();
        assert_eq!(found.one("type"), Some("regular"));
        assert_eq!(found.flag("inuse").unwrap(), Some(true));
        assert_eq!(found.one("id"), Some("abc"));
        for bad in ["id~=a", "nosuch==1", "type!=a"] {
            assert!(all(&[bad]).is_err(), "{bad}");
        }
    }
}
