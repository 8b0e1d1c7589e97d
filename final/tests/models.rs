//! Every JSON answer is one that Docker's own description of the API knows.
//!
//! bollard's types are made from that description. Each answer is read into
//! its type: a field that the type demands and we do not send fails, and so
//! does one that we send and the type does not know.

mod common;
#[allow(dead_code, reason = "more than these tests need")]
#[path = "engine/daemon.rs"]
mod daemon;

use bollard::models::*;
use cli_api::client::{Client, Payload};
use daemon::Daemon;
use http::Method;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// bollard's types are those of API 1.53. We speak 1.51, in which these
/// fields were still there; 1.52 took them away. Path and fields:
const GONE_LATER: &[(&str, &[&str])] = &[
    (
        "/containers/rich/json",
        &[
            "NetworkSettings.?.Bridge",
            "NetworkSettings.?.EndpointID",
            "NetworkSettings.?.Gateway",
            "NetworkSettings.?.GlobalIPv6Address",
            "NetworkSettings.?.GlobalIPv6PrefixLen",
            "NetworkSettings.?.HairpinMode",
            "NetworkSettings.?.IPAddress",
            "NetworkSettings.?.IPPrefixLen",
            "NetworkSettings.?.IPv6Gateway",
            "NetworkSettings.?.LinkLocalIPv6Address",
            "NetworkSettings.?.LinkLocalIPv6PrefixLen",
            "NetworkSettings.?.MacAddress",
            "NetworkSettings.?.SecondaryIPAddresses",
            "NetworkSettings.?.SecondaryIPv6Addresses",
        ],
    ),
    ("/networks", &["Containers"]),
    ("/images/busybox/json", &["DockerVersion", "Parent"]),
    ("/images/built/json", &["DockerVersion", "Parent"]),
    (
        "/system/df",
        &["BuildCache", "Containers", "Images", "LayersSize", "Volumes"],
    ),
    ("/info", &["BridgeNfIp6tables", "BridgeNfIptables"]),
    ("/events", &["from", "id", "status"]),
];

/// Asks, and keeps what is wrong with the answers.
struct Asker {
    client: Client,
    asked: usize,
    wrong: Vec<String>,
}

impl Asker {
    /// Sends a request and reads each JSON value of the answer as a `T`.
    /// Returns the last one.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Payload,
    ) -> Value {
        let answer = self.client.send(method, path, body).await;
        let answer = answer.unwrap_or_else(|why| panic!("{path}: {why}"));
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let values = serde_json::Deserializer::from_slice(&bytes);
        let mut last = Value::Null;
        let mut count = 0;
        for value in values.into_iter::<Value>() {
            last = value.unwrap_or_else(|why| panic!("{path}: {why}"));
            self.compare::<T>(path, &last);
            count += 1;
        }
        assert!(count > 0, "{path}: no JSON in {bytes:?}");
        self.asked += 1;
        last
    }

    fn compare<T: DeserializeOwned>(&mut self, path: &str, value: &Value) {
        let mut unknown = Vec::new();
        let read: Result<T, _> = serde_ignored::deserialize(value, |field| {
            unknown.push(field.to_string());
        });
        if let Err(why) = read {
            self.wrong.push(format!("{path}: {why} in {value}"));
        }
        let path = path.split('?').next().unwrap_or(path);
        let gone = GONE_LATER.iter().find(|(at, _)| *at == path);
        let gone = gone.map_or(&[][..], |(_, fields)| *fields);
        for field in unknown {
            // In a list, the number of the item comes first.
            let number = |it: char| it.is_ascii_digit() || it == '.';
            if !gone.contains(&field.trim_start_matches(number)) {
                self.wrong.push(format!("{path}: unknown field {field}"));
            }
        }
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Value {
        self.ask::<T>(Method::GET, path, Payload::none()).await
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: Value,
    ) -> Value {
        let body = Payload::json(&body).unwrap();
        self.ask::<T>(Method::POST, path, body).await
    }

    async fn upload<T: DeserializeOwned>(
        &mut self,
        path: &str,
        tar: Vec<u8>,
    ) -> Value {
        let piece = futures_util::stream::iter([Ok(tar.into())]);
        let body = Payload::stream("application/x-tar", piece);
        self.ask::<T>(Method::POST, path, body).await
    }

    async fn delete<T: DeserializeOwned>(&mut self, path: &str) -> Value {
        self.ask::<T>(Method::DELETE, path, Payload::none()).await
    }

    /// A request whose answer has no JSON in it.
    async fn done(&self, method: Method, path: &str, body: Value) {
        let body = match body {
            Value::Null => Payload::none(),
            body => Payload::json(&body).unwrap(),
        };
        let answer = self.client.send(method, path, body).await;
        answer.unwrap_or_else(|why| panic!("{path}: {why}"));
    }
}

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A container with something in as many fields as possible.
fn rich() -> Value {
    json!({
        "Image": "busybox",
        "Cmd": ["sh", "-c", "touch /new; echo hi; exec sleep 60"],
        "Env": ["A=b"],
        "Labels": { "a": "b" },
        "ExposedPorts": { "81/tcp": {} },
        "Volumes": { "/anonymous": {} },
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 50_000_000 },
        "StopSignal": "SIGKILL",
        "StopTimeout": 1,
        "HostConfig": {
            "NetworkMode": "net",
            "PortBindings": { "80/tcp": [{ "HostPort": "0" }] },
            "Binds": ["vol:/data", "/tmp:/host:ro"],
            "Mounts": [{ "Type": "tmpfs", "Target": "/memory" }],
            "Tmpfs": { "/more": "size=1m" },
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
            "Ulimits": [{ "Name": "nofile", "Soft": 100, "Hard": 200 }],
            "Memory": 64 << 20,
            "LogConfig": { "Type": "json-file", "Config": {} },
        },
        "NetworkingConfig": {
            "EndpointsConfig": { "net": { "Aliases": ["me"] } },
        },
    })
}

async fn networks_and_volumes(asker: &mut Asker) {
    let subnet = json!({ "Config": [{ "Subnet": "10.79.0.0/24" }] });
    let wish = json!({ "Name": "net", "IPAM": subnet, "Labels": { "a": "b" } });
    asker.post::<NetworkCreateResponse>("/networks/create", wish).await;
    asker.post::<Volume>("/volumes/create", json!({ "Name": "vol" })).await;
    asker.get::<VolumeListResponse>("/volumes").await;
    asker.get::<Volume>("/volumes/vol").await;
}

async fn containers(asker: &mut Asker) {
    let create = "/containers/create?name=rich";
    asker.post::<ContainerCreateResponse>(create, rich()).await;
    asker.get::<ContainerInspectResponse>("/containers/rich/json").await;
    asker.done(Method::POST, "/containers/rich/start", Value::Null).await;
    asker.get::<ContainerInspectResponse>("/containers/rich/json?size=1").await;
    asker.get::<Vec<ContainerSummary>>("/containers/json?size=1").await;
    asker.get::<ContainerTopResponse>("/containers/rich/top").await;
    asker
        .get::<ContainerStatsResponse>("/containers/rich/stats?stream=0")
        .await;
    asker.get::<Vec<FilesystemChange>>("/containers/rich/changes").await;
    asker.get::<NetworkInspect>("/networks/net").await;
    asker.get::<Vec<Network>>("/networks").await;
    let limits = json!({ "Memory": 128 << 20 });
    let update = "/containers/rich/update";
    asker.post::<ContainerUpdateResponse>(update, limits).await;
    let exec = json!({ "Cmd": ["sleep", "60"] });
    let exec = asker.post::<IdResponse>("/containers/rich/exec", exec).await;
    let exec = exec["Id"].as_str().unwrap();
    asker.get::<ExecInspectResponse>(&format!("/exec/{exec}/json")).await;
    let detached = json!({ "Detach": true });
    let start = format!("/exec/{exec}/start");
    asker.done(Method::POST, &start, detached).await;
    asker.get::<ExecInspectResponse>(&format!("/exec/{exec}/json")).await;
}

async fn images(asker: &mut Asker) {
    asker.get::<Vec<ImageSummary>>("/images/json?all=1&shared-size=1").await;
    asker.get::<ImageInspect>("/images/busybox/json").await;
    asker.get::<Vec<ImageHistoryResponseItem>>("/images/busybox/history").await;
    let commit = "/commit?container=rich&repo=committed";
    asker.post::<IdResponse>(commit, json!({})).await;
    let context =
        tar_of(&[("Dockerfile", "FROM busybox\nLABEL a=b\nCMD [\"true\"]\n")]);
    asker.upload::<BuildInfo>("/build?t=built", context).await;
    asker.get::<ImageInspect>("/images/built/json").await;
    let import = "/images/create?fromSrc=-&repo=imported";
    asker.upload::<CreateImageInfo>(import, tar_of(&[("f", "")])).await;
    let removed = "/images/imported";
    asker.delete::<Vec<ImageDeleteResponseItem>>(removed).await;
    asker.get::<SystemDataUsageResponse>("/system/df").await;
}

async fn system(asker: &mut Asker) {
    asker.get::<SystemVersion>("/version").await;
    asker.get::<SystemInfo>("/info").await;
    asker.get::<Vec<Plugin>>("/plugins").await;
    let until = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    asker.get::<EventMessage>(&format!("/events?since=0&until={until}")).await;
}

async fn ends(asker: &mut Asker) {
    asker.done(Method::POST, "/containers/rich/kill", Value::Null).await;
    let wait = "/containers/rich/wait";
    asker.post::<ContainerWaitResponse>(wait, Value::Null).await;
    asker.get::<ContainerInspectResponse>("/containers/rich/json").await;
    let prunes = "/containers/prune";
    asker.post::<ContainerPruneResponse>(prunes, Value::Null).await;
    asker.post::<ImagePruneResponse>("/images/prune", Value::Null).await;
    asker.post::<BuildPruneResponse>("/build/prune", Value::Null).await;
    asker.post::<NetworkPruneResponse>("/networks/prune", Value::Null).await;
    asker.post::<VolumePruneResponse>("/volumes/prune", Value::Null).await;
}

#[tokio::test]
async fn every_json_answer_is_of_its_type_and_has_nothing_more() {
    let test = "models";
    let Some(daemon) = Daemon::start_in_own_network(test).await else {
        return;
    };
    let host = format!("unix://{}", daemon.socket().display());
    let client = Client::new(host.parse().unwrap());
    let mut asker = Asker { client, asked: 0, wrong: Vec::new() };
    networks_and_volumes(&mut asker).await;
    containers(&mut asker).await;
    images(&mut asker).await;
    system(&mut asker).await;
    ends(&mut asker).await;
    println!("{} answers", asker.asked);
    assert!(asker.wrong.is_empty(), "{:#?}", asker.wrong);
}
