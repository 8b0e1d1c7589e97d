//! Starts commands that end in every way there is.

use std::process::{Command, Stdio};

use exercises::{Verdict, observed};

use super::learner;

pub fn check() -> Verdict {
    let cases = [
        ("code", "exit 0", 0),
        ("code", "exit 7", 7),
        ("signal", "kill -TERM $$", 143),
        ("signal", "kill -KILL $$", 137),
    ];
    let mut seen = Vec::new();
    for (cause, script, wanted) in cases {
        let mut command = Command::new("sh");
        let got = learner::run(command.args(["-c", script]));
        if got != wanted {
            return Err(observed(
                cause,
                format!("sh -c '{script}': {got}, where docker has {wanted}"),
            ));
        }
        seen.push(format!("sh -c '{script}': {got}"));
    }
    for (cause, program, wanted) in
        [("not-found", "./no-such", 127), ("not-program", "/etc/passwd", 126)]
    {
        let mut command = Command::new(program);
        let got = learner::run(command.stderr(Stdio::null()));
        if got != wanted {
            return Err(observed(
                cause,
                format!("running {program}: {got}, where docker has {wanted}"),
            ));
        }
        seen.push(format!("{program}: {got}"));
    }
    Ok(seen)
}
