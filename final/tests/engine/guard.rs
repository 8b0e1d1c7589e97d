//! The tests' own daemon: when a test fails, nothing of it stays on the
//! machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bollard::models::{RestartPolicy, RestartPolicyNameEnum};
use cli_api::testing;

use super::daemon::{Daemon, sh};

/// Makes some of everything, and fails. Where it all was.
async fn fail(root: &mut PathBuf) {
    let test = "what_a_failed_test_has_made_is_taken_away";
    let Some(daemon) = Daemon::start_in_own_network(test).await else {
        return;
    };
    let mut body = sh("sleep 1000");
    let host = body.host_config.as_mut().unwrap();
    host.network_mode = Some("bridge".to_owned());
    host.binds = Some(vec!["data:/data".to_owned()]);
    host.restart_policy = Some(RestartPolicy {
        name: Some(RestartPolicyNameEnum::ALWAYS),
        maximum_retry_count: None,
    });
    daemon.run("always", body).await;
    daemon.run("paused", sh("sleep 1000")).await;
    daemon.docker.pause_container("paused").await.unwrap();
    *root = daemon.root();
    let left = testing::leftovers(&[root.to_str().unwrap()]);
    assert!(left.len() > 3, "{left:#?}");
    // As a daemon that hangs.
    daemon.signal(rustix::process::Signal::STOP);
    panic!("as intended");
}

#[test]
fn what_a_failed_test_has_made_is_taken_away() {
    let mut root = PathBuf::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let failing = AssertUnwindSafe(|| runtime.block_on(fail(&mut root)));
    let failed = catch_unwind(failing).is_err();
    if !failed {
        return; // it has said why
    }
    assert!(root.is_absolute() && !root.exists());
    let markers = [root.to_str().unwrap()];
    let left = testing::leftovers_after(Duration::from_secs(5), &markers);
    assert!(left.is_empty(), "{left:#?}");
    let links = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    assert_eq!(links.lines().skip(2).count(), 1, "only lo: {links}");
    match Command::new("nft").args(["list", "tables"]).output() {
        Ok(tables) => assert_eq!(String::from_utf8_lossy(&tables.stdout), ""),
        Err(error) => println!("the rules were not looked at: nft: {error}"),
    }
}
