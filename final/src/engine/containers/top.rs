//! `docker top`: the processes in a container, as the host's ps(1) shows
//! them; without a ps on this host, from /proc by ourselves.

use std::process::Command;

use serde_json::{Value, json};

use super::state::Status;
use super::{Container, stop};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::Attributes;
use crate::shim;

impl Engine {
    /// `GET /containers/NAME/top`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it does not run; ps's own words for its
    /// arguments.
    pub fn top(&self, name: &str, arguments: &str) -> Result<Value> {
        let container = self.containers.find(name)?;
        let id = &container.id;
        match container.status() {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                return Err(Error::Conflict(format!(
                    "container {id} is restarting, wait until the container \
                     is running"
                )));
            }
            _ => {
                let text = format!("container {id} is not running");
                return Err(Error::Conflict(text));
            }
        }
        let pids = pids(&container)?;
        self.tell(&container, "top", Attributes::new());
        let arguments = match arguments {
            "" => "-ef",
            given => given,
        };
        match Command::new("ps").args(arguments.split(' ')).output() {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                select(&text, &pids)
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(Error::Invalid(format!("ps: {}", said.trim())))
            }
            Err(_) => Ok(from_proc(&pids)),
        }
    }
}

fn pids(container: &Container) -> Result<Vec<u32>> {
    if let Some(cgroup) = stop::cgroup(container)? {
        return cgroup.procs().map_err(Error::internal);
    }
    let record = shim::Record::load(&container.dir).map_err(Error::internal)?;
    Ok(housemates(record.pid.cast_unsigned()))
}

/// All in the PID namespace of `pid`, if that is not ours as well: how to
/// tell who belongs to a container without a cgroup.
fn housemates(pid: u32) -> Vec<u32> {
    let home = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let Ok(theirs) = home(&pid.to_string()) else { return vec![] };
    if home("self").is_ok_and(|ours| ours == theirs) {
        return vec![pid];
    }
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|it| it.file_name().into_string().ok())
        .filter(|it| home(it).is_ok_and(|lives| lives == theirs))
        .filter_map(|it| it.parse().ok())
        .collect()
}

/// The lines of ps(1) that are about these processes.
fn select(text: &str, pids: &[u32]) -> Result<Value> {
    let mut lines = text.lines();
    let titles: Vec<&str> =
        lines.next().unwrap_or_default().split_whitespace().collect();
    let Some(at) = titles.iter().position(|title| *title == "PID") else {
        let text = "Couldn't find PID field in ps output".to_owned();
        return Err(Error::Internal(text));
    };
    let rows: Vec<Vec<String>> = lines
        .map(|line| columns(line, titles.len()))
        .filter(|row| {
            let pid = row.get(at).and_then(|pid| pid.parse().ok());
            pid.is_some_and(|pid| pids.contains(&pid))
        })
        .collect();
    Ok(json!({ "Titles": titles, "Processes": rows }))
}

/// Words, of which the last takes all that is left: a command has spaces.
fn columns(line: &str, count: usize) -> Vec<String> {
    let mut rest = line.trim();
    let mut row = Vec::new();
    while row.len() + 1 < count {
        let Some((word, more)) = rest.split_once(char::is_whitespace) else {
            break;
        };
        row.push(word.to_owned());
        rest = more.trim_start();
    }
    row.push(rest.to_owned());
    row
}

fn from_proc(pids: &[u32]) -> Value {
    let row = |pid: &u32| {
        let dir = format!("/proc/{pid}");
        let status = std::fs::read_to_string(format!("{dir}/status")).ok()?;
        let field = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key))?;
            line.split_whitespace().nth(1).map(str::to_owned)
        };
        let line = std::fs::read(format!("{dir}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&line).replace('\0', " ");
        Some(vec![
            field("Uid:")?,
            pid.to_string(),
            field("PPid:")?,
            command.trim().to_owned(),
        ])
    };
    let rows: Vec<_> = pids.iter().filter_map(row).collect();
    json!({ "Titles": ["UID", "PID", "PPID", "CMD"], "Processes": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept_and_commands_stay_whole() {
        let text = "UID   PID  CMD\nroot    1  init\nroot   42  sh -c  x y\n";
        let top = select(text, &[42]).unwrap();
        insta::assert_snapshot!(top, @r#"{"Titles":["UID","PID","CMD"],"Processes":[["root","42","sh -c  x y"]]}"#);
    }
}
