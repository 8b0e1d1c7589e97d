//! `--explain`: what it says about each step.

use super::*;

#[test]
fn a_build_argument_that_changed_is_named() {
    let mut bench = Bench::new(&[(
        "Dockerfile",
        "FROM scratch\nARG V=1\nRUN echo $V > v\n",
    )]);
    bench.build();
    bench.options.args.insert("V".into(), "2".into());
    let image = bench.build();
    assert_eq!(bench.read(&image, "v").as_deref(), Some("2\n"));
    let why = bench.explained().pop().unwrap();
    assert_eq!(why, "MISS: build argument V changed from \"1\" to \"2\"");
    bench.options.args.insert("W".into(), "2".into());
    bench.build();
    assert!(bench.said.contains("build-args [W] were not consumed"));
}

const FILE: &str = "FROM scratch\n\
    RUN echo 1 > a\n\
    COPY dir /dir\n\
    RUN [\"sh\", \"-c\", \"echo 2 > b\"]\n\
    CMD x\n";

fn bench() -> Bench {
    let files = [("Dockerfile", FILE), ("dir/f", "1"), ("dir/run.sh", "2")];
    let mut bench = Bench::new(&files);
    bench.build();
    bench
}

impl Bench {
    /// What is said when the Dockerfile is now this one.
    fn explain(&mut self, file: &str) -> String {
        self.write("Dockerfile", file);
        self.build();
        self.explained().join("\n")
    }
}

#[test]
fn of_many_builds_the_last_ones_are_remembered() {
    let mut bench = bench();
    bench.options.tags.clear();
    for nth in 0..70 {
        bench.options.origin = format!("/{nth}");
        bench.build();
    }
    let traces = bench.store.root().join("images/build-cache/traces");
    assert_eq!(std::fs::read_dir(&traces).unwrap().count(), 64);
    let last = bench.explain(&FILE.replace("echo 2", "echo 3"));
    assert!(last.contains("the instruction changed"), "{last}");
    bench.options.origin = "/0".into();
    let first = bench.explain(&FILE.replace("echo 2", "echo 4"));
    assert!(first.contains("no earlier build"), "{first}");
}

#[test]
fn an_inserted_instruction_is_new_and_those_after_it_name_it() {
    let file = FILE.replace("COPY", "ENV A=1\nCOPY");
    insta::assert_snapshot!(bench().explain(&file), @r"
    HIT
    HIT
    MISS: new instruction
    MISS: because a step before it changed (step 3)
    MISS: because a step before it changed (step 3)
    MISS: because a step before it changed (step 3)
    ");
}

#[test]
fn an_edited_instruction_is_shown_as_it_was_written() {
    let file = FILE.replace("echo 2", "echo 3");
    insta::assert_snapshot!(bench().explain(&file), @r#"
    HIT
    HIT
    HIT
    MISS: the instruction changed, it was: RUN ["sh", "-c", "echo 2 > b"]
    MISS: because a step before it changed (step 4)
    "#);
}

#[test]
fn an_instruction_that_is_gone_is_the_reason_of_those_after_it() {
    let file = FILE.replace("RUN echo 1 > a\n", "");
    insta::assert_snapshot!(bench().explain(&file), @r"
    HIT
    MISS: because a step before it is gone: RUN echo 1 > a
    MISS: because a step before it is gone: RUN echo 1 > a
    MISS: because a step before it is gone: RUN echo 1 > a
    ");
}

#[test]
fn files_are_named_with_what_became_of_them() {
    let mut bench = bench();
    let dir = bench.context.join("dir");
    shell(&format!(
        "cd {dir:?}; chmod 600 run.sh; rm f; echo > new; chmod 644 new"
    ));
    let said = bench.explain(FILE);
    let copy = said.lines().nth(2).unwrap();
    assert!(copy.contains("mode changed: dir/run.sh (0644 to 0600)"), "{copy}");
    assert!(copy.contains("added: dir/new; removed: dir/f"), "{copy}");
}

#[test]
fn what_a_variable_or_a_here_document_brings_is_a_change() {
    let file = "FROM scratch\nARG V=1\nENV A=$V\nRUN <<E\ntrue\nE\n";
    let mut bench = Bench::new(&[("Dockerfile", file)]);
    bench.build();
    bench.options.args.insert("V".into(), "2".into());
    let said = bench.explain(&file.replace("\ntrue", "\n:"));
    insta::assert_snapshot!(said, @r#"
    HIT
    HIT
    MISS: it was ENV A=1, it is ENV A=2
    MISS: its here-document changed; build argument V changed from "1" to "2"
    "#);
}

#[test]
fn an_argument_before_the_first_stage_is_a_step() {
    let mut bench = bench();
    let said = bench.explain(&format!("ARG X=1\n{FILE}"));
    assert_eq!(said, ["HIT"; 5].join("\n"));
    let lines = "Step 1/6 : ARG X=1\nStep 2/6 : FROM scratch\n";
    assert!(bench.said.starts_with(lines), "{}", bench.said);
}

#[test]
fn a_stage_that_was_inserted_leaves_the_others_known() {
    let file = format!("FROM scratch AS more\nRUN true\n{FILE}");
    let mut bench = bench();
    // Needed, or it would not be built.
    let file = file.replace("CMD x", "COPY --from=more / /");
    let said = bench.explain(&file);
    insta::assert_snapshot!(said, @r"
    MISS: new instruction
    MISS: new instruction
    HIT
    HIT
    HIT
    HIT
    MISS: new instruction
    ");
}

#[test]
fn a_failed_build_is_what_the_next_one_is_compared_with() {
    let mut bench = bench();
    let broken = FILE.replace("echo 1", "exit 1; echo 1");
    bench.write("Dockerfile", &broken);
    bench.error();
    let said = bench.explain(&FILE.replace("echo 1", "echo 7"));
    insta::assert_snapshot!(said, @r"
    HIT
    MISS: the instruction changed, it was: RUN exit 1; echo 1 > a
    MISS: because a step before it changed (step 2)
    MISS: because a step before it changed (step 2)
    MISS: because a step before it changed (step 2)
    ");
}

#[test]
fn only_builds_of_the_same_thing_are_compared() {
    let other = "FROM scratch\nRUN echo other > a\n";
    let nothing = "MISS: there is no earlier build to compare with";
    let mut bench = bench();
    bench.options.tags = vec!["another".parse().unwrap()];
    assert!(bench.explain(other).ends_with(nothing));
    bench.options.target = Some("0".into());
    assert!(bench.explain("FROM scratch\nRUN true\n").ends_with(nothing));
    bench.options.target = None;
    bench.options.tags.clear();
    assert!(bench.explain("FROM scratch\nRUN :\n").ends_with(nothing));
    // Without a name it is the place that counts; a new name is no reason to
    // forget it.
    bench.options.origin = "/here".into();
    assert!(bench.explain("FROM scratch\nRUN : 1\n").ends_with(nothing));
    bench.options.tags = vec!["new".parse().unwrap()];
    let said = bench.explain("FROM scratch\nRUN : 2\n");
    let changed = "MISS: the instruction changed, it was: RUN : 1";
    assert!(said.ends_with(changed), "{said}");
}

#[test]
fn what_a_base_image_brings_along_is_explained_too() {
    let base = "FROM scratch\nONBUILD RUN echo 1 > a\nONBUILD RUN :\n";
    let child = "FROM built\nRUN true\n";
    let mut bench = Bench::new(&[("Dockerfile", base), ("child", child)]);
    let build_child = |bench: &mut Bench| {
        bench.options.dockerfile = "child".into();
        bench.options.tags = vec!["child".parse().unwrap()];
        bench.build();
        let said = bench.explained();
        bench.options.dockerfile = PathBuf::new();
        bench.options.tags = vec!["built".parse().unwrap()];
        said
    };
    bench.build();
    build_child(&mut bench);
    assert_eq!(
        build_child(&mut bench),
        ["HIT", "ONBUILD RUN echo 1 > a: HIT", "ONBUILD RUN :: HIT", "HIT"]
    );
    bench.write("Dockerfile", &base.replace("RUN :", "RUN true"));
    bench.build();
    let said = build_child(&mut bench);
    assert!(said[0].starts_with("MISS: the base image changed: it was "));
    let because = "MISS: because a step before it changed (step 1)";
    assert_eq!(said[1], format!("ONBUILD RUN echo 1 > a: {because}"));
    assert_eq!(said[2], "ONBUILD RUN true: MISS: new build trigger");
    assert_eq!(said[3], because);
}
