//! Stage 4 as its user meets it.

#[path = "../../03-cgroups/tests/common/mod.rs"]
mod common;

#[path = "common/mod.rs"]
mod registry;

use std::fs;

use common::{Stage, stage_with_box};

const PROGRAM: &str = env!("CARGO_BIN_EXE_step-04-layers");

#[test]
fn an_image_is_built_listed_run_and_removed() {
    let Some(stage) = stage_with_box(PROGRAM, "an_image_is_built") else {
        return;
    };
    let table = stage.run(&["images"]).ok();
    let words: Vec<&str> = table.split_whitespace().collect();
    assert!(words.windows(2).any(|it| it == ["box", "latest"]), "{table}");

    assert_eq!(stage.run(&["run", "--name", "one", "box"]).ok(), "hello\n");
    let env = ["run", "-e", "MORE=x", "box", "sh", "-c"];
    let script = "echo $GREETING $MORE $PWD $$";
    let said = stage.run(&[&env[..], &[script]].concat());
    assert_eq!(said.ok(), "hi x /srv 1\n");
    // There is nothing of the host in it.
    let said = stage.run(&["run", "box", "ls", "/"]).ok();
    assert_eq!(said, "bin\ndev\nproc\nsrv\nsys\n");

    let said = stage.run(&["rmi", "box"]);
    assert!(said.err.contains("is using its referenced image"), "{said:?}");
    let ids = stage.run(&["ps", "-aq"]).ok();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    stage.run(&[&["rm"], &ids[..]].concat()).ok();
    let said = stage.run(&["rmi", "box"]).ok();
    assert!(said.starts_with("Untagged: box:latest\nDeleted: sha256:"));
    assert_eq!(stage.run(&["images"]).ok().lines().count(), 1);
}

#[test]
fn each_container_has_a_copy_of_its_own() {
    let Some(stage) = stage_with_box(PROGRAM, "a_copy_of_its_own") else {
        return;
    };
    let write = "echo changed > hello; cat hello";
    let said = stage.run(&["run", "--name", "one", "box", "sh", "-c", write]);
    assert_eq!(said.ok(), "changed\n");
    assert_eq!(stage.run(&["run", "box"]).ok(), "hello\n");
    // And the copy is gone with its container.
    let copies = stage.dir.path().join("04/copies");
    assert_eq!(fs::read_dir(&copies).expect("copies").count(), 2);
    stage.run(&["rm", "one"]).ok();
    assert_eq!(fs::read_dir(&copies).expect("copies").count(), 1);
}

#[test]
fn a_second_build_runs_nothing_and_a_change_only_what_follows_it() {
    let Some(stage) = stage_with_box(PROGRAM, "a_second_build") else {
        return;
    };
    let context = stage.dir.path().join("context");
    let hits = |said: &str| said.matches(" ---> Using cache").count();
    let again = stage.run_in(&context, &["build", "-t", "box", "."]).ok();
    assert_eq!(hits(&again), 6, "{again}");
    assert!(!again.contains("Running in"), "{again}");
    let said = stage.run_in(&context, &["build", "-q", "."]).ok();
    assert_eq!(said.len(), "sha256:\n".len() + 64, "{said}");

    fs::write(context.join("hello"), "changed\n").expect("write");
    let args = ["build", "--explain", "-t", "box", "."];
    let said = stage.run_in(&context, &args).ok();
    assert_eq!(hits(&said), 4, "{said}");
    assert!(said.contains("MISS: "), "{said}");
    assert!(said.contains("hello"), "it names the file: {said}");
    assert_eq!(stage.run(&["run", "box"]).ok(), "changed\n");
}

#[test]
fn a_build_that_fails_shows_the_line_and_leaves_nothing() {
    let Some(stage) = stage_with_box(PROGRAM, "a_build_that_fails") else {
        return;
    };
    let context = stage.dir.path().join("context");
    let dockerfile = "FROM box\nRUN echo before\nRUN exit 7\n";
    fs::write(context.join("Dockerfile"), dockerfile).expect("write");
    // A name that is no hex: an image ID could contain it by chance.
    let said = stage.run_in(&context, &["build", "-t", "wrong", "."]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("before\n"), "{said:?}");
    assert!(said.err.contains("returned a non-zero code: 7"), "{said:?}");
    assert!(!stage.run(&["images"]).ok().contains("wrong"));
}

#[test]
fn an_image_is_pulled_from_a_registry_and_run() {
    let Some(stage) = stage_with_box(PROGRAM, "an_image_is_pulled") else {
        return;
    };
    let Some(registry) = registry::Registry::start("an_image_is_pulled") else {
        return;
    };
    // The stage has no push; its store can be opened beside its daemon.
    let name = registry.name("box:1");
    stage.run(&["tag", "box", &name]).ok();
    let store = layers::Store::open(&stage.dir.path().join("04"));
    layers::registry::push(
        &store.expect("the store"),
        &registry.reference("box:1"),
        &registry::options(),
        &|_| (),
    )
    .expect("push");
    // Another machine, as far as images are concerned.
    let stage = Stage::new(PROGRAM);
    let said = stage.run(&["pull", &name]).ok();
    assert!(said.contains("Pull complete\n"), "{said}");
    let status = format!("Status: Downloaded newer image for {name}\n");
    assert!(said.ends_with(&status), "{said}");
    assert_eq!(stage.run(&["run", &name]).ok(), "hello\n");
}

#[test]
fn limits_hold_in_an_image_too() {
    let Some(stage) = stage_with_box(PROGRAM, "limits_in_an_image") else {
        return;
    };
    let hog = ["run", "--name", "hog", "-m", "32m", "--memory-swap", "32m"];
    let said = stage.run(&[&hog[..], &["box", "tail", "/dev/zero"]].concat());
    assert_eq!(said.code, 137, "{said:?}");
    assert_eq!(stage.inspect("hog")["State"]["OOMKilled"], true);
}

#[test]
fn an_image_that_is_nowhere_is_a_clear_error() {
    if !cli_api::testing::root_or_skip("an_image_that_is_nowhere") {
        return;
    }
    let stage = Stage::new(PROGRAM);
    // A port of this machine at which nobody listens: no network is needed.
    let said = stage.run(&["run", "localhost:1/nowhere"]);
    assert_eq!(said.code, 125, "{said:?}");
    let start = "Error response from daemon: Unable to find image \
        'localhost:1/nowhere:latest' locally: ";
    assert!(said.err.starts_with(start), "{said:?}");
    assert!(said.err.contains("localhost:1"), "{said:?}");
}
