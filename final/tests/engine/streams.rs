//! Attach, exec, logs and files.

use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::*;
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

use super::daemon::{Daemon, sh};

#[tokio::test(flavor = "multi_thread")]
async fn input_that_ends_leaves_the_output_open() {
    let Some(daemon) = Daemon::start("input_that_ends").await else { return };
    let mut body = sh("cat; echo end; exit 4");
    body.open_stdin = Some(true);
    body.stdin_once = Some(true);
    body.attach_stdin = Some(true);
    let id = daemon.create("aa", body).await;
    let options = AttachContainerOptionsBuilder::default()
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    // Before the start, as `docker run` does it: nothing may be missed.
    let attached = daemon.docker.attach_container(&id, Some(options));
    let mut attached = attached.await.unwrap();
    daemon.docker.start_container(&id, None).await.unwrap();
    attached.input.write_all(b"typed\n").await.unwrap();
    attached.input.shutdown().await.unwrap();
    let output: Vec<LogOutput> = attached.output.try_collect().await.unwrap();
    let text: String = output.iter().map(ToString::to_string).collect();
    assert_eq!(text, "typed\nend\n");
    assert_eq!(daemon.wait("aa").await, 4);
    daemon.remove("aa").await;
}

async fn exec(daemon: &Daemon, command: &[&str]) -> (String, Option<i64>) {
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.iter().map(|it| (*it).to_owned()).collect()),
        env: Some(vec!["A=b".to_owned()]),
        user: Some("web".to_owned()),
        working_dir: Some("/tmp".to_owned()),
        ..CreateExecOptions::default()
    };
    let exec = daemon.docker.create_exec("aa", options).await.unwrap();
    let started = daemon.docker.start_exec(&exec.id, None).await.unwrap();
    let StartExecResults::Attached { output, .. } = started else {
        panic!("it is detached");
    };
    let output: Vec<LogOutput> = output.try_collect().await.unwrap();
    let text = output.iter().map(ToString::to_string).collect();
    let inspect = daemon.docker.inspect_exec(&exec.id).await.unwrap();
    (text, inspect.exit_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_has_its_own_user_place_and_exit_code() {
    let Some(daemon) = Daemon::start("an_exec_has_its_own").await else {
        return;
    };
    daemon.run("aa", sh("sleep 100")).await;
    let line = "id -u; pwd; echo $A; exit 7";
    let (text, code) = exec(&daemon, &["sh", "-c", line]).await;
    assert_eq!((text.as_str(), code), ("7\n/tmp\nb\n", Some(7)));
    let (text, code) = exec(&daemon, &["nosuch"]).await;
    assert!(text.contains("executable file not found in $PATH"), "{text}");
    assert_eq!(code, Some(127));
    let (_, code) = exec(&daemon, &["/etc"]).await;
    assert_eq!(code, Some(126));
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_sleeps_holds_up_nobody() {
    let Some(daemon) = Daemon::start("a_reader_that_sleeps").await else {
        return;
    };
    // Far more than all the buffers on the way hold.
    let line = "dd if=/dev/zero bs=1024 count=8192 2>/dev/null; echo end";
    daemon.run("aa", sh(line)).await;
    let follow =
        LogsOptionsBuilder::default().stdout(true).follow(true).build();
    let mut asleep = std::pin::pin!(daemon.docker.logs("aa", Some(follow)));
    asleep.next().await.unwrap().unwrap();
    let began = Instant::now();
    assert_eq!(daemon.wait("aa").await, 0);
    daemon.docker.list_containers(None).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_sleeps_holds_up_nobody_and_misses_nothing() {
    let test = "a_listener_that_sleeps";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.create("n0", sh("true")).await;
    let filters = [("event".to_owned(), vec!["rename".to_owned()])];
    let options = EventsOptionsBuilder::default()
        .since("0")
        .filters(&filters.into_iter().collect())
        .build();
    let mut asleep = std::pin::pin!(daemon.docker.events(Some(options)));
    // Far more than the buffers on the way hold.
    const COUNT: usize = 2000;
    let rename = async |from: usize| {
        let name = format!("n{}", from + 1);
        let new = RenameContainerOptionsBuilder::default().name(&name).build();
        let old = format!("n{from}");
        daemon.docker.rename_container(&old, new).await.unwrap();
    };
    rename(0).await;
    asleep.next().await.unwrap().unwrap();
    let began = Instant::now();
    for from in 1..COUNT {
        rename(from).await;
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    for number in 2..=COUNT {
        let event = asleep.next().await.unwrap().unwrap();
        let attributes = event.actor.unwrap().attributes.unwrap();
        assert_eq!(attributes["name"], format!("n{number}"));
    }
    daemon.remove(&format!("n{COUNT}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_of_a_log_is_its_last_lines() {
    let Some(daemon) = Daemon::start("the_tail_of_a_log").await else {
        return;
    };
    daemon.run("aa", sh("for i in 1 2 3 4 5; do echo $i; done")).await;
    daemon.wait("aa").await;
    let options = LogsOptionsBuilder::default().stdout(true).tail("2").build();
    let lines: Vec<_> = daemon
        .docker
        .logs("aa", Some(options))
        .map_ok(|line| line.to_string())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(lines.concat(), "4\n5\n");
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_container_leads_nowhere_on_the_host() {
    let Some(daemon) = Daemon::start("a_link_in_a_container").await else {
        return;
    };
    daemon.run("aa", sh("ln -s / /tmp/out; busybox ln -s / /tmp/out")).await;
    daemon.wait("aa").await;
    // Both ways, while it does not run.
    let outside = tempfile::tempdir().unwrap();
    let path = format!("/tmp/out{}", outside.path().display());
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    tar.append_data(&mut header, "f", &b"x\n"[..]).unwrap();
    let upload = UploadToContainerOptionsBuilder::default().path(&path).build();
    let tar = bollard::body_full(tar.into_inner().unwrap().into());
    let refused =
        daemon.docker.upload_to_container("aa", Some(upload), tar).await;
    assert!(refused.unwrap_err().to_string().contains("Could not find"));
    let passwd = DownloadFromContainerOptionsBuilder::default()
        .path("/tmp/out/etc/passwd")
        .build();
    let pieces: Vec<_> = daemon
        .docker
        .download_from_container("aa", Some(passwd))
        .try_collect()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&pieces.concat()).into_owned();
    assert!(text.contains("web:x:7:8"), "the host's, not the container's");
    daemon.remove("aa").await;
}
