//! Two hundred clients at once.

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::*;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use super::daemon::{Daemon, sh};

const CLIENTS: usize = 200;
/// So many of them run a container; the others look, listen and ask.
const RUNNERS: usize = 20;

/// A connection of its own for each: bollard keeps a pool otherwise.
fn connect(daemon: &Daemon) -> Docker {
    let socket = daemon.socket();
    let path = socket.to_str().unwrap();
    Docker::connect_with_unix(path, 120, bollard::API_DEFAULT_VERSION).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_at_once_are_all_served() {
    let test = "two_hundred_clients_at_once_are_all_served";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("talker", sh("while true; do echo x; sleep 0.05; done")).await;
    let mut crowd = JoinSet::new();
    for number in 0..CLIENTS {
        let docker = connect(&daemon);
        match number % 4 {
            _ if number < RUNNERS => crowd.spawn(run(docker, number)),
            0 => crowd.spawn(follow(docker)),
            1 => crowd.spawn(listen(docker)),
            _ => crowd.spawn(look(docker)),
        };
    }
    // Whoever comes into the middle of it is served as well.
    let began = Instant::now();
    daemon.docker.ping().await.unwrap();
    daemon.docker.inspect_container("talker", None).await.unwrap();
    let waited = began.elapsed();
    println!("in the crowd, a ping and an inspect took {waited:?}");
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    let served = crowd.join_all().await.len();
    println!("{served} clients were served in {:?}", began.elapsed());
    assert_eq!(served, CLIENTS);
    daemon.remove("talker").await;
}

/// Creates, starts, waits and removes.
async fn run(docker: Docker, number: usize) {
    let name = format!("c{number}");
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let body = sh("exit 4");
    docker.create_container(Some(options), body).await.unwrap();
    docker.start_container(&name, None).await.unwrap();
    let mut ends = std::pin::pin!(
        docker.wait_container(&name, None::<WaitContainerOptions>)
    );
    // bollard's word for a code that is not 0.
    let end = ends.next().await.unwrap().unwrap_err();
    let Error::DockerContainerWaitError { code, .. } = end else {
        panic!("{end}");
    };
    assert_eq!(code, 4);
    docker.remove_container(&name, None).await.unwrap();
}

/// Follows a log for a while.
async fn follow(docker: Docker) {
    let options =
        LogsOptionsBuilder::default().stdout(true).follow(true).build();
    let lines = docker.logs("talker", Some(options)).take(20);
    assert_eq!(
        lines.filter(|it| std::future::ready(it.is_ok())).count().await,
        20
    );
}

/// Hears of the runners' containers.
async fn listen(docker: Docker) {
    let options = EventsOptionsBuilder::default().since("0").build();
    let mut events = std::pin::pin!(docker.events(Some(options)));
    events.next().await.unwrap().unwrap();
}

/// Lists and inspects, again and again.
async fn look(docker: Docker) {
    for _ in 0..5 {
        let all = ListContainersOptionsBuilder::default().all(true).build();
        let all = docker.list_containers(Some(all)).await.unwrap();
        assert!(!all.is_empty());
        docker.inspect_container("talker", None).await.unwrap();
    }
}
