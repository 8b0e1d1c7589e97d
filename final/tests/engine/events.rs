//! What happened, also before this daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{EventMessage, EventMessageTypeEnum, HostConfig};
use bollard::query_parameters::*;
use futures_util::{StreamExt, TryStreamExt};

use super::daemon::{Daemon, sh};

/// The actions of a container from the beginning until now.
pub(crate) async fn history(daemon: &Daemon, container: &str) -> Vec<String> {
    let filters = [("container".to_owned(), vec![container.to_owned()])];
    let now = jiff::Timestamp::now().as_second() + 1;
    let options = EventsOptionsBuilder::default()
        .since("0")
        .until(&now.to_string())
        .filters(&filters.into_iter().collect())
        .build();
    let all: Vec<EventMessage> =
        daemon.docker.events(Some(options)).try_collect().await.unwrap();
    all.into_iter().filter_map(|event| event.action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_survives_a_killed_daemon_and_is_longer_than_dockers() {
    let test = "the_history_survives_a_killed_daemon";
    let Some(mut daemon) = Daemon::start(test).await else { return };
    daemon.run("first", sh("exit 3")).await;
    daemon.wait("first").await;
    for round in 0..300 {
        let name = format!("n{}", round % 2);
        daemon.create(&name, sh("true")).await;
        daemon.remove(&name).await;
    }
    daemon.kill_and_restart(Duration::ZERO);
    let actions = history(&daemon, "first").await;
    assert_eq!(actions, ["create", "start", "die"]);
    daemon.remove("first").await;
}

/// The killer takes a child; the container itself goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_for_memory_is_told_while_the_container_lives() {
    let test = "a_process_killed_for_memory_is_told";
    let Some(daemon) = Daemon::start(test).await else { return };
    let filters = [("event".to_owned(), vec!["oom".to_owned()])];
    let options = EventsOptionsBuilder::default()
        .filters(&filters.into_iter().collect())
        .build();
    let docker = daemon.docker.clone();
    let told = tokio::spawn(async move {
        let mut events = std::pin::pin!(docker.events(Some(options)));
        events.next().await.unwrap().unwrap()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let line = "busybox tail -c 80000000 /dev/zero & wait $!; sleep 60";
    let mut body = sh(line);
    body.host_config = Some(HostConfig {
        memory: Some(16 << 20),
        memory_swap: Some(16 << 20),
        network_mode: Some("none".to_owned()),
        ..HostConfig::default()
    });
    daemon.run("aa", body).await;
    let patience = Duration::from_secs(20);
    let event = tokio::time::timeout(patience, told).await.unwrap().unwrap();
    let actor = event.actor.unwrap();
    assert_eq!(actor.attributes.unwrap()["name"], "aa");
    assert_eq!(daemon.status("aa").await, "running");
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_rm_that_never_ran_goes_with_its_daemon() {
    let test = "a_container_of_rm_that_never_ran_goes_with_its_daemon";
    let Some(mut daemon) = Daemon::start(test).await else { return };
    let mut body = sh("true");
    body.host_config.as_mut().unwrap().auto_remove = Some(true);
    daemon.create("aa", body).await;
    daemon.kill_and_restart(Duration::ZERO);
    daemon
        .until("it is gone", async |daemon| {
            daemon.docker.inspect_container("aa", None).await.is_err()
        })
        .await;
}

/// What a program does that keeps a list of volumes by the events alone.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_prunes_are_told_of_with_dockers_words() {
    let test = "events of volumes and prunes";
    let Some(daemon) = Daemon::start(test).await else { return };
    let mut body = sh("true");
    body.host_config.as_mut().unwrap().binds =
        Some(vec!["data:/data:ro".to_owned()]);
    let id = daemon.run("aa", body).await;
    daemon.wait("aa").await;
    let docker = &daemon.docker;
    docker.prune_containers(None::<PruneContainersOptions>).await.unwrap();
    let all = [("all".to_owned(), vec!["true".to_owned()])];
    let all = PruneVolumesOptionsBuilder::default()
        .filters(&all.into_iter().collect())
        .build();
    docker.prune_volumes(Some(all)).await.unwrap();
    docker.prune_images(None::<PruneImagesOptions>).await.unwrap();
    docker.prune_networks(None::<PruneNetworksOptions>).await.unwrap();
    docker.prune_build(None::<PruneBuildOptions>).await.unwrap();
    let now = jiff::Timestamp::now().as_second() + 1;
    let options = EventsOptionsBuilder::default()
        .since("0")
        .until(&now.to_string())
        .build();
    let told: Vec<EventMessage> =
        docker.events(Some(options)).try_collect().await.unwrap();
    let told: Vec<_> = told
        .into_iter()
        .filter(|it| {
            let verb = it.action.as_deref();
            verb == Some("prune")
                || it.typ == Some(EventMessageTypeEnum::VOLUME)
        })
        .map(|it| {
            let actor = it.actor.unwrap();
            let more: BTreeMap<_, _> =
                actor.attributes.unwrap().into_iter().collect();
            let (kind, verb) = (it.typ.unwrap(), it.action.unwrap());
            format!("{kind} {verb} {} {more:?}", actor.id.unwrap())
        })
        .collect();
    let told = told.join("\n").replace(&id, "[ID]");
    insta::assert_snapshot!(told);
}
