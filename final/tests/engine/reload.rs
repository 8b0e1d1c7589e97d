//! `daemon.json`, read again while the daemon runs.

use std::fs;
use std::process::Command;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use rustix::process::Signal;

use super::daemon::Daemon;

#[tokio::test]
async fn a_hangup_reloads_the_file_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.json");
    fs::write(&file, r#"{"labels": ["room=1"]}"#).unwrap();
    let flags = vec!["--config-file".into(), file.display().to_string()];
    let test = "a_hangup_reloads_the_file_and_a_bad_file_changes_nothing";
    let Some(daemon) = Daemon::start_with(test, flags).await else { return };
    let labels = async |daemon: &Daemon| {
        daemon.docker.info().await.unwrap().labels.unwrap_or_default()
    };
    assert_eq!(labels(&daemon).await, ["room=1"]);

    let filters = [("event".to_owned(), vec!["reload".to_owned()])];
    let options = EventsOptionsBuilder::default()
        .filters(&filters.into_iter().collect())
        .build();
    let mut events = std::pin::pin!(daemon.docker.events(Some(options)));
    // The first poll sends the request.
    let nothing = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(nothing, events.next()).await.is_err());
    fs::write(
        &file,
        r#"{"labels": ["room=2"], "registry-mirrors": ["http://m:5000"]}"#,
    )
    .unwrap();
    daemon.signal(Signal::HUP);
    let event = events.next().await.unwrap().unwrap();
    let about = event.actor.unwrap().attributes.unwrap();
    assert_eq!(about["labels"], r#"["room=2"]"#);
    assert_eq!(about["registry-mirrors"], r#"["http://m:5000"]"#);
    assert_eq!(labels(&daemon).await, ["room=2"]);

    fs::write(&file, r#"{"labels": ["room=3"], "labls": []}"#).unwrap();
    daemon.signal(Signal::HUP);
    daemon
        .until("it says what is wrong", async |daemon| {
            daemon.said().contains("configuration option: labls")
        })
        .await;
    assert_eq!(labels(&daemon).await, ["room=2"]);
}

#[test]
fn validate_says_whether_a_file_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.json");
    let validate = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_skiff"))
            .args(["daemon", "--validate", "--config-file"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let right = validate(r#"{"debug": true}"#);
    assert_eq!(right, (Some(0), "configuration OK\n".to_owned()));
    let (code, said) = validate(r#"{"debugg": true}"#);
    assert_eq!(code, Some(1));
    assert!(said.ends_with("configuration option: debugg\n"), "{said}");
}
