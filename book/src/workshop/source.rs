//! One source, two texts: the solution, and the learner's file.
//!
//! What a learner is to write stands between marks, and behind it, as
//! comments, what the learner finds in its place:
//!
//! ```text
//! // BEGIN
//! libc::CLONE_NEWPID
//! // STARTER
//! //= todo!("a process table of its own")
//! // END
//! ```

use anyhow::{Result, bail};

const BEGIN: &str = "// BEGIN";
const STARTER: &str = "// STARTER";
const END: &str = "// END";
const PLACEHOLDER: &str = "//= ";

/// Both texts of a source with marks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) solution: String,
    pub(crate) starter: String,
}

#[derive(PartialEq, Eq)]
enum At {
    Common,
    Solution,
    Starter,
}

/// Splits a source. Fails on marks out of order, and on a source in which
/// nothing is left to the learner.
pub(crate) fn split(source: &str) -> Result<Texts> {
    let mut texts = Texts { solution: String::new(), starter: String::new() };
    let mut at = At::Common;
    for (number, line) in source.lines().enumerate() {
        let number = number + 1;
        at = match (line.trim(), at) {
            (BEGIN, At::Common) => At::Solution,
            (STARTER, At::Solution) => At::Starter,
            (END, At::Starter) => At::Common,
            (mark @ (BEGIN | STARTER | END), _) => {
                bail!("line {number}: `{mark}` out of order")
            }
            (_, At::Common) => {
                push(&mut texts.solution, line);
                push(&mut texts.starter, line);
                At::Common
            }
            (_, At::Solution) => {
                push(&mut texts.solution, line);
                At::Solution
            }
            (trimmed, At::Starter) => {
                let Some(shown) = trimmed.strip_prefix(PLACEHOLDER) else {
                    bail!("line {number}: does not begin with `//= `");
                };
                let indent = &line[..line.len() - line.trim_start().len()];
                push(&mut texts.starter, &format!("{indent}{shown}"));
                At::Starter
            }
        };
    }
    if at != At::Common {
        bail!("a `// BEGIN` without its `// END`");
    }
    if texts.solution == texts.starter {
        bail!("nothing is left to the learner");
    }
    Ok(texts)
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solution_and_starter_are_cut_out_of_one_source() {
        let source = "fn a() {\n    // BEGIN\n    b();\n    // STARTER\n    \
                      //= todo!(\"b\");\n    // END\n}\n";
        let texts = split(source).unwrap();
        assert_eq!(texts.solution, "fn a() {\n    b();\n}\n");
        assert_eq!(texts.starter, "fn a() {\n    todo!(\"b\");\n}\n");
    }

    #[test]
    fn marks_out_of_order_are_refused() {
        for (source, message) in [
            ("// END\n", "line 1: `// END` out of order"),
            ("// BEGIN\na\n// END\n", "line 3: `// END` out of order"),
            ("// BEGIN\na\n// STARTER\nb\n", "line 4: does not begin"),
            ("// BEGIN\na\n", "without its"),
            ("a\n", "nothing is left"),
        ] {
            let error = split(source).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
