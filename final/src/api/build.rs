//! `POST /build`, as the docker command without buildx uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cgroups::Limits;
use cli_api::server::{ApiError, Params};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use layers::build::{BuildOptions, Entitlement};
use serde::Deserialize;

use super::blocking;
use super::images::platform;
use super::streams::{self, Query};
use crate::buildkit::{SessionBuild, build_with_session};
use crate::engine::build::{
    FILTERS, Prune, Request, RunLimits, fetch, receive, tags,
};
use crate::engine::config::Ulimit;
use crate::engine::filters::Filters;
use crate::engine::images::auth::Logins;
use crate::engine::{Engine, Error};

/// How long the contents of all `--secret`s may be together, as JSON.
pub(crate) const MOST_SECRETS: u64 = 16 << 20;

type Shared = State<Arc<Engine>>;
type Pairs = Params<Vec<(String, String)>>;

/// Everything about building.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/build", post(build))
        .route("/build/prune", post(prune))
        .route("/build/cancel", post(cancel))
}

async fn build(
    State(engine): Shared,
    Params(query): Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let query = Query(query);
    if query.get("version") == "2" {
        return with_session(engine, &query);
    }
    let mut request = match asked(&query, &headers) {
        Ok(request) => request,
        Err(error) => {
            streams::drain(body).await;
            return Err(error);
        }
    };
    let remote = query.get("remote").to_owned();
    let length = secrets_length(&query)?;
    let mut tar = streams::upload(body);
    streams::lines(engine, move |engine, progress| {
        request.options.secrets = secrets(&mut tar, length)?;
        let context = match remote.as_str() {
            "" => receive(&engine.store, tar)?,
            url => fetch(&engine.store, url, progress, |text| {
                if !request.quiet {
                    progress.stream(text);
                }
            })?,
        };
        if let Some(dockerfile) = &context.dockerfile {
            request.options.dockerfile.clone_from(dockerfile);
        }
        engine.build(context.path(), request, progress)
    })
    .await
}

/// The session's client sends the files, so there is nothing in the body.
fn with_session(
    engine: Arc<Engine>,
    query: &Query,
) -> Result<Response, ApiError> {
    let asked = session_build(query)?;
    let lines = build_with_session(engine, asked).map(Ok::<_, io::Error>);
    Ok(streams::json_lines(Body::from_stream(lines)))
}

/// The parameters by the names that BuildKit's frontend has for them.
fn session_build(query: &Query) -> Result<SessionBuild, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        r#type: String,
        attrs: Option<BTreeMap<String, String>>,
    }
    let unsupported =
        |text: &str| ApiError::from(Error::Unsupported(text.to_owned()));
    let mut attrs = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() {
            attrs.insert(name.to_owned(), value);
        }
    };
    match query.get("remote") {
        "client-session" => {}
        "upload-request" => {
            return Err(unsupported(
                "a build context from a pipe needs buildx, or \
                 DOCKER_BUILDKIT=0",
            ));
        }
        address => set("context", address.to_owned()),
    }
    set("filename", query.get("dockerfile").to_owned());
    set("target", query.get("target").to_owned());
    set("platform", query.get("platform").to_owned());
    set("cgroup-parent", query.get("cgroupparent").to_owned());
    let hosts = hosts(query).into_iter().map(|it| it.replacen(':', "=", 1));
    set("add-hosts", hosts.collect::<Vec<_>>().join(","));
    let cache: Vec<String> = query.json("cachefrom")?;
    set("cache-from", cache.join(","));
    if query.flag("pull") {
        set("image-resolve-mode", "pull".to_owned());
    }
    let network = query.get("networkmode");
    if !matches!(network, "" | "default") {
        set("force-network-mode", network.to_owned());
    }
    // An empty value is one.
    let mut pairs: Vec<(String, String)> = Vec::new();
    let args: BTreeMap<String, Option<String>> = query.json("buildargs")?;
    for (name, value) in args {
        pairs.extend(value.map(|it| (format!("build-arg:{name}"), it)));
    }
    let labels: BTreeMap<String, String> = query.json("labels")?;
    pairs.extend(
        labels.into_iter().map(|(name, it)| (format!("label:{name}"), it)),
    );
    if query.flag("nocache") {
        pairs.push(("no-cache".to_owned(), String::new()));
    }
    attrs.extend(pairs);
    let outputs: Vec<Output> = query.json("outputs")?;
    let mut outputs: Vec<_> = outputs
        .into_iter()
        .map(|it| (it.r#type, it.attrs.unwrap_or_default()))
        .collect();
    if outputs.is_empty() {
        let names = query.all("t").join(",");
        let name = [("name".to_owned(), names)].into();
        outputs.push(("moby".to_owned(), name));
    }
    let host = (network == "host").then(|| "network.host".to_owned());
    Ok(SessionBuild {
        session: query.get("session").to_owned(),
        attrs,
        entitlements: host.into_iter().collect(),
        outputs,
        quiet: query.flag("q"),
        id: query.get("buildid").to_owned(),
    })
}

fn asked(query: &Query, headers: &HeaderMap) -> Result<Request, ApiError> {
    refuse(query)?;
    Ok(Request {
        options: options(query)?,
        quiet: query.flag("q"),
        explain: query.flag("explain"),
        limits: limits(query)?,
        hold_failed: query.get("keepfailed") == "held",
        logins: Logins::from_headers(headers),
    })
}

/// For builds with a session; others end with their connection.
async fn cancel(State(engine): Shared, Params(query): Pairs) -> StatusCode {
    engine.running.cancel(Query(query).get("id"));
    StatusCode::OK
}

async fn prune(
    State(engine): Shared,
    Params(query): Pairs,
) -> Result<Response, ApiError> {
    let query = Query(query);
    let filters = Filters::parse(query.get("filters"), FILTERS)?;
    let bytes = |name: &str| match query.get(name) {
        "" | "0" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!(
                "{name} is in bytes and expects an integer, got {text}"
            ))
        }),
    };
    let prune = Prune {
        filters,
        // The name before API 1.48.
        reserved_space: bytes("reserved-space")?.or(bytes("keep-storage")?),
        max_used_space: bytes("max-used-space")?,
        min_free_space: bytes("min-free-space")?,
    };
    let pruned = blocking(move || engine.prune_build_cache(&prune));
    Ok(Json(pruned.await?).into_response())
}

/// What is known and not done is refused by name; silence would be worse.
fn refuse(query: &Query) -> Result<(), ApiError> {
    let remote = query.get("remote");
    let why = if remote == "client-session" {
        "a build context by session needs BuildKit (version=2)"
    } else if !query.get("outputs").is_empty() {
        "--output needs BuildKit (version=2)"
    } else if !query.get("isolation").is_empty()
        && query.get("isolation") != "default"
    {
        "--isolation is Windows' only"
    } else {
        return Ok(());
    };
    Err(ApiError::from(Error::Unsupported(why.to_owned())))
}

fn options(query: &Query) -> Result<BuildOptions, ApiError> {
    let given: BTreeMap<String, Option<String>> = query.json("buildargs")?;
    let args: BTreeMap<String, String> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let network = query.get("networkmode");
    let epoch = args.get("SOURCE_DATE_EPOCH").map_or("", String::as_str);
    Ok(BuildOptions {
        dockerfile: query.get("dockerfile").into(),
        target: Some(query.get("target").to_owned())
            .filter(|target| !target.is_empty()),
        tags: tags(&query.all("t"))?,
        labels: query.json("labels")?,
        no_cache: query.flag("nocache"),
        pull: query.flag("pull"),
        cache_from: query.json("cachefrom")?,
        network: Some(network.to_owned()).filter(|it| !it.is_empty()),
        platform: platform(query.get("platform"))?,
        add_hosts: hosts(query),
        squash: query.flag("squash"),
        keep_failed: query.flag("keepfailed"),
        ssh: query.json("ssh")?,
        source_date_epoch: streams::seconds(epoch)?,
        origin: query.get("origin").to_owned(),
        allow: allowed(query)?,
        args,
        ..BuildOptions::default()
    })
}

/// `allow=network.host`, perhaps several times: our own client's `--allow`.
fn allowed(query: &Query) -> Result<BTreeSet<Entitlement>, ApiError> {
    let all = query.all("allow");
    let all = all.iter().map(|text| text.parse());
    all.collect::<Result<_, String>>().map_err(ApiError::bad_request)
}

/// `secrets=LENGTH`: so many bytes of the body come before the context and
/// are secrets. A query would end up in logs, and a header has no room. Only
/// our own client sends them; others have sessions for this.
fn secrets_length(query: &Query) -> Result<u64, ApiError> {
    match query.get("secrets") {
        "" => Ok(0),
        text => {
            let length = text.parse().ok();
            length.filter(|it| *it <= MOST_SECRETS).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid parameter secrets: {text}"
                ))
            })
        }
    }
}

/// By their ids.
fn secrets(
    body: &mut impl Read,
    length: u64,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    if length == 0 {
        return Ok(BTreeMap::new());
    }
    let broken = |cause: &dyn std::fmt::Display| {
        Error::Invalid(format!("cannot read the secrets: {cause}"))
    };
    let mut json = Vec::new();
    body.take(length).read_to_end(&mut json).map_err(|it| broken(&it))?;
    let all: BTreeMap<String, String> =
        serde_json::from_slice(&json).map_err(|it| broken(&it))?;
    let decoded = all.into_iter().map(|(id, text)| {
        Ok((id, BASE64.decode(text).map_err(|it| broken(&it))?))
    });
    decoded.collect()
}

/// `a:1.2.3.4,b:…` in one parameter, or several of them.
fn hosts(query: &Query) -> Vec<String> {
    let all = query.all("extrahosts");
    let hosts = all.iter().flat_map(|text| text.split(','));
    hosts.filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn limits(query: &Query) -> Result<RunLimits, ApiError> {
    let number = |name: &str| -> Result<Option<i64>, ApiError> {
        match query.get(name) {
            "" | "0" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                let text = format!("invalid parameter {name}: {text}");
                ApiError::bad_request(text)
            }),
        }
    };
    let positive = |name: &str| -> Result<Option<u64>, ApiError> {
        Ok(number(name)?.and_then(|it| u64::try_from(it).ok()))
    };
    let words = |name: &str| {
        Some(query.get(name).to_owned()).filter(|it| !it.is_empty())
    };
    let cgroup = Limits {
        memory: positive("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: positive("cpushares")?,
        cpu_period: positive("cpuperiod")?,
        cpu_quota: number("cpuquota")?,
        cpuset_cpus: words("cpusetcpus"),
        cpuset_mems: words("cpusetmems"),
        ..Limits::default()
    };
    Ok(RunLimits {
        cgroup,
        cgroup_parent: words("cgroupparent"),
        shm_size: positive("shmsize")?,
        ulimits: ulimits(query)?,
    })
}

fn ulimits(query: &Query) -> Result<Vec<namespaces::Rlimit>, ApiError> {
    let list: Vec<Ulimit> = query.json("ulimits")?;
    // −1 is how clients write "unlimited".
    let amount = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let limits = list.into_iter().map(|it| namespaces::Rlimit {
        name: it.name,
        soft: amount(it.soft),
        hard: amount(it.hard),
    });
    Ok(limits.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        let uri = format!("/build?{text}").parse().unwrap();
        Query(axum::extract::Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn the_docker_commands_parameters_are_understood() {
        let query = query(
            "t=a%3A1&t=b&dockerfile=Dockerfile&buildargs=%7B%22V%22%3A%222%22\
             %2C%22E%22%3Anull%7D&nocache=1&cachefrom=%5B%22z%22%5D\
             &extrahosts=h%3A1.2.3.4&labels=%7B%7D&memory=0&version=1\
             &ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Hard%22%3A2%2C\
             %22Soft%22%3A1%7D%5D",
        );
        refuse(&query).unwrap();
        let options = options(&query).unwrap();
        assert_eq!(options.tags.len(), 2);
        assert_eq!(options.args.len(), 1);
        assert_eq!(options.cache_from, ["z"]);
        assert_eq!(options.add_hosts, ["h:1.2.3.4"]);
        assert!(options.no_cache && !options.pull);
        assert_eq!(limits(&query).unwrap().ulimits[0].hard, 2);
    }

    #[test]
    fn old_clients_say_null_for_an_empty_list() {
        let query = query("ulimits=null&cachefrom=null&buildargs=null");
        assert!(options(&query).unwrap().cache_from.is_empty());
        assert!(limits(&query).unwrap().ulimits.is_empty());
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        let said = |text: &str| {
            let error = options(&query(text)).unwrap_err();
            format!("{}: {}", error.status.as_u16(), error.message)
        };
        let epoch = "buildargs=%7B%22SOURCE_DATE_EPOCH%22%3A%22abc%22%7D";
        insta::assert_snapshot!(
            [epoch, "platform=foo", "allow=all"].map(said).join("\n"),
            @r#"
            400: invalid SOURCE_DATE_EPOCH: abc: it must be a number of seconds since 1970
            400: "foo": unknown operating system or architecture: invalid argument
            400: unknown entitlement all: network.host or security.insecure
            "#
        );
        assert_eq!(
            options(&query("allow=network.host")).unwrap().allow,
            [Entitlement::HostNetwork].into()
        );
    }

    #[test]
    fn secrets_come_before_the_context() {
        let json = br#"{"a":"eA=="}"#;
        let mut body = [json, &b"tar"[..]].concat();
        let mut rest = body.as_slice();
        let found = secrets(&mut rest, json.len() as u64).unwrap();
        assert_eq!(found, [("a".to_owned(), b"x".to_vec())].into());
        assert_eq!(rest, b"tar");
        body.truncate(3);
        assert!(secrets(&mut body.as_slice(), 12).is_err(), "cut off");
        for text in ["secrets=x", "secrets=99999999"] {
            assert!(secrets_length(&query(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let session = "remote=client-session";
        for text in [session, "outputs=%5B1%5D"] {
            assert!(refuse(&query(text)).is_err(), "{text}");
        }
    }
}
