//! `POST /build`, as the docker command without buildx uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use cgroups::Limits;
use cli_api::server::{ApiError, Params};
use http::HeaderMap;
use layers::build::BuildOptions;

use super::blocking;
use super::images::platform;
use super::streams::{self, Query};
use crate::engine::build::{
    FILTERS, Prune, Request, RunLimits, fetch, receive, tags,
};
use crate::engine::config::Ulimit;
use crate::engine::filters::Filters;
use crate::engine::images::auth::Logins;
use crate::engine::{Engine, Error};

/// The header with the contents of `--secret`.
pub(crate) const SECRETS: &str = "x-skiff-build-secrets";

type Shared = State<Arc<Engine>>;
type Pairs = Params<Vec<(String, String)>>;

/// Everything about building.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/build", post(build))
        .route("/build/prune", post(prune))
}

async fn build(
    State(engine): Shared,
    Params(query): Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let query = Query(query);
    let mut request = match asked(&query, &headers) {
        Ok(request) => request,
        Err(error) => {
            streams::drain(body).await;
            return Err(error);
        }
    };
    let remote = query.get("remote").to_owned();
    let tar = streams::upload(body);
    streams::lines(engine, move |engine, progress| {
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
        engine.build(context.path(), &request, progress)
    })
    .await
}

fn asked(query: &Query, headers: &HeaderMap) -> Result<Request, ApiError> {
    refuse(query)?;
    let mut options = options(query)?;
    options.secrets = secrets(headers)?;
    Ok(Request {
        options,
        quiet: query.flag("q"),
        explain: query.flag("explain"),
        limits: limits(query)?,
        hold_failed: query.get("keepfailed") == "held",
        logins: Logins::from_headers(headers),
    })
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
    let why = if query.get("version") == "2" {
        "BuildKit sessions (version=2) are not supported; set \
         DOCKER_BUILDKIT=0"
    } else if remote == "client-session" {
        "a build context by session is not supported; set DOCKER_BUILDKIT=0"
    } else if !query.get("outputs").is_empty() {
        "--output wants a BuildKit session, which is not supported; use skiff \
         build --output"
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
    let epoch = args.get("SOURCE_DATE_EPOCH");
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
        source_date_epoch: epoch.and_then(|text| text.parse().ok()),
        args,
        ..BuildOptions::default()
    })
}

/// Secrets by id, in a header as passwords are: a query would end up in logs.
/// Only our own client sends it; others have sessions for this.
fn secrets(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<u8>>, ApiError> {
    let Some(header) = headers.get(SECRETS) else {
        return Ok(BTreeMap::new());
    };
    let secrets = URL_SAFE
        .decode(header.as_bytes())
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    secrets.ok_or_else(|| {
        ApiError::bad_request(format!("invalid header {SECRETS}"))
    })
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
    fn what_is_not_done_is_refused_by_name() {
        let session = "remote=client-session";
        for text in ["version=2", session, "outputs=%5B1%5D"] {
            assert!(refuse(&query(text)).is_err(), "{text}");
        }
    }
}
