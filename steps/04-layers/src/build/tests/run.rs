//! RUN, and the instructions that only edit the config.

use super::*;

#[test]
fn nothing_that_is_lent_to_a_run_stays_in_the_layer() {
    let mut bench = Bench::new(&[
        (
            "Dockerfile",
            "FROM scratch\n\
             RUN --mount=type=bind,source=in,target=/in \
             --mount=type=cache,target=/var/cache/x \
             --mount=type=secret,id=t \
             --mount=type=tmpfs,target=/tmp/t,size=1m echo done > result\n",
        ),
        ("in/file", "1"),
    ]);
    bench.options.secrets.insert("t".into(), b"hidden".to_vec());
    let image = bench.build();
    assert_eq!(bench.tree(&image).matches("./").count(), 1);
    let lent = bench.host.0.lock().unwrap()[0].mounts.clone();
    let targets: Vec<&str> = lent.iter().map(|m| m.target.as_str()).collect();
    assert_eq!(targets, ["/in", "/var/cache/x", "/run/secrets/t", "/tmp/t"]);
    bench.write("in/file", "2");
    bench.build();
    assert_eq!(bench.explained(), ["HIT", "MISS: changed: in/file"]);
}

#[test]
fn entrypoint_resets_an_inherited_cmd_but_not_its_own() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nCMD [\"a\"]\nENTRYPOINT [\"b\"]\n"),
        ("child", "FROM built\nENTRYPOINT [\"c\"]\n"),
    ]);
    let base = bench.build();
    assert_eq!(base.config.config.cmd, Some(vec!["a".to_owned()]));
    bench.options.dockerfile = "child".into();
    bench.options.tags.clear();
    assert_eq!(bench.build().config.config.cmd, None);
}

#[test]
fn a_step_that_changes_no_file_makes_no_layer() {
    let text = "FROM scratch\nRUN true\nWORKDIR /\n";
    let mut bench = Bench::new(&[("Dockerfile", text)]);
    let image = bench.build();
    assert_eq!(image.layers(), []);
    assert!(image.config.history.iter().all(|line| line.empty_layer));
    bench.write("Dockerfile", "FROM scratch\n");
    assert!(bench.error().contains("No image was generated"));
}

#[test]
fn an_error_of_many_lines_is_one_sentence_apart_from_its_place() {
    let text = "FROM scratch\nRUN <<EOF\ntrue\nexit 4\nEOF\n";
    let mut bench = Bench::new(&[("Dockerfile", text)]);
    let (sentence, place) = bench.try_build().unwrap_err().parts();
    assert!(
        sentence.starts_with("The command '/bin/sh -c true\n"),
        "{sentence}"
    );
    assert!(sentence.ends_with("returned a non-zero code: 4"), "{sentence}");
    assert!(place.unwrap().starts_with("Dockerfile:2\n"));
}

#[test]
fn a_build_trigger_gets_no_more_than_was_allowed() {
    let base = "FROM scratch\nONBUILD RUN --security=insecure true\n";
    let mut bench = Bench::new(&[("Dockerfile", base)]);
    bench.options.tags.push("base".parse().unwrap());
    bench.build();
    bench.options.tags.clear();
    bench.write("Dockerfile", "FROM base\n");
    let said = bench.error();
    assert!(said.contains("security.insecure is not allowed"), "{said}");
    assert!(bench.host.0.lock().unwrap().is_empty(), "nothing ran");
}

#[test]
fn a_run_gets_what_was_allowed() {
    let text = "FROM scratch\nRUN --security=insecure true\n\
        RUN --network=host true\n";
    let mut bench = Bench::new(&[("Dockerfile", text)]);
    let said = bench.error();
    assert!(said.starts_with("security.insecure is not allowed"), "{said}");
    assert_eq!(bench.said, "", "found before the first step");
    bench.options.allow.insert(Entitlement::Insecure);
    let said = bench.error();
    assert!(said.contains("--allow network.host\n"), "{said}");
    // The whole build has it.
    bench.options.network = Some("host".into());
    bench.build();
    let ran = bench.host.0.lock().unwrap().clone();
    assert_eq!((ran[0].privileged, ran[1].privileged), (true, false));
}
