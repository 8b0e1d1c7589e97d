//! The daemon may be killed at any instant; containers do not notice.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::models::{
    ContainerStateStatusEnum, HealthConfig, RestartPolicy,
    RestartPolicyNameEnum as Policy,
};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::TryStreamExt;

use super::daemon::{Daemon, sh};
use super::events::history;

fn with_policy(
    line: &str,
    name: Policy,
) -> bollard::models::ContainerCreateBody {
    let mut body = sh(line);
    let policy = RestartPolicy { name: Some(name), maximum_retry_count: None };
    body.host_config.as_mut().unwrap().restart_policy = Some(policy);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_their_logs_survive_a_killed_daemon() {
    let Some(mut daemon) = Daemon::start("containers_survive").await else {
        return;
    };
    let line = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done";
    daemon.run("lives", sh(line)).await;
    daemon.run("ends", sh("sleep 0.5; echo last; exit 6")).await;
    let mut going = sh("sleep 0.5");
    going.host_config.as_mut().unwrap().auto_remove = Some(true);
    daemon.run("goes", going).await;
    let pid = async |daemon: &Daemon| {
        let inspect = daemon.docker.inspect_container("lives", None).await;
        inspect.unwrap().state.unwrap().pid.unwrap()
    };
    let before = pid(&daemon).await;
    daemon.kill_and_restart(Duration::from_secs(1));
    assert_eq!(pid(&daemon).await, before);
    daemon
        .until("its end is known", async |it| {
            it.status("ends").await == "exited"
        })
        .await;
    assert_eq!(daemon.wait("ends").await, 6);
    assert_eq!(daemon.logs("ends").await, "last\n");
    daemon
        .until("it is removed", async |it| {
            it.docker.inspect_container("goes", None).await.is_err()
        })
        .await;
    let lines = daemon.logs("lives").await;
    let numbers: Vec<usize> =
        lines.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() > 8, "{numbers:?}");
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    daemon.remove("lives").await;
    daemon.remove("ends").await;
}

/// Prepares `line` as an exec; its ID.
pub(super) async fn exec(
    daemon: &Daemon,
    container: &str,
    line: &str,
) -> String {
    let config = CreateExecOptions {
        cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
        attach_stdout: Some(true),
        ..Default::default()
    };
    daemon.docker.create_exec(container, config).await.unwrap().id
}

pub(super) async fn start(daemon: &Daemon, exec: &str) {
    let detached = StartExecOptions { detach: true, ..Default::default() };
    daemon.docker.start_exec(exec, Some(detached)).await.unwrap();
}

/// The exit code once it has ended.
pub(super) async fn exec_code(daemon: &Daemon, exec: &str) -> i64 {
    daemon
        .until("the exec has ended", async |it| {
            let about = it.docker.inspect_exec(exec).await.unwrap();
            about.running == Some(false)
        })
        .await;
    let about = daemon.docker.inspect_exec(exec).await.unwrap();
    about.exit_code.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn execs_outlive_a_killed_daemon_and_keep_their_exit_codes() {
    let test = "execs_outlive_a_killed_daemon";
    let Some(mut daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", sh("sleep 100")).await;
    let over = exec(&daemon, "aa", "exit 3").await;
    start(&daemon, &over).await;
    assert_eq!(exec_code(&daemon, &over).await, 3);
    let missing = CreateExecOptions {
        cmd: Some(vec!["nosuch".to_owned()]),
        ..Default::default()
    };
    let missing = daemon.docker.create_exec("aa", missing).await.unwrap().id;
    let detached = StartExecOptions { detach: true, ..Default::default() };
    let failed = daemon.docker.start_exec(&missing, Some(detached)).await;
    assert!(failed.is_err());
    let ends = exec(&daemon, "aa", "sleep 0.5; exit 4").await;
    start(&daemon, &ends).await;
    let lives =
        exec(&daemon, "aa", "until test -e /go; do sleep 0.05; done; exit 5")
            .await;
    start(&daemon, &lives).await;
    let later = exec(&daemon, "aa", "exit 6").await;
    let pid = async |daemon: &Daemon| {
        daemon.docker.inspect_exec(&lives).await.unwrap().pid
    };
    let before = pid(&daemon).await;
    daemon.kill_and_restart(Duration::from_secs(1));

    assert_eq!(exec_code(&daemon, &over).await, 3);
    assert_eq!(exec_code(&daemon, &missing).await, 127);
    assert_eq!(exec_code(&daemon, &ends).await, 4);
    let about = daemon.docker.inspect_exec(&lives).await.unwrap();
    assert_eq!(about.running, Some(true));
    assert_eq!(pid(&daemon).await, before);
    let go = exec(&daemon, "aa", ": >/go").await;
    start(&daemon, &go).await;
    assert_eq!(exec_code(&daemon, &lives).await, 5);
    start(&daemon, &later).await;
    assert_eq!(exec_code(&daemon, &later).await, 6);
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_to_a_new_daemon_follows_and_waits_as_before() {
    let test = "who_comes_back_to_a_new_daemon";
    let Some(mut daemon) = Daemon::start(test).await else { return };
    let line = "i=0; while test $i -lt 40; do echo $i; i=$((i+1)); \
                sleep 0.1; done; exit 9";
    daemon.run("aa", sh(line)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    daemon.kill_and_restart(Duration::from_millis(500));
    let follow = LogsOptionsBuilder::default().stdout(true).follow(true);
    let lines = daemon.docker.logs("aa", Some(follow.build()));
    let lines: Vec<LogOutput> = lines.try_collect().await.unwrap();
    let lines: String = lines.iter().map(ToString::to_string).collect();
    let want: String = (0..40).map(|it| format!("{it}\n")).collect();
    assert_eq!(lines, want);
    assert_eq!(daemon.wait("aa").await, 9);
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_starts_again_until_a_person_stops_it() {
    let Some(daemon) = Daemon::start("a_policy_starts_again").await else {
        return;
    };
    daemon.run("aa", with_policy("exit 1", Policy::ALWAYS)).await;
    let count = async |daemon: &Daemon| {
        let inspect = daemon.docker.inspect_container("aa", None).await;
        inspect.unwrap().restart_count.unwrap()
    };
    let decided = async |daemon: &Daemon| {
        let aa = daemon.docker.inspect_container("aa", None).await.unwrap();
        let status = aa.state.unwrap().status.unwrap();
        let restarting = status == ContainerStateStatusEnum::RESTARTING;
        assert!(!restarting || aa.restart_count > Some(0));
        restarting
    };
    daemon.until("it is to be restarted", decided).await;
    daemon.until("three restarts", async |it| count(it).await >= 3).await;
    daemon.docker.stop_container("aa", None).await.unwrap();
    assert_eq!(daemon.status("aa").await, "exited");
    let stopped = count(&daemon).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(count(&daemon).await, stopped);
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_daemon_applies_the_policies() {
    let Some(mut daemon) = Daemon::start("a_new_daemon_applies").await else {
        return;
    };
    let long = "sleep 100";
    daemon.run("always", with_policy("sleep 0.3", Policy::ALWAYS)).await;
    let by_hand = with_policy(long, Policy::UNLESS_STOPPED);
    daemon.run("by-hand", by_hand).await;
    daemon.docker.kill_container("by-hand", None).await.unwrap();
    daemon.kill_and_restart(Duration::from_secs(1));
    daemon
        .until("it runs again", async |it| {
            let inspect = it.docker.inspect_container("always", None).await;
            inspect.unwrap().restart_count.unwrap() > 0
        })
        .await;
    assert_eq!(daemon.status("by-hand").await, "exited");
    daemon.remove("always").await;
    daemon.remove("by-hand").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_probe() {
    let Some(daemon) = Daemon::start("health_follows_the_probe").await else {
        return;
    };
    let mut body = sh("sleep 100");
    let test = ["CMD-SHELL", "test -f /tmp/ok"].map(str::to_owned);
    body.healthcheck = Some(HealthConfig {
        test: Some(test.to_vec()),
        interval: Some(100_000_000),
        retries: Some(2),
        ..HealthConfig::default()
    });
    daemon.run("aa", body).await;
    let health = async |daemon: &Daemon| {
        let inspect = daemon.docker.inspect_container("aa", None).await;
        let health = inspect.unwrap().state.unwrap().health.unwrap();
        health.status.unwrap().to_string()
    };
    assert_eq!(health(&daemon).await, "starting");
    daemon.until("unhealthy", async |it| health(it).await == "unhealthy").await;
    let create = CreateExecOptions {
        cmd: Some(vec!["touch".to_owned(), "/tmp/ok".to_owned()]),
        ..Default::default()
    };
    let exec = daemon.docker.create_exec("aa", create).await.unwrap();
    start(&daemon, &exec.id).await;
    daemon.until("healthy", async |it| health(it).await == "healthy").await;
    daemon.remove("aa").await;
}

/// The news of a probe's end reach two threads; neither may take the exit code
/// away from the other.
#[tokio::test(flavor = "multi_thread")]
async fn no_probe_of_a_healthy_container_is_lost() {
    let test = "no_probe_of_a_healthy_container_is_lost";
    let Some(daemon) = Daemon::start(test).await else { return };
    let mut body = sh("sleep 100");
    body.healthcheck = Some(HealthConfig {
        test: Some(["CMD", "true"].map(str::to_owned).to_vec()),
        interval: Some(1_000_000),
        retries: Some(1),
        ..HealthConfig::default()
    });
    daemon.run("aa", body).await;
    let probes = async |daemon: &Daemon| {
        let all = history(daemon, "aa").await;
        let lost = all.iter().filter(|it| *it == "health_status: unhealthy");
        assert_eq!(lost.count(), 0, "{all:#?}");
        all.iter().filter(|it| *it == "exec_die").count()
    };
    daemon.until("50 probes", async |it| probes(it).await >= 50).await;
    daemon.remove("aa").await;
}
