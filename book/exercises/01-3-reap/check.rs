//! Starts short and long commands and looks at the process table.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use exercises::{Verdict, failed, observed};

use super::learner;

pub fn check() -> Verdict {
    // A child of somebody else in the same program.
    let mut other =
        Command::new("sh").args(["-c", "sleep 0.2; exit 9"]).spawn().unwrap();
    let start = Instant::now();
    let mut sleeper = Command::new("sleep");
    let long = learner::start(sleeper.arg("1"))
        .map_err(|error| failed("error", "start", &error))?;
    if start.elapsed() > Duration::from_millis(700) {
        return Err(observed(
            "blocks",
            format!(
                "`start` of `sleep 1` returned after {:.1} s",
                start.elapsed().as_secs_f32()
            ),
        ));
    }
    if state(long).is_none() {
        return Err(observed(
            "not-running",
            format!("`sleep 1` was started as {long}; there is no such PID"),
        ));
    }
    // Not `true`: on a busy machine it has ended before `start` goes on, and
    // one glance at it would do.
    let short = learner::start(Command::new("sleep").arg("0.1"))
        .map_err(|error| failed("error", "start", &error))?;
    for _ in 0..500 {
        match state(short) {
            None | Some('Z') => break,
            _ => sleep(Duration::from_millis(10)),
        }
    }
    sleep(Duration::from_millis(300));
    if state(short) == Some('Z') {
        return Err(observed(
            "zombie",
            format!(
                "`sleep 0.1` ended long ago, and /proc/{short}/stat still has \
                 it, in state Z"
            ),
        ));
    }
    match other.wait() {
        Ok(status) if status.code() == Some(9) => {}
        other => {
            return Err(observed(
                "stolen",
                format!(
                    "another part of the program waited for its own child, \
                     which ended with 9, and got {other:?}"
                ),
            ));
        }
    }
    Ok(vec![
        format!("`sleep 1` was running as {long} when `start` returned"),
        format!("`sleep 0.1` ({short}) ended and left no entry in /proc"),
    ])
}

/// The letter in /proc/PID/stat; `None` if there is no such process.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}
