//! Starts a detached command twice and looks at its session and its files.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use exercises::{Verdict, failed, link, observed, scratch};

use super::learner;

pub fn check() -> Verdict {
    let log = scratch().join("log");
    let mut command = Command::new("sleep");
    // What a terminal would give it.
    command.arg("30").stdin(Stdio::piped());
    learner::detach(&mut command, &log)
        .map_err(|error| failed("error", "detach", &error))?;
    let mut child = command.spawn().expect("start sleep");
    // The streams are those of before the execve, so they are right at once.
    let pid = child.id();
    // SAFETY: getsid has no preconditions. A session from outside of this
    // PID namespace is 0 here.
    let session = unsafe { libc::getsid(pid.cast_signed()) };
    let input = link(pid, "fd/0");
    child.kill().expect("kill");
    child.wait().expect("wait");
    if session.unsigned_abs() != pid {
        return Err(observed(
            "session",
            format!(
                "the command is {pid}, and its session is {session}, that of \
                 who started it"
            ),
        ));
    }
    if input != "/dev/null" {
        return Err(observed(
            "input",
            format!("its standard input is {input}"),
        ));
    }
    let written = twice(&log)?;
    Ok(vec![
        format!("{pid} leads a session of its own"),
        "it reads from /dev/null".to_owned(),
        format!("after two runs the log has {written:?}"),
    ])
}

fn twice(log: &std::path::Path) -> Result<String, exercises::Observation> {
    for number in [1, 2] {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("echo out{number}; echo err{number} >&2")]);
        command.stderr(Stdio::null()).stdout(Stdio::null());
        learner::detach(&mut command, log)
            .map_err(|error| failed("error", "detach", &error))?;
        command.status().expect("run sh");
    }
    let start = Instant::now();
    let mut text = fs::read_to_string(log).unwrap_or_default();
    while !text.contains("err2") && start.elapsed() < Duration::from_millis(200)
    {
        sleep(Duration::from_millis(20));
        text = fs::read_to_string(log).unwrap_or_default();
    }
    let cause = if !text.contains("out2") {
        "no-log"
    } else if !text.contains("err2") {
        "stderr"
    } else if !text.contains("out1") || !text.contains("err1") {
        "overwritten"
    } else {
        return Ok(text);
    };
    Err(observed(
        cause,
        format!(
            "two runs wrote out1, err1 and out2, err2; the log has {text:?}"
        ),
    ))
}
