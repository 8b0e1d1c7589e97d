//! Stage 6 as its user meets it.

#[path = "../../03-cgroups/tests/common/mod.rs"]
mod common;

use std::fs;

use common::{Stage, stage_with_box};

const PROGRAM: &str = env!("CARGO_BIN_EXE_step-06-volumes");

/// Runs a script in a container that is removed afterwards.
fn run(stage: &Stage, flags: &[&str], script: &str) -> common::Said {
    let args = [&["run", "--name", "one"], flags, &["box", "sh", "-c"]];
    let said = stage.run(&[&args.concat()[..], &[script]].concat());
    stage.run(&["rm", "one"]);
    said
}

#[test]
fn a_named_volume_outlives_the_containers_that_use_it() {
    let Some(stage) = stage_with_box(PROGRAM, "a_named_volume") else {
        return;
    };
    run(&stage, &["-v", "db:/data"], "echo row > /data/table").ok();
    let said = run(&stage, &["-v", "db:/other:ro"], "cat /other/table");
    assert_eq!(said.ok(), "row\n");
    let said = run(&stage, &["-v", "db:/other:ro"], "echo x > /other/table");
    assert!(said.err.contains("Read-only file system"), "{said:?}");

    let table = stage.run(&["volume", "ls"]).ok();
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(words, ["DRIVER", "VOLUME", "NAME", "local", "db"]);
    stage.run(&["volume", "rm", "db"]).ok();
    let said = stage.run(&["volume", "inspect", "db"]);
    assert!(said.err.contains("get db: no such volume"), "{said:?}");
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let Some(stage) = stage_with_box(PROGRAM, "a_volume_in_use") else {
        return;
    };
    let args = ["run", "-d", "--name", "one", "-v", "db:/data", "box"];
    stage.run(&[&args[..], &["sleep", "60"]].concat()).ok();
    let said = stage.run(&["volume", "rm", "db"]);
    assert!(said.err.contains("remove db: volume is in use - ["), "{said:?}");
    stage.run(&["rm", "-f", "one"]).ok();
    stage.run(&["volume", "rm", "db"]).ok();
}

#[test]
fn a_new_volume_starts_with_what_the_image_has_there() {
    let Some(stage) = stage_with_box(PROGRAM, "a_new_volume") else {
        return;
    };
    let said = run(&stage, &["-v", "web:/srv"], "cat hello; rm hello");
    assert_eq!(said.ok(), "hello\n");
    // It is only filled when it is new and empty… and it is empty again.
    let said = run(&stage, &["-v", "web:/srv:nocopy"], "ls");
    assert_eq!(said.ok(), "");
}

#[test]
fn a_bind_mount_is_the_hosts_own_directory() {
    let Some(stage) = stage_with_box(PROGRAM, "a_bind_mount") else {
        return;
    };
    let data = stage.dir.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("from-host"), "host\n").expect("write");
    let flag = format!("type=bind,source={},target=/app/data", data.display());
    let script = "cat /app/data/from-host; echo inside > /app/data/back";
    assert_eq!(run(&stage, &["--mount", &flag], script).ok(), "host\n");
    let back = fs::read_to_string(data.join("back")).expect("read");
    assert_eq!(back, "inside\n");

    let missing = format!("{flag},readonly").replace("/data,", "/none,");
    let said = run(&stage, &["--mount", &missing], "true");
    assert_eq!(said.code, 125);
    assert!(said.err.contains("bind source path does not exist"));
}

#[test]
fn what_is_written_to_a_tmpfs_is_gone() {
    let Some(stage) = stage_with_box(PROGRAM, "a_tmpfs") else { return };
    let script = "echo x > /run/x; cat /run/x; df -k /run | tail -n 1";
    let said = run(&stage, &["--tmpfs", "/run:size=1m"], script).ok();
    assert!(said.starts_with("x\n"), "{said}");
    assert!(said.contains(" 1024 "), "{said}");
    let big = "dd if=/dev/zero of=/run/big bs=1M count=2";
    let said = run(&stage, &["--tmpfs", "/run:size=1m"], big);
    assert!(said.err.contains("No space left"), "{said:?}");
}

#[test]
fn the_images_volume_gets_a_directory_without_a_name() {
    let Some(stage) = stage_with_box(PROGRAM, "the_images_volume") else {
        return;
    };
    let context = stage.dir.path().join("context");
    let dockerfile = "FROM box\nVOLUME /srv\n";
    fs::write(context.join("Dockerfile"), dockerfile).expect("write");
    stage.run_in(&context, &["build", "-t", "vol", "."]).ok();
    let args = ["run", "--name", "one", "vol", "sh", "-c"];
    let said = stage.run(&[&args[..], &["cat hello; echo > x"]].concat());
    assert_eq!(said.ok(), "hello\n");
    // Nothing of it is in the writable layer.
    let said = stage.run(&["diff", "one"]).ok();
    assert!(!said.contains("/srv/x"), "{said}");
    stage.run(&["rm", "one"]).ok();
    let pruned = stage.run(&["volume", "prune"]).ok();
    assert!(pruned.starts_with("Deleted Volumes:\n"), "{pruned}");
}
