//! Stages beside each other and on top of each other.

use super::*;

#[test]
fn stages_are_built_when_needed_and_copied_from() {
    let mut bench = Bench::new(&[(
        "Dockerfile",
        "ARG NAME=global\n\
         FROM scratch AS unneeded\nRUN exit 1\n\
         FROM scratch AS tools\nARG NAME\nENV WHO=$NAME\n\
         RUN mkdir out && echo $WHO > out/a && chown 7:8 out/a\n\
         FROM scratch\nCOPY --from=tools /out /\n",
    )]);
    let image = bench.build();
    assert_eq!(bench.read(&image, "a").as_deref(), Some("global\n"));
    assert!(bench.tree(&image).contains("7:8 ./a"));
    bench.build();
    assert_eq!(bench.explained(), ["HIT"; 6]);
    bench.options.args.insert("NAME".into(), "given".into());
    let image = bench.build();
    assert_eq!(bench.read(&image, "a").as_deref(), Some("given\n"));
    bench.options.target = Some("unneeded".into());
    assert!(bench.error().contains("returned a non-zero code: 1"));
}

#[test]
fn triggers_of_the_base_image_run_first_and_once() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nONBUILD COPY a /a\nONBUILD RUN cp a b\n"),
        ("child", "FROM built\nRUN cp b c\n"),
        ("a", "1"),
    ]);
    let base = bench.build();
    assert_eq!(base.config.config.on_build.as_ref().unwrap().len(), 2);
    bench.options.dockerfile = "child".into();
    bench.options.tags = vec!["child:latest".parse().unwrap()];
    let image = bench.build();
    assert_eq!(bench.read(&image, "c").as_deref(), Some("1"));
    assert_eq!(image.config.config.on_build, None);
    let expected = "Step 1/2 : FROM built\n# Executing 2 build triggers\n";
    assert!(bench.said.starts_with(expected), "{}", bench.said);
    assert_eq!(bench.said.matches("Step ").count(), 2, "{}", bench.said);
}

/// Two stages that each wait for the other's file: built one after the other
/// they would never end.
#[test]
fn independent_stages_run_at_the_same_time_and_are_told_in_order() {
    let meeting = tempfile::tempdir().unwrap();
    let at = meeting.path().display();
    let meet = |mine: &str, other: &str| {
        format!(
            "RUN touch {at}/{mine}; for i in $(seq 500); do [ -e {at}/{other} \
             ] && break; sleep 0.01; done; [ -e {at}/{other} ] && echo {mine} \
             > {mine}\n"
        )
    };
    let file = format!(
        "FROM scratch AS a\n{}FROM scratch AS b\n{}FROM scratch\n\
         COPY --from=b b /\nCOPY --from=a a /\n",
        meet("a", "b"),
        meet("b", "a")
    );
    let mut bench = Bench::new(&[("Dockerfile", &file)]);
    let image = bench.build();
    assert_eq!(bench.read(&image, "a").as_deref(), Some("a\n"));
    assert_eq!(bench.read(&image, "b").as_deref(), Some("b\n"));
    let steps: Vec<&str> = bench
        .said
        .lines()
        .filter_map(|line| line.strip_prefix("Step ")?.split(' ').next())
        .collect();
    assert_eq!(steps, ["1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"]);
}

#[test]
fn the_same_step_of_two_stages_runs_once() {
    let file = "FROM scratch AS a\nRUN sleep 0.1; echo x > x\n\
        FROM scratch AS b\nRUN sleep 0.1; echo x > x\n\
        FROM a\nCOPY --from=b x y\n";
    let mut bench = Bench::new(&[("Dockerfile", file)]);
    bench.build();
    assert_eq!(bench.ran(), 1);
}

#[test]
fn a_failed_stage_is_the_error_and_the_others_stop() {
    let file = "FROM scratch AS long\nRUN sleep 0.3\nRUN touch late\n\
        FROM scratch AS bad\nRUN exit 3\n\
        FROM long\nCOPY --from=bad x y\n";
    let mut bench = Bench::new(&[("Dockerfile", file)]);
    let error = bench.try_build().unwrap_err();
    assert_eq!(error.code(), 3, "{error}");
    assert!(error.to_string().contains("5 | RUN exit 3"), "{error}");
    assert!(!bench.said.contains("RUN touch late"), "{}", bench.said);
}

#[test]
fn an_image_for_another_platform_is_as_good_as_none() {
    let mut bench = Bench::new(&[
        ("Dockerfile", "FROM scratch\nRUN touch f\n"),
        ("child", "FROM built\nCOPY --from=built f g\n"),
        ("named", "FROM --platform=linux/s390x built\nRUN true\n"),
    ]);
    bench.options.platform = Some(Platform::linux("arm64"));
    let base = bench.build();
    assert_eq!(base.config.platform(), Platform::linux("arm64"));
    bench.options.tags.clear();
    bench.options.dockerfile = "child".into();
    let child = bench.build();
    assert_eq!(child.config.platform(), Platform::linux("arm64"));
    bench.options.platform = None;
    bench.build();
    bench.options.platform = Some(Platform::linux("s390x"));
    assert!(bench.error().starts_with("No such image: built:latest"));
    bench.options.platform = None;
    bench.options.dockerfile = "named".into();
    assert!(bench.error().starts_with("No such image: built:latest"));
}
