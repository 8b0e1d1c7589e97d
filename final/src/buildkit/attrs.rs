//! What a client asks of the frontend `dockerfile.v0`, which it says in
//! pairs of texts: `target`, `build-arg:NAME`, `label:NAME` and so on.

use std::collections::BTreeMap;

use layers::build::BuildOptions;
use layers::{Platform, Reference};

use super::grpc::{Status, unknown};
use crate::engine::build::{Request, RunLimits};

/// The pairs.
pub(super) type Attrs = BTreeMap<String, String>;

type Result<T> = std::result::Result<T, Status>;

/// The request of the build, apart from its files.
pub(super) fn request(
    attrs: &Attrs,
    entitlements: &[String],
) -> Result<Request> {
    refuse(attrs)?;
    let text = |name: &str| attrs.get(name).map_or("", String::as_str);
    let some =
        |name: &str| Some(text(name).to_owned()).filter(|it| !it.is_empty());
    let args = prefixed(attrs, "build-arg:");
    let allow = entitlements.iter().map(|it| it.parse());
    let options = BuildOptions {
        target: some("target"),
        labels: prefixed(attrs, "label:"),
        no_cache: attrs.contains_key("no-cache"),
        pull: text("image-resolve-mode") == "pull",
        cache_also_from: cache_from(attrs)?,
        network: some("force-network-mode"),
        platform: some("platform")
            .map(|it| it.parse::<Platform>())
            .transpose()
            .map_err(invalid)?,
        add_hosts: hosts(text("add-hosts"))?,
        source_date_epoch: args
            .get("SOURCE_DATE_EPOCH")
            .filter(|it| !it.is_empty())
            .map(|it| it.parse())
            .transpose()
            .map_err(|it| {
                invalid(format!("invalid SOURCE_DATE_EPOCH: {it}"))
            })?,
        allow: allow
            .collect::<std::result::Result<_, String>>()
            .map_err(invalid)?,
        args,
        ..BuildOptions::default()
    };
    let limits = RunLimits {
        cgroup_parent: some("cgroup-parent"),
        shm_size: some("shm-size").map(|it| it.parse()).transpose().map_err(
            |_| invalid(format!("invalid shm-size: {}", text("shm-size"))),
        )?,
        ulimits: ulimits(text("ulimit"))?,
        ..RunLimits::default()
    };
    Ok(Request { options, limits, ..Request::default() })
}

/// Only the frontend that this engine's builder stands for.
pub(super) fn check_frontend(name: &str, attrs: &Attrs) -> Result<()> {
    let source = attrs.get("source").map_or("", String::as_str);
    let known = match name {
        "dockerfile.v0" => true,
        "gateway.v0" => is_dockerfile(source),
        _ => false,
    };
    match known {
        true => Ok(()),
        false => Err(unsupported(format!(
            "frontend {name} {source} is not supported: this engine builds \
             Dockerfiles (dockerfile.v0, or an image docker/dockerfile)"
        ))),
    }
}

/// `docker/dockerfile:1` and its like, which say what this builder does.
fn is_dockerfile(source: &str) -> bool {
    let names = ["docker/dockerfile", "docker/dockerfile-upstream"];
    source
        .parse::<Reference>()
        .is_ok_and(|it| names.contains(&it.repository().familiar().as_str()))
}

/// What is known and not done is refused by name.
fn refuse(attrs: &Attrs) -> Result<()> {
    let text = |name: &str| attrs.get(name).map_or("", String::as_str);
    let why = if let Some(name) = attrs.get("requestid") {
        format!("unsupported request {name}: only builds are supported")
    } else if attrs.keys().any(|it| it.starts_with("attest:")) {
        "attestations (--provenance, --sbom) are not supported".to_owned()
    } else if text("platform").contains(',') {
        format!(
            "an image for several platforms ({}) is not supported: build one \
             after the other",
            text("platform")
        )
    } else if !text("no-cache").is_empty() {
        "--no-cache-filter is not supported: use --no-cache".to_owned()
    } else {
        return Ok(());
    };
    Err(unsupported(why))
}

/// The rest of the names that begin so, and the values.
pub(super) fn prefixed(attrs: &Attrs, prefix: &str) -> Attrs {
    let rest = |(name, value): (&String, &String)| {
        Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))
    };
    attrs.iter().filter_map(rest).collect()
}

/// `NAME=IP,NAME=IP` becomes `NAME:IP` each.
fn hosts(text: &str) -> Result<Vec<String>> {
    let pairs = text.split(',').filter(|it| !it.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, address)) => Ok(format!("{name}:{address}")),
            None => Err(invalid(format!("invalid key-value pair {pair}"))),
        })
        .collect()
}

/// `NAME=SOFT:HARD,…`; −1 is how clients write "unlimited".
fn ulimits(text: &str) -> Result<Vec<namespaces::Rlimit>> {
    let pairs = text.split(',').filter(|it| !it.is_empty());
    let limit = |pair: &str| {
        let (name, limits) = pair.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let amount = |text: &str| {
            let amount: i64 = text.parse().ok()?;
            Some(u64::try_from(amount).unwrap_or(u64::MAX))
        };
        let (soft, hard) = (amount(soft)?, amount(hard)?);
        Some(namespaces::Rlimit { name: name.to_owned(), soft, hard })
    };
    pairs
        .map(|pair| {
            limit(pair).ok_or_else(|| invalid(format!("invalid ulimit {pair}")))
        })
        .collect()
}

/// Images by name, in the field that old clients fill and the one of new
/// ones.
fn cache_from(attrs: &Attrs) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        r#type: String,
        attrs: Attrs,
    }
    let text = |name: &str| attrs.get(name).map_or("", String::as_str);
    let old = text("cache-from").split(',').filter(|it| !it.is_empty());
    let mut names: Vec<String> = old.map(str::to_owned).collect();
    if let Some(json) = attrs.get("cache-imports") {
        let entries: Vec<Entry> =
            serde_json::from_str(json).map_err(invalid)?;
        for Entry { r#type, attrs } in entries {
            match (r#type.as_str(), attrs.get("ref")) {
                ("registry", Some(name)) => names.push(name.clone()),
                (kind, _) => {
                    return Err(unsupported(format!(
                        "--cache-from type={kind} is not supported: name an \
                         image (type=registry,ref=NAME)"
                    )));
                }
            }
        }
    }
    Ok(names)
}

/// A value that is none. Without a code of its own: clients would put its
/// name before the text.
pub(super) fn invalid(cause: impl std::fmt::Display) -> Status {
    unknown(cause)
}

/// Something known that is not done here.
pub(super) fn unsupported(text: impl std::fmt::Display) -> Status {
    unknown(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(pairs: &[(&str, &str)]) -> Attrs {
        let own = |(a, b): &(&str, &str)| (a.to_string(), b.to_string());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn what_buildx_says_is_understood() {
        let attrs = attrs(&[
            ("target", "a"),
            ("build-arg:V", "1"),
            ("label:l", "x=y"),
            ("no-cache", ""),
            ("image-resolve-mode", "pull"),
            ("force-network-mode", "none"),
            ("add-hosts", "h=1.2.3.4,i=::1"),
            ("shm-size", "65536"),
            ("ulimit", "nofile=1024:2048,core=-1:-1"),
            ("cgroup-parent", "/p"),
            ("platform", "linux/amd64"),
            ("cache-imports", r#"[{"Type":"registry","Attrs":{"ref":"i"}}]"#),
        ]);
        let request = request(&attrs, &["network.host".to_owned()]).unwrap();
        let options = &request.options;
        assert_eq!(options.target.as_deref(), Some("a"));
        assert_eq!(options.args["V"], "1");
        assert_eq!(options.labels["l"], "x=y");
        assert!(options.no_cache && options.pull);
        assert_eq!(options.network.as_deref(), Some("none"));
        assert_eq!(options.add_hosts, ["h:1.2.3.4", "i:::1"]);
        assert_eq!(options.cache_also_from, ["i"]);
        assert_eq!(options.allow.len(), 1);
        let limits = &request.limits;
        assert_eq!(limits.shm_size, Some(65536));
        assert_eq!(limits.cgroup_parent.as_deref(), Some("/p"));
        assert_eq!(limits.ulimits[0].hard, 2048);
        assert_eq!(limits.ulimits[1].soft, u64::MAX);
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let said = |pairs: &[(&str, &str)]| {
            request(&attrs(pairs), &[]).unwrap_err().message().to_owned()
        };
        insta::assert_snapshot!([
            said(&[("requestid", "frontend.outline")]),
            said(&[("attest:sbom", "")]),
            said(&[("platform", "linux/amd64,linux/arm64")]),
            said(&[("no-cache", "build")]),
            said(&[("cache-imports", r#"[{"Type":"gha","Attrs":{}}]"#)]),
            said(&[("ulimit", "nofile")]),
            said(&[("add-hosts", "h")]),
            said(&[("shm-size", "1g")]),
        ].join("\n"), @r#"
        unsupported request frontend.outline: only builds are supported
        attestations (--provenance, --sbom) are not supported
        an image for several platforms (linux/amd64,linux/arm64) is not supported: build one after the other
        --no-cache-filter is not supported: use --no-cache
        --cache-from type=gha is not supported: name an image (type=registry,ref=NAME)
        invalid ulimit nofile
        invalid key-value pair h
        invalid shm-size: 1g
        "#);
    }

    #[test]
    fn a_frontend_of_another_kind_is_refused() {
        let check = |name: &str, source: &str| {
            check_frontend(name, &attrs(&[("source", source)]))
        };
        check("dockerfile.v0", "").unwrap();
        check("gateway.v0", "docker/dockerfile:1.7-labs").unwrap();
        check("gateway.v0", "docker.io/docker/dockerfile@sha256:0123456789012345678901234567890123456789012345678901234567890123").unwrap();
        assert!(check("gateway.v0", "example.org/mine").is_err());
        assert!(check("llb", "").is_err());
    }
}
