//! Stage 5 as its user meets it.

#[path = "../../03-cgroups/tests/common/mod.rs"]
mod common_stage;

use std::fs;

use common_stage::stage_with_box;

const PROGRAM: &str = env!("CARGO_BIN_EXE_step-05-overlay-cow");

#[test]
fn two_containers_share_the_layers_and_keep_their_writes_apart() {
    let Some(stage) = stage_with_box(PROGRAM, "two_containers_share") else {
        return;
    };
    let write = "echo changed > hello; cat hello";
    let args = ["run", "--name", "one", "box", "sh", "-c", write];
    assert_eq!(stage.run(&args).ok(), "changed\n");
    assert_eq!(stage.run(&["run", "box"]).ok(), "hello\n");

    let id = stage.inspect("one")["Id"].as_str().expect("id").to_owned();
    let upper = stage.dir.path().join("05/overlay2").join(&id).join("diff");
    let written = fs::read_to_string(upper.join("srv/hello"));
    assert_eq!(written.expect("copied up"), "changed\n");
    // Only what was written is there; busybox is not.
    assert!(!upper.join("bin").exists());

    stage.run(&["rm", "one"]).ok();
    assert!(!upper.exists(), "the writable layer goes with the container");
}

#[test]
fn diff_tells_what_was_added_changed_and_deleted() {
    let Some(stage) = stage_with_box(PROGRAM, "diff_tells") else {
        return;
    };
    let script = "echo new > /srv/new; rm hello";
    let args = ["run", "--name", "one", "box", "sh", "-c", script];
    stage.run(&args).ok();
    let said = stage.run(&["diff", "one"]).ok();
    assert_eq!(said, "C /srv\nD /srv/hello\nA /srv/new\n");
    let said = stage.run(&["diff", "nobody"]);
    assert!(said.err.contains("No such container: nobody"), "{said:?}");
}

#[test]
fn commit_makes_an_image_that_has_the_changes() {
    let Some(stage) = stage_with_box(PROGRAM, "commit_makes_an_image") else {
        return;
    };
    let script = "echo new > new; rm hello";
    let args = ["run", "--name", "one", "box", "sh", "-c", script];
    stage.run(&args).ok();
    let id = stage.run(&["commit", "one", "box:two"]).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    stage.run(&["rm", "one"]).ok();
    let said = stage.run(&["run", "box:two", "ls", "/srv"]).ok();
    assert_eq!(said, "new\n");
    // The image below is as it was.
    assert_eq!(stage.run(&["run", "box"]).ok(), "hello\n");
}
