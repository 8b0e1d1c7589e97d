//! What the parser accepts, and what it says about the rest.

use super::*;
use proptest::prelude::*;

fn one(text: &str) -> Command {
    let file = Dockerfile::parse(&format!("FROM scratch\n{text}"));
    file.unwrap().stages.remove(0).body.remove(0).command
}

fn complaint(text: &str) -> String {
    Dockerfile::parse(text).unwrap_err().to_string()
}

const EVERYTHING: &str = r#"# syntax=docker/dockerfile:1
# escape=\

# a comment
ARG VERSION=1.25
FROM --platform=$BUILDPLATFORM debian:12 AS Build
MAINTAINER Ada Lovelace <ada@example.org>
LABEL a=1 "b c"="d e" \
      # a comment between continuation lines
      f=g
ENV OLD the old form, to the line's end
ENV A=1 B="two words" C=three\ words
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
RUN --mount=type=cache,target=/root/.cache,sharing=locked \
    --mount=type=bind,from=tools,source=/bin,target=/tools \
    --mount=type=secret,id=token,required --network=none \
    make -j4 && \

    make install
RUN ["/bin/echo", "exec form"]
RUN <<EOF
echo one
echo $TWO
EOF
RUN cat <<A <<'B' > /both
a
A
b
B
COPY --chown=app:app --chmod=0644 --link a b* /dst/
COPY ["a file", "another", "/dst dir/"]
COPY <<-"conf" /etc/app.conf
	key = $value
	conf
ADD --checksum=sha256:00 https://example.org/x.tar.gz /src/
EXPOSE 80 443/tcp 8000-8010/udp
VOLUME ["/data", "/more"]
WORKDIR /a dir with blanks
USER app:app
HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost
STOPSIGNAL SIGQUIT
ONBUILD COPY . /app
ENTRYPOINT ["/app"]
CMD echo hello
FROM scratch
COPY --from=build /out /
"#;

#[test]
fn every_instruction_is_read() {
    let file = Dockerfile::parse(EVERYTHING).unwrap();
    insta::assert_debug_snapshot!(file.directives);
    let mut text = String::new();
    for stage in &file.stages {
        let body = stage.body.iter();
        for line in std::iter::once(&stage.head).chain(body) {
            let at = line.excerpt.line;
            text.push_str(&format!("{at}: {:#?}\n", line.command));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_are_shown_with_a_caret() {
    let mistakes = [
        "",
        "# only a comment\n",
        "RUN x\n",
        "ARG A\n",
        "FROM a\nRUNN echo\n",
        "FROM a\nCOPY --chwon=1 a b\n",
        "FROM a\nRUN a && \\\n  b\nCOPY a\n",
        "FROM a\nRUN --mount=type=chache,target=/x \\\n   make\n",
        "FROM a\nRUN \\\n   --mount=type=cache,tarrget=/x make\n",
        "FROM a b\n",
        "FROM a AS 1st\n",
        "FROM a\nENV A\n",
        "FROM a\nENV A=1 B\n",
        "FROM a\nLABEL =x\n",
        "FROM a\nSHELL bash -c\n",
        "FROM a\nRUN <<EOF\necho\n",
        "FROM a\nHEALTHCHECK --interval=5 CMD x\n",
        "FROM a\nHEALTHCHECK maybe\n",
        "FROM a\nONBUILD ONBUILD RUN x\n",
        "FROM a\nONBUILD FROM x\n",
        "FROM a\nONBUILD RUN <<EOF\n",
        "FROM a\nCOPY --link=perhaps a b\n",
        "FROM a\nCOPY --from=$X a b\n",
        "FROM a\nSTOPSIGNAL\n",
        "FROM a\nVOLUME [\"\"]\n",
        "FROM a\nCMD [\"a\", 1]\n",
        "# escape=x\nFROM a\n",
        "FROM a\n\tRUN --network=bridge x\n",
    ];
    let all: Vec<String> = mistakes
        .iter()
        .map(|text| format!("{text:?}\n{}\n", complaint(text)))
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_escape_directive_leaves_backslashes_alone() {
    let text = "# escape=`\nFROM a\nRUN dir c:\\ `\n  && x\n";
    let file = Dockerfile::parse(text).unwrap();
    assert_eq!(file.stages[0].body[0].text, "RUN dir c:\\   && x");
}

#[test]
fn an_escaped_escape_ends_the_line() {
    let file = Dockerfile::parse("FROM a\nRUN x \\\\\nRUN y\n").unwrap();
    assert_eq!(file.stages[0].body.len(), 2);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    let text = "\u{feff}FROM a\r\nRUN b \\\r\n c\r\n";
    let file = Dockerfile::parse(text).unwrap();
    assert_eq!(file.stages[0].body[0].text, "RUN b  c");
}

#[test]
fn a_bracket_that_is_no_json_is_a_shell_command() {
    let Command::Cmd(command) = one("CMD [ -f /x ] && y") else { panic!() };
    assert_eq!(command, CommandLine::Shell("[ -f /x ] && y".into()));
}

#[test]
fn a_heredoc_that_is_the_whole_command_is_a_script() {
    let text = "RUN <<EOF\n#!/usr/bin/python3\nprint(1)\nEOF";
    let Command::Run(run) = one(text) else { panic!() };
    let script = run.script.unwrap();
    assert_eq!(script.content, "#!/usr/bin/python3\nprint(1)\n");
}

#[test]
fn a_here_string_is_left_to_the_shell() {
    let Command::Run(run) = one("RUN cat <<<EOF") else { panic!() };
    assert_eq!(run.command, CommandLine::Shell("cat <<<EOF".into()));
}

proptest! {
    #[test]
    fn no_instruction_makes_it_panic(
        text in "(FROM|RUN|COPY|ENV|#|<<|[-a-z=\"'\\\\ \n\t\\[\\],$]){0,40}",
    ) {
        let _ = Dockerfile::parse(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn any_text_is_survived(text in "\\PC*(\n\\PC*){0,6}") {
        let _ = Dockerfile::parse(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn continuation_lines_join_to_the_same_command(
        words in prop::collection::vec("[a-z]{1,6}", 1..8),
    ) {
        let line = format!("FROM a\nRUN {}\n", words.join(" "));
        let many = format!("FROM a\nRUN {}\n", words.join(" \\\n# c\n"));
        let a = Dockerfile::parse(&line).unwrap();
        let b = Dockerfile::parse(&many).unwrap();
        prop_assert_eq!(&a.stages[0].body[0].text, &b.stages[0].body[0].text);
    }
}
