//! What a program does with an engine besides running containers: it
//! builds, copies, listens, connects and keeps.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    EndpointSettings, EventMessage, HostConfig, Mount, MountType,
    NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest,
};
use bollard::query_parameters::*;
use futures_util::{StreamExt, TryStreamExt};

use super::daemon::{Daemon, sh};

/// A tar of small files.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn none<T>() -> Option<T> {
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_from_a_context_and_runs() {
    let test = "an_image_is_built_from_a_context_and_runs";
    let Some(daemon) = Daemon::start(test).await else { return };
    let context = tar_of(&[
        (
            "Dockerfile",
            "FROM busybox\nARG A\nLABEL a=$A\nCOPY f /f\n\
             RUN echo \"$A\" >>/f\nCMD [\"cat\", \"/f\"]\n",
        ),
        ("f", "text\n"),
    ]);
    let arguments = HashMap::from([("A".to_owned(), "b".to_owned())]);
    let options = BuildImageOptionsBuilder::default()
        .t("built:1")
        .networkmode("none")
        .buildargs(&arguments)
        .build();
    let context = bollard::body_full(context.into());
    let lines: Vec<_> = daemon
        .docker
        .build_image(options, None, Some(context))
        .try_collect()
        .await
        .unwrap();
    let said: String =
        lines.iter().filter_map(|it| it.stream.clone()).collect();
    assert!(said.contains("Step 6/6 : CMD"), "{said}");
    assert!(said.contains("Successfully tagged built:1\n"), "{said}");
    let id = lines.into_iter().find_map(|line| line.aux?.id);
    let image = daemon.docker.inspect_image("built:1").await.unwrap();
    assert_eq!(image.id, id);
    let mut body = sh("");
    (body.image, body.cmd) = (image.id, None);
    daemon.run("aa", body).await;
    assert_eq!(daemon.wait("aa").await, 0);
    assert_eq!(daemon.logs("aa").await, "text\nb\n");
    daemon.remove("aa").await;
    let removed = daemon.docker.remove_image(
        "built:1",
        none::<RemoveImageOptions>(),
        None,
    );
    assert!(!removed.await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_come_out_with_their_owner_and_mode() {
    let test = "files_go_in_and_come_out";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon
        .create("aa", sh("ls -ln /tmp/f; cat /tmp/f; echo more >>/tmp/f"))
        .await;
    let into = UploadToContainerOptionsBuilder::default().path("/tmp").build();
    let tar = bollard::body_full(tar_of(&[("f", "copied\n")]).into());
    daemon.docker.upload_to_container("aa", Some(into), tar).await.unwrap();
    daemon.docker.start_container("aa", None).await.unwrap();
    assert_eq!(daemon.wait("aa").await, 0);
    let printed = daemon.logs("aa").await;
    assert!(printed.starts_with("-rw-r-----"), "{printed}");
    assert!(printed.ends_with("/tmp/f\ncopied\n"), "{printed}");
    let from =
        DownloadFromContainerOptionsBuilder::default().path("/tmp/f").build();
    let pieces: Vec<_> = daemon
        .docker
        .download_from_container("aa", Some(from))
        .try_collect()
        .await
        .unwrap();
    let bytes = pieces.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path_bytes().as_ref(), b"f");
    assert_eq!(entry.header().uid().unwrap(), 7);
    assert_eq!(entry.header().gid().unwrap(), 8);
    assert_eq!(std::io::read_to_string(entry).unwrap(), "copied\nmore\n");
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_while_they_happen() {
    let test = "events_are_told_while_they_happen";
    let Some(daemon) = Daemon::start(test).await else { return };
    let filters =
        HashMap::from([("label".to_owned(), vec!["watched".to_owned()])]);
    // What happens before the stream has begun is told from memory.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let options = EventsOptionsBuilder::default()
        .filters(&filters)
        .since(&now.to_string())
        .build();
    let seen = daemon
        .docker
        .events(Some(options))
        .map_ok(|event: EventMessage| event.action.unwrap())
        .take(4)
        .try_collect::<Vec<_>>();
    let act = async {
        let mut body = sh("true");
        body.labels =
            Some(HashMap::from([("watched".to_owned(), String::new())]));
        daemon.create("other", sh("true")).await;
        daemon.run("aa", body).await;
        daemon.wait("aa").await;
        daemon.remove("aa").await;
        daemon.remove("other").await;
    };
    let limit = std::time::Duration::from_secs(60);
    let seen = tokio::time::timeout(limit, seen);
    let (seen, ()) = tokio::join!(seen, act);
    let seen = seen.expect("four events within a minute");
    assert_eq!(seen.unwrap(), ["create", "start", "die", "destroy"]);
}

#[tokio::test]
async fn containers_of_a_network_find_each_other_by_their_aliases() {
    let test = "containers_of_a_network_find_each_other";
    let Some(daemon) = Daemon::start_in_own_network(test).await else {
        return;
    };
    let network = NetworkCreateRequest {
        name: "net".to_owned(),
        labels: Some(HashMap::from([("a".to_owned(), "b".to_owned())])),
        ..NetworkCreateRequest::default()
    };
    let id = daemon.docker.create_network(network).await.unwrap().id;
    let on = |line: &str| {
        let mut body = sh(line);
        body.host_config = Some(HostConfig {
            network_mode: Some("net".to_owned()),
            ..HostConfig::default()
        });
        body
    };
    let mut server = sh("exec busybox nc -ll -p 80 -e busybox echo page");
    server.host_config = None;
    daemon.run("server", server).await;
    let alias = NetworkConnectRequest {
        container: "server".to_owned(),
        endpoint_config: Some(EndpointSettings {
            aliases: Some(vec!["web".to_owned()]),
            ..EndpointSettings::default()
        }),
    };
    daemon.docker.connect_network("net", alias).await.unwrap();
    let fetch = "until busybox nc web 80; do sleep 0.1; done";
    daemon.run("client", on(fetch)).await;
    assert_eq!(daemon.wait("client").await, 0);
    assert!(daemon.logs("client").await.ends_with("page\n"));
    let known = daemon
        .docker
        .inspect_network("net", none::<InspectNetworkOptions>())
        .await
        .unwrap();
    assert_eq!(known.id.as_deref(), Some(id.as_str()));
    assert_eq!(known.containers.unwrap().len(), 1, "only who runs");
    daemon.remove("server").await;
    daemon.remove("client").await;
    daemon.docker.remove_network("net").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_outlives_the_containers_that_write_to_it() {
    let test = "a_volume_outlives_the_containers";
    let Some(daemon) = Daemon::start(test).await else { return };
    let wanted = VolumeCreateRequest {
        name: Some("kept".to_owned()),
        ..VolumeCreateRequest::default()
    };
    let volume = daemon.docker.create_volume(wanted).await.unwrap();
    assert_eq!(
        (volume.name.as_str(), volume.driver.as_str()),
        ("kept", "local")
    );
    let with = |line: &str, read_only| {
        let mut body = sh(line);
        let host = body.host_config.as_mut().unwrap();
        host.mounts = Some(vec![Mount {
            target: Some("/data".to_owned()),
            source: Some("kept".to_owned()),
            typ: Some(MountType::VOLUME),
            read_only: Some(read_only),
            ..Mount::default()
        }]);
        body
    };
    daemon.run("aa", with("echo kept >/data/f", false)).await;
    assert_eq!(daemon.wait("aa").await, 0);
    daemon.remove("aa").await;
    daemon.run("bb", with("cat /data/f; touch /data/g", true)).await;
    assert_eq!(daemon.wait("bb").await, 1, "it is read-only");
    assert!(daemon.logs("bb").await.starts_with("kept\n"));
    let used =
        daemon.docker.remove_volume("kept", none::<RemoveVolumeOptions>());
    assert!(used.await.unwrap_err().to_string().contains("volume is in use"));
    daemon.remove("bb").await;
    let gone =
        daemon.docker.remove_volume("kept", none::<RemoveVolumeOptions>());
    gone.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_mounted_by_name_stays_when_its_container_removes_itself() {
    let test = "a_volume_mounted_by_name_stays";
    let Some(mut daemon) = Daemon::start(test).await else { return };
    // Its name is a random one, as an unnamed volume's.
    let volume =
        daemon.docker.create_volume(VolumeCreateRequest::default()).await;
    let name = volume.unwrap().name;
    let mut body = sh("echo kept >/data/f; sleep 1");
    let host = body.host_config.as_mut().unwrap();
    host.binds = Some(vec![format!("{name}:/data"), "/own".to_owned()]);
    host.auto_remove = Some(true);
    daemon.create("aa", body).await;
    let aa = daemon.docker.inspect_container("aa", None).await.unwrap();
    let mut mounts = aa.mounts.unwrap().into_iter();
    let own = mounts.find(|it| it.name.as_ref() != Some(&name));
    let own = own.and_then(|it| it.name).unwrap();
    daemon.docker.inspect_volume(&own).await.unwrap();
    daemon.docker.start_container("aa", None).await.unwrap();
    daemon.kill_and_restart(Duration::ZERO);
    daemon
        .until("it is gone", async |daemon| {
            daemon.docker.inspect_container("aa", None).await.is_err()
        })
        .await;
    let kept = daemon.docker.inspect_volume(&name).await.unwrap();
    let file = std::path::Path::new(&kept.mountpoint).join("f");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "kept\n");
    daemon.docker.inspect_volume(&own).await.unwrap_err();
}
