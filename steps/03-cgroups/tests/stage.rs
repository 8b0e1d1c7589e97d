//! Stage 3 as its user meets it.

mod common;

use std::time::{Duration, Instant};

use cli_api::testing::root_or_skip;
use common::Stage;

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_step-03-cgroups"))
}

#[test]
fn memory_100m_kills_a_process_that_takes_200_mb() {
    if !root_or_skip("memory_100m") {
        return;
    }
    let stage = stage();
    // dd takes its block as one piece of memory and fills it.
    let dd = "dd if=/dev/zero of=/dev/null bs=200M count=1";
    let args = ["run", "--name", "hog", "-m", "100m", "--memory-swap", "100m"];
    let said = stage.run(&[&args[..], &["sh", "-c", dd]].concat());
    assert_eq!(said.code, 137, "{said:?}");
    let state = &stage.inspect("hog")["State"];
    assert_eq!(state["ExitCode"], 137);
    assert_eq!(state["OOMKilled"], true);

    // The same without the limit: it is the limit that killed it. And
    // a process that somebody killed by hand was not out of memory.
    let said = stage.run(&["run", "sh", "-c", dd]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = stage.run(&["run", "--name", "killed", "sh", "-c", "kill -9 1"]);
    // PID 1 ignores what it sends to itself, so it went on to its end.
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(stage.inspect("killed")["State"]["OOMKilled"], false);
}

#[test]
fn cpus_half_holds_a_busy_loop_to_half_a_core() {
    if !root_or_skip("cpus_half") {
        return;
    }
    let stage = stage();
    let busy = "while :; do :; done";
    let args = ["run", "-d", "--name", "busy", "--cpus", "0.5"];
    stage.run(&[&args[..], &["sh", "-c", busy]].concat()).ok();
    let used = || {
        let stats = &stage.inspect("busy")["Stats"];
        let total = stats["cpu"]["total"].as_f64().expect("CPU time");
        (Instant::now(), total, stats["cpu"]["throttled_periods"].clone())
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = used();
    std::thread::sleep(Duration::from_secs(2));
    let after = used();
    let share = (after.1 - before.1)
        / 1e9
        / after.0.duration_since(before.0).as_secs_f64();
    assert!(share < 0.58, "got {share:.2} of a core");
    // On a loaded machine it may not even get its half; then nothing had to
    // be done to hold it there.
    if share > 0.45 {
        assert!(after.2.as_u64() > before.2.as_u64(), "never throttled");
    }
}

#[test]
fn pids_limit_stops_a_fork_bomb_and_rm_ends_it() {
    if !root_or_skip("pids_limit") {
        return;
    }
    let stage = stage();
    let bomb = "bomb() { bomb | bomb & }; bomb; sleep 60";
    let args = ["run", "-d", "--name", "bomb", "--pids-limit", "20"];
    stage.run(&[&args[..], &["sh", "-c", bomb]].concat()).ok();
    std::thread::sleep(Duration::from_millis(500));
    let pids = stage.inspect("bomb")["Stats"]["pids"].clone();
    assert_eq!(pids["limit"], 20);
    assert!(pids["current"].as_u64().is_some_and(|n| n <= 20), "{pids}");
    // The machine is well, and the bomb goes at once.
    stage.run(&["rm", "-f", "bomb"]).ok();
}

#[test]
fn pause_stats_and_update_act_on_the_running_group() {
    if !root_or_skip("pause_stats_and_update") {
        return;
    }
    let stage = stage();
    let busy = "while :; do :; done";
    stage.run(&["run", "-d", "--name", "web", "sh", "-c", busy]).ok();
    stage.run(&["pause", "web"]).ok();
    let cpu = || stage.inspect("web")["Stats"]["cpu"]["total"].clone();
    let frozen = cpu();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(cpu(), frozen);
    stage.run(&["unpause", "web"]).ok();

    stage.run(&["update", "-m", "64m", "web"]).ok();
    let table = stage.run(&["stats"]).ok();
    assert!(table.contains(" / 64MiB"), "{table}");
    assert!(table.starts_with("CONTAINER ID "), "{table}");

    let said = stage.run(&["pause", "nobody"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("No such container: nobody"), "{said:?}");
}

#[test]
fn exec_is_inside_the_limits_too() {
    if !root_or_skip("exec_is_inside_the_limits_too") {
        return;
    }
    let stage = stage();
    // One for the container, and two because on v2 whoever joins is born of
    // a helper that is in the group for a moment.
    let args = ["run", "-d", "--name", "web", "--pids-limit", "3"];
    stage.run(&[&args[..], &["sleep", "60"]].concat()).ok();
    stage.run(&["exec", "web", "true"]).ok();
    let said = stage.run(&["exec", "web", "sh", "-c", "true | true"]);
    assert_ne!(said.code, 0, "a fourth process was let in: {said:?}");
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_before_anything_is_made() {
    if !root_or_skip("a_limit_that_makes_no_sense") {
        return;
    }
    let stage = stage();
    let said = stage.run(&["run", "-m", "1m", "true"]);
    assert_eq!(said.code, 125);
    assert!(said.err.contains("Minimum memory limit allowed is 6MB"));
}

#[test]
fn the_flags_are_explained() {
    let program = env!("CARGO_BIN_EXE_step-03-cgroups");
    let help = std::process::Command::new(program)
        .args(["run", "--help"])
        .env("COLUMNS", "80")
        .output()
        .expect("help");
    insta::assert_snapshot!(String::from_utf8_lossy(&help.stdout));
}
