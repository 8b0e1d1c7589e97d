//! What a build prints: Docker's lines, and its mistakes.

use super::*;

#[test]
fn the_classic_lines_are_dockers() {
    let mut bench = Bench::new(&[(
        "Dockerfile",
        "FROM scratch\nENV A=1\nRUN echo out; echo err >&2\n\
         LABEL a=b\nCMD [\"sh\"]\n",
    )]);
    bench.build();
    let said = bench.said.clone();
    let hex = |c: char| c.is_ascii_hexdigit() && !c.is_ascii_uppercase();
    let redact = |word: &str| match word.len() == 12 && word.chars().all(hex) {
        true => "[id]".to_owned(),
        false => word.to_owned(),
    };
    let lines = said
        .lines()
        .map(|line| line.split(' ').map(redact).collect::<Vec<_>>().join(" "));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn mistakes_while_building_point_at_the_line() {
    let cases = [
        "COPY missing /",
        "COPY a b /file",
        "COPY --chown=nobody a /",
        "COPY ../../etc/passwd /",
        "COPY none* /",
        "RUN exit 3",
        "ADD git@example.org:a/b /",
        "EXPOSE $NONE:x",
        "ENV A=${B:?set B}",
        "RUN --mount=type=secret,id=t,required true",
        "RUN [\"nope\"]",
        "RUN --security=insecure true",
        "RUN --network=host true",
        "COPY --from=missing a /",
        "RUN --mount=from=missing,target=/m true",
        "ADD http://127.0.0.1:1/x /",
        "FROM missing",
        "FROM --platform=foo missing",
    ];
    let mut all = Vec::new();
    for line in cases {
        let text = format!("FROM scratch\n{line}\n");
        let mut bench =
            Bench::new(&[("Dockerfile", &text), ("a", ""), ("b", "")]);
        all.push(bench.error());
    }
    let mut empty = Bench::new(&[("a", "")]);
    all.push(empty.error());
    empty.options.squash = true;
    all.push(empty.error());
    insta::assert_snapshot!(all.join("\n\n"));
}
