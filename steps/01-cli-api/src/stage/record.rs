//! What the daemon remembers of a container, on disk and for `inspect`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Ended, Run};
use crate::human;

/// A container: what was asked, and what became of it. Field names are
/// Docker's where Docker has the field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Record<F> {
    /// 64 hexadecimal digits.
    pub id: String,
    /// For people.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// What became of it.
    pub state: State,
    /// What was asked.
    pub config: Run<F>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// In a word.
    pub status: Status,
    /// PID of its first process as the host counts; 0 if none runs.
    pub pid: u32,
    /// The start of that process in clock ticks after boot (field 22 of
    /// proc_pid_stat(5)): a PID is given again, the two together are not.
    pub start_ticks: u64,
    /// Exit code, once it has exited.
    pub exit_code: i32,
    /// Whether the kernel killed it for lack of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Why it could not be started; mostly empty.
    pub error: String,
    /// RFC 3339; empty before.
    pub started_at: String,
    /// RFC 3339; empty before.
    pub finished_at: String,
}

/// A container is created, then it runs, then it has exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing has been started yet.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended, or could not be started.
    Exited,
}

impl<F> Record<F> {
    /// Of a container that has just been asked for.
    pub(crate) fn new(run: Run<F>) -> Record<F> {
        Record {
            id: run.id.clone(),
            name: run.name.clone(),
            created: Timestamp::now().to_string(),
            state: State {
                status: Status::Created,
                pid: 0,
                start_ticks: 0,
                exit_code: 0,
                oom_killed: false,
                error: String::new(),
                started_at: String::new(),
                finished_at: String::new(),
            },
            config: run,
        }
    }
}

impl State {
    /// Its process runs now.
    pub(crate) fn running(&mut self, pid: u32) {
        self.status = Status::Running;
        self.pid = pid;
        self.start_ticks = start_ticks(pid).unwrap_or(0);
        self.started_at = Timestamp::now().to_string();
    }

    /// Its process has ended, or could not be started, which `error` says.
    pub(crate) fn exited(&mut self, ended: Ended, error: String) {
        self.status = Status::Exited;
        self.pid = 0;
        self.exit_code = ended.code;
        self.oom_killed = ended.oom_killed;
        self.error = error;
        self.finished_at = Timestamp::now().to_string();
    }

    /// The STATUS column of `ps`.
    pub fn for_people(&self) -> String {
        let since = |text: &str| {
            let time = text.parse().unwrap_or_else(|_| Timestamp::now());
            human::since(time)
        };
        match self.status {
            Status::Created => "Created".to_owned(),
            Status::Running => format!("Up {}", since(&self.started_at)),
            Status::Exited => {
                let ago = since(&self.finished_at);
                format!("Exited ({}) {ago} ago", self.exit_code)
            }
        }
    }

    /// Whether its process is there: the same PID with the same start.
    pub(crate) fn alive(&self) -> bool {
        self.pid != 0 && start_ticks(self.pid) == Some(self.start_ticks)
    }
}

/// Field 22 of `/proc/PID/stat`. The second field is the program's name in
/// parentheses and may contain anything, so counting begins after the last
/// parenthesis.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_start_is_found_and_does_not_change() {
        let own = start_ticks(std::process::id());
        assert!(own.is_some_and(|it| it > 0));
        assert_eq!(own, start_ticks(std::process::id()));
    }
}
