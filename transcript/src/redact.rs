//! Redaction: what differs between two runs that both tell the truth.
//!
//! A container's ID, a PID or a duration is new each time. Before a
//! transcript is compared with the text, both go through [`redact`], which
//! replaces such parts by a word that says what stood there. The text itself
//! keeps the concrete values, because those are what a reader wants to see.

use std::sync::LazyLock;

use regex::Regex;

/// What is looked for and what it becomes, in this order.
const RULES: [(&str, &str); 17] = [
    (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
    (r"\x1b\[[0-9;]*[A-Za-z]", ""),
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?Z| ?[+-]\d\d:?\d\d)?( UTC)?",
        "<time>",
    ),
    (r"\b\d\d:\d\d(:\d\d)?\b", "<time>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [A-Z0-9][A-Za-z0-9 ]*\d\b", "<time>"),
    // As ls(1) has it.
    (
        r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} +(<time>|\d{4}\b)",
        "<time>",
    ),
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<id>"),
    (r"\bveth[0-9a-f]{7}\b", "<veth>"),
    (
        r"(?i)\b(less than a|about an?|\d+) (second|minute|hour|day|week|month|year)s?( ago)?",
        "<age>",
    ),
    (r"\d+(\.\d+)? ?(ns|µs|us|ms|s|m)(\b|$)", "<duration>"),
    (r"\d+(\.\d+)? ?([kKMGT]i?B|B)(\b|$)", "<size>"),
    (r"\d+(\.\d+)?%", "<n>%"),
    (r"\b172\.\d+\.\d+\.\d+\b", "<ip>"),
    (r"\b0x[0-9a-f]+\b", "<n>"),
    (r"\b\d{4,}\b", "<n>"),
    (r"[ \t]+", " "),
];

/// Replaces what no two runs share; columns lose their padding.
pub fn redact(text: &str) -> String {
    static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let compile = |(rule, word)| {
            // The rules are constants, and a test applies every one.
            (Regex::new(rule).expect("a rule is a regular expression"), word)
        };
        RULES.into_iter().map(compile).collect()
    });
    let mut text = text.replace("\r\n", "\n");
    for (rule, word) in COMPILED.iter() {
        text = rule.replace_all(&text, *word).into_owned();
    }
    let lines = text.lines().map(|line| line.trim_end());
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Whether `shown`, in which a line `…` stands for any number of lines,
/// describes `printed`. Both are redacted first.
pub fn matches(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (redact(shown), redact(printed));
    let shown: Vec<&str> = shown.lines().collect();
    let printed: Vec<&str> = printed.lines().collect();
    lines_match(&shown, &printed)
}

fn lines_match(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => {
            (0..=printed.len()).any(|skip| lines_match(rest, &printed[skip..]))
        }
        Some((line, rest)) => match printed.split_first() {
            Some((other, more)) => line == other && lines_match(rest, more),
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_two_runs_share_is_redacted() {
        let text = "0f3a5c7e9b1d  web  Up 3 seconds   2 minutes ago\n\
                    pid:[4026532201] 3482 12.5ms 41.2MiB / 100MiB exit 137\n\
                    2026-11-24T09:12:55.123456789Z 02:42:ac:11:00:02\n\
                    Nov  6 23:14 file, Nov 26  2026 old, Fri Nov 27 01:02:03";
        insta::assert_snapshot!(redact(text), @r"
        <id> web Up <age> <age>
        pid:[<n>] <n> <duration> <size> / <size> exit 137
        <time> <mac>
        <time> file, <time> old, <time> <time>
        ");
    }

    #[test]
    fn an_ellipsis_stands_for_any_lines() {
        assert!(matches("a\n…\nd", "a\nb\nc\nd"));
        assert!(matches("a\n…", "a"));
        assert!(!matches("a\n…\nd", "a\nb"));
    }
}
