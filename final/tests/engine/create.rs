//! Requests as unusual clients send them, and what the engine says to them.

use cli_api::client::Client;
use serde_json::{Value, json};

use super::daemon::{Daemon, sh};

fn client(daemon: &Daemon) -> Client {
    let host = format!("unix://{}", daemon.socket().display());
    Client::new(host.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_fields_may_come_in_any_case_as_go_reads_them() {
    let test = "names_of_fields_may_come_in_any_case";
    let Some(daemon) = Daemon::start(test).await else { return };
    let client = client(&daemon);
    let body = json!({
        "image": "busybox",
        "CMD": ["true"],
        "hostconfig": { "networkmode": "none", "memory": 67108864 },
        "labels": { "image": "x" },
    });
    let created: Value =
        client.post("/containers/create", &body).await.unwrap();
    let path = format!("/containers/{}/json", created["Id"].as_str().unwrap());
    let shown: Value = client.get(&path).await.unwrap();
    assert_eq!(shown["HostConfig"]["Memory"], 67_108_864);
    assert_eq!(shown["Config"]["Labels"]["image"], "x");
    daemon.remove(created["Id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_and_is_left_out_is_warned_of() {
    let test = "what_cannot_be_had_and_is_left_out_is_warned_of";
    let Some(daemon) = Daemon::start(test).await else { return };
    let body = json!({
        "Image": "busybox",
        "HostConfig": { "NetworkMode": "host", "PublishAllPorts": true },
    });
    let path = "/containers/create?name=aa";
    let created: Value = client(&daemon).post(path, &body).await.unwrap();
    let warning = "Published ports are discarded when using host network mode";
    assert_eq!(created["Warnings"], json!([warning]));
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_removed_and_both_containers_stay() {
    let test = "a_link_is_removed_and_both_containers_stay";
    let Some(daemon) = Daemon::start(test).await else { return };
    let client = client(&daemon);
    daemon.create("db", sh("true")).await;
    let body = json!({
        "Image": "busybox",
        "HostConfig": { "Links": ["db:store"] },
    });
    let path = "/containers/create?name=web";
    let _: Value = client.post(path, &body).await.unwrap();
    let links = async || {
        let shown: Value = client.get("/containers/web/json").await.unwrap();
        shown["HostConfig"]["Links"].clone()
    };
    assert_eq!(links().await, json!(["/db:/web/store"]));
    let wrong = client.delete("/containers/web/odd?link=1").await;
    assert_eq!(wrong.unwrap_err().status(), Some(404));
    client.delete("/containers/web/store?link=1").await.unwrap();
    assert_eq!(links().await, json!([]));
    daemon.remove("web").await;
    daemon.remove("db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_only_fail_later_is_refused_at_once() {
    let test = "what_could_only_fail_later_is_refused_at_once";
    let Some(daemon) = Daemon::start(test).await else { return };
    let client = client(&daemon);
    for (more, why) in [
        (
            json!({ "Volumes": { "rel": {} } }),
            "invalid mount config for type \"volume\": invalid mount path: \
             'rel' mount path must be absolute",
        ),
        (json!({ "MacAddress": "zz" }), "invalid MAC address: zz"),
        (json!({ "HostConfig": { "Dns": ["x"] } }), "invalid DNS address: x"),
        (
            json!({ "ExposedPorts": { "x/tcp": {} } }),
            "invalid port specification: \"x\"",
        ),
    ] {
        let mut body = json!({ "Image": "busybox", "Cmd": ["true"] });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let refused = client.post::<_, Value>("/containers/create", &body);
        let error = refused.await.unwrap_err();
        assert_eq!(error.status(), Some(400));
        assert!(error.to_string().contains(why), "{error}");
    }
    daemon.create("aa", sh("true")).await;
    for (path, why) in [
        ("wait?condition=bogus", "invalid condition: \"bogus\""),
        ("resize?h=x&w=1", "invalid resize height \"x\": invalid syntax"),
        (
            "resize?h=1&w=99999",
            "invalid resize width \"99999\": value out of range",
        ),
        ("stop?t=x", "strconv.Atoi: parsing \"x\": invalid syntax"),
    ] {
        let path = format!("/containers/aa/{path}");
        let none = json!({});
        let refused = client.post::<_, Value>(&path, &none);
        let error = refused.await.unwrap_err();
        assert_eq!(error.status(), Some(400));
        assert!(error.to_string().contains(why), "{error}");
    }
    daemon.remove("aa").await;
}
