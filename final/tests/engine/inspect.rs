//! What a person reads: the whole answer to inspect, IDs redacted.

use cli_api::client::Client;

use super::daemon::{Daemon, sh};

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_everything_docker_shows() {
    let Some(daemon) = Daemon::start("inspect_shows_everything").await else {
        return;
    };
    let id = daemon.create("web", sh("sleep 100")).await;
    // Bollard's type must be able to read it, and would drop what it does
    // not know; the snapshot is of what is sent.
    daemon.docker.inspect_container("web", None).await.unwrap();
    let host = format!("unix://{}", daemon.socket().display());
    let client = Client::new(host.parse().unwrap());
    let json: serde_json::Value =
        client.get("/containers/web/json").await.unwrap();
    let text = serde_json::to_string_pretty(&json).unwrap();
    let root = daemon.socket().with_file_name("root");
    let text = text
        .replace(&id, "[ID]")
        .replace(&id[..12], "[SHORT ID]")
        .replace(root.to_str().unwrap(), "[ROOT]");
    insta::with_settings!({filters => vec![
        (r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]"),
        (r"overlay2/[0-9a-f]{64}", "overlay2/[LAYER]"),
        (r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "[TIME]"),
    ]}, { insta::assert_snapshot!(text) });
    daemon.remove("web").await;
}
