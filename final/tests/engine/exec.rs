//! What an exec is given, and what is kept of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ResourcesUlimits};
use futures_util::StreamExt;

use super::daemon::{Daemon, sh};
use super::restart::{exec, exec_code, start};

/// One in the network that knows no names.
fn on_the_bridge(env: &str, links: &[&str]) -> ContainerCreateBody {
    let mut body = sh("sleep 1000");
    body.env = Some(vec![env.to_owned()]);
    let host = body.host_config.as_mut().unwrap();
    host.network_mode = Some("bridge".to_owned());
    host.links = Some(links.iter().map(|it| (*it).to_owned()).collect());
    body
}

async fn succeeds(daemon: &Daemon, container: &str, line: &str) -> bool {
    let exec = exec(daemon, container, line).await;
    start(daemon, &exec).await;
    exec_code(daemon, &exec).await == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_hears_of_whom_its_container_was_linked_to_and_no_other() {
    let test = "exec and links";
    let Some(daemon) = Daemon::start_in_own_network(test).await else {
        return;
    };
    daemon.run("db", on_the_bridge("KEY=old", &[])).await;
    daemon.run("web", on_the_bridge("A=b", &["db:db"])).await;
    let told = r#"test "$DB_ENV_KEY" = old"#;
    assert!(succeeds(&daemon, "web", told).await);
    daemon.remove("db").await;
    let untold = r#"test -z "$DB_ENV_KEY$DB_NAME""#;
    assert!(succeeds(&daemon, "web", untold).await, "it is gone");
    daemon.run("db", on_the_bridge("KEY=new", &[])).await;
    assert!(succeeds(&daemon, "web", untold).await, "that is another one");
    daemon.remove("web").await;
    daemon.remove("db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_keeps_the_limits_of_its_container() {
    let test = "an_exec_keeps_the_limits_of_its_container";
    let Some(daemon) = Daemon::start(test).await else { return };
    let mut body = sh("sleep 1000");
    let host = body.host_config.as_mut().unwrap();
    host.ulimits = Some(vec![ResourcesUlimits {
        name: Some("nofile".to_owned()),
        soft: Some(1024),
        hard: Some(2048),
    }]);
    host.oom_score_adj = Some(300);
    daemon.run("aa", body).await;
    for line in [
        "test $(ulimit -n) = 1024",
        "test $(ulimit -Hn) = 2048",
        "test $(cat /proc/self/oom_score_adj) = 300",
    ] {
        assert!(succeeds(&daemon, "aa", line).await, "{line}");
    }
    daemon.remove("aa").await;
}

/// Whether a file below says so.
fn is_below(dir: &Path, word: &str) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|it| it.path()).any(|path| match path.is_dir() {
        true => is_below(&path, word),
        false => {
            let bytes = fs::read(&path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(word)
        }
    })
}

fn with_secret() -> CreateExecOptions<String> {
    CreateExecOptions {
        cmd: Some(vec!["true".to_owned()]),
        env: Some(vec!["PASSWORD=hunter2".to_owned()]),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_of_an_exec_that_has_ended_are_not_on_disk() {
    let test = "variables of an exec";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", sh("sleep 1000")).await;
    let about = daemon.docker.inspect_container("aa", None).await.unwrap();
    let dir = daemon.root().join("containers").join(about.id.unwrap());
    let started = daemon.docker.create_exec("aa", with_secret()).await;
    let started = started.unwrap().id;
    assert!(is_below(&dir, "hunter2"), "a new daemon must know it");
    start(&daemon, &started).await;
    assert_eq!(exec_code(&daemon, &started).await, 0);
    let gone = async |_: &Daemon| !is_below(&dir, "hunter2");
    daemon.until("the variables are gone", gone).await;
    daemon.docker.create_exec("aa", with_secret()).await.unwrap();
    assert!(is_below(&dir, "hunter2"));
    daemon.docker.stop_container("aa", None).await.unwrap();
    daemon.until("they end with the container", gone).await;
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_execs_that_nobody_starts_are_kept() {
    let test = "execs that nobody starts";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", sh("sleep 1000")).await;
    let mut all = Vec::new();
    for _ in 0..258 {
        all.push(exec(&daemon, "aa", "true").await);
    }
    let mut known = Vec::new();
    for id in &all {
        known.push(daemon.docker.inspect_exec(id).await.is_ok());
    }
    assert_eq!(known[..3], [false, false, true], "the oldest go first");
    assert_eq!(known.iter().filter(|it| **it).count(), 256);
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_that_comes_before_the_process_waits_for_it() {
    let test = "resize of an exec";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", sh("sleep 1000")).await;
    let wanted = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", "sleep 0.5; stty size"]),
        tty: Some(true),
        attach_stdout: Some(true),
        ..Default::default()
    };
    let exec = daemon.docker.create_exec("aa", wanted).await.unwrap().id;
    let size = ResizeExecOptions { height: 33, width: 99 };
    let early = daemon.docker.resize_exec(&exec, size);
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        output(&daemon, &exec).await
    };
    let (resized, said) = tokio::join!(early, later);
    resized.unwrap();
    assert_eq!(said, "33 99\r\n");
    daemon.remove("aa").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_in_a_directory_that_is_not_there_makes_none() {
    let test = "directory of an exec";
    let Some(daemon) = Daemon::start(test).await else { return };
    daemon.run("aa", sh("sleep 1000")).await;
    for (dir, why) in [
        (
            "/nosuch",
            "unable to start container process: chdir to cwd \
             (\"/nosuch\") set in config.json failed: no such file or \
             directory",
        ),
        (
            "/etc/passwd",
            "unable to start container process: chdir to cwd \
             (\"/etc/passwd\") set in config.json failed: not a directory",
        ),
        ("nosuch", "Cwd must be an absolute path"),
    ] {
        let wanted = CreateExecOptions {
            cmd: Some(vec!["true"]),
            working_dir: Some(dir),
            attach_stdout: Some(true),
            ..Default::default()
        };
        let exec = daemon.docker.create_exec("aa", wanted).await.unwrap().id;
        let said = output(&daemon, &exec).await;
        let want =
            format!("OCI runtime exec failed: exec failed: {why}: unknown\r\n");
        assert_eq!(said, want);
        assert_eq!(exec_code(&daemon, &exec).await, 126, "{dir}");
    }
    assert!(succeeds(&daemon, "aa", "test ! -e /nosuch").await);
    daemon.remove("aa").await;
}

/// Starts it and reads what it says to its end.
async fn output(daemon: &Daemon, exec: &str) -> String {
    let started = daemon.docker.start_exec(exec, None).await.unwrap();
    let StartExecResults::Attached { mut output, .. } = started else {
        panic!("it is attached");
    };
    let mut said = String::new();
    while let Some(piece) = output.next().await {
        said.push_str(&piece.unwrap().to_string());
    }
    said
}
