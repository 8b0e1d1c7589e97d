//! Start, stop, pause, wait, remove; and what is refused.

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::*;
use futures_util::StreamExt;

use super::daemon::{Daemon, sh};

fn refusal<T>(result: Result<T, Error>) -> (u16, String) {
    match result {
        Err(Error::DockerResponseServerError { status_code, message }) => {
            (status_code, message)
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was done"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_logs_ends_and_goes() {
    let Some(daemon) = Daemon::start("a_container_runs").await else { return };
    let body = sh("echo out; echo err >&2; exit 3");
    daemon.run("aa", body).await;
    assert_eq!(daemon.wait("aa").await, 3);
    assert_eq!(daemon.status("aa").await, "exited");
    let logs = daemon.logs("aa").await;
    assert!(logs.contains("out\n") && logs.contains("err\n"), "{logs}");
    daemon.remove("aa").await;
    let (status, text) =
        refusal(daemon.docker.inspect_container("aa", None).await);
    assert_eq!((status, text.as_str()), (404, "No such container: aa"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_that_cannot_be_is_refused_with_its_status() {
    let Some(daemon) = Daemon::start("each_step").await else { return };
    let docker = &daemon.docker;
    let id = daemon.create("aa", sh("sleep 100")).await;
    assert_eq!(refusal(docker.pause_container("aa").await).0, 409);
    assert_eq!(refusal(docker.kill_container("aa", None).await).0, 409);
    docker.start_container("aa", None).await.unwrap();
    let (status, text) = refusal(docker.remove_container("aa", None).await);
    assert_eq!(status, 409);
    assert_eq!(
        text,
        "cannot remove container \"/aa\": container is running: stop the \
         container before removing or force remove"
    );
    docker.pause_container("aa").await.unwrap();
    assert_eq!(daemon.status("aa").await, "paused");
    let (status, text) = refusal(docker.pause_container("aa").await);
    assert_eq!(status, 409);
    assert_eq!(text, format!("container {id} is already paused"));
    docker.unpause_container("aa").await.unwrap();
    let now = StopContainerOptionsBuilder::default().t(0).build();
    docker.stop_container("aa", Some(now)).await.unwrap();
    assert_eq!(daemon.status("aa").await, "exited");
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_given_once() {
    let Some(daemon) = Daemon::start("a_name_is_given_once").await else {
        return;
    };
    let id = daemon.create("aa", sh("true")).await;
    let again = CreateContainerOptionsBuilder::default().name("aa").build();
    let second = daemon.docker.create_container(Some(again), sh("true"));
    let (status, text) = refusal(second.await);
    assert_eq!(status, 409);
    assert!(text.contains(&format!("in use by container \"{id}\"")), "{text}");
    let bad = CreateContainerOptionsBuilder::default().name("a/b").build();
    let third = daemon.docker.create_container(Some(bad), sh("true"));
    assert_eq!(refusal(third.await).0, 400);
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_removals_one_succeeds_and_one_is_told() {
    let Some(daemon) = Daemon::start("of_two_removals").await else { return };
    for _ in 0..5 {
        let id = daemon.run("", sh("sleep 100")).await;
        let force = || {
            let options = RemoveContainerOptionsBuilder::default();
            Some(options.force(true).build())
        };
        let (one, two) = tokio::join!(
            daemon.docker.remove_container(&id, force()),
            daemon.docker.remove_container(&id, force()),
        );
        assert!(one.is_ok() ^ two.is_ok(), "{one:?} {two:?}");
        let (status, _) = refusal(one.and(two));
        assert!(status == 404 || status == 409, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_removal_ends_when_nothing_is_left() {
    let Some(daemon) = Daemon::start("waiting_for_removal").await else {
        return;
    };
    let mut body = sh("exit 5");
    body.host_config.as_mut().unwrap().auto_remove = Some(true);
    let id = daemon.create("aa", body).await;
    let removed =
        WaitContainerOptionsBuilder::default().condition("removed").build();
    let mut wait =
        std::pin::pin!(daemon.docker.wait_container(&id, Some(removed)));
    let (ended, started) =
        tokio::join!(wait.next(), daemon.docker.start_container(&id, None));
    started.unwrap();
    let code = match ended.unwrap() {
        Err(Error::DockerContainerWaitError { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code, 5);
    let gone = refusal(daemon.docker.inspect_container(&id, None).await);
    assert_eq!(gone.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_containers_at_once_all_run() {
    let Some(daemon) = Daemon::start("fifty_containers").await else { return };
    let runs = (0..50).map(async |number| {
        let name = format!("many-{number}");
        daemon.run(&name, sh(&format!("exit {number}"))).await;
        let code = daemon.wait(&name).await;
        daemon.remove(&name).await;
        code
    });
    let codes = futures_util::future::join_all(runs).await;
    assert_eq!(codes, (0..50).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_refused_by_name() {
    let Some(daemon) = Daemon::start("what_is_not_supported").await else {
        return;
    };
    let with = |host: HostConfig| ContainerCreateBody {
        host_config: Some(host),
        ..sh("true")
    };
    let bodies = [
        with(HostConfig { cpu_count: Some(2), ..HostConfig::default() }),
        with(HostConfig {
            runtime: Some("kata".to_owned()),
            ..HostConfig::default()
        }),
        with(HostConfig {
            storage_opt: Some([("size".to_owned(), "1G".to_owned())].into()),
            ..HostConfig::default()
        }),
        ContainerCreateBody { cmd: None, image: None, ..sh("true") },
    ];
    let mut said = String::new();
    for body in bodies {
        let (status, text) =
            refusal(daemon.docker.create_container(None, body).await);
        said += &format!("{status} {text}\n");
    }
    insta::assert_snapshot!(said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_without_a_cgroup_is_refused_at_once() {
    let test = "pause without a cgroup";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", sh("sleep 1000")).await;
    let about = daemon.docker.inspect_container("aa", None).await.unwrap();
    let dir = daemon.root().join("containers").join(about.id.unwrap());
    let path = dir.join("shim.json");
    let whole = std::fs::read(&path).unwrap();
    // As the shim of a user to whom no cgroup is delegated writes it.
    let mut record: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    assert!(record["cgroup"].take().is_object());
    std::fs::write(&path, record.to_string()).unwrap();
    let began = std::time::Instant::now();
    let (status, text) = refusal(daemon.docker.pause_container("aa").await);
    assert!(began.elapsed().as_secs() < 4);
    assert_eq!(status, 500);
    assert!(text.contains("has no cgroup of its own"), "{text}");
    std::fs::write(&path, whole).unwrap();
    daemon.remove("aa").await;
}
