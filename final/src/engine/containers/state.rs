//! The life of a container, as one table of transitions.
//!
//! ```text
//!  created ──▶ running ◀──▶ paused
//!                │ ▲
//!        (exit)  │ └───────── restarting ◀─┐
//!                ├──────────────────────────┘ (the policy says: again)
//!                ▼
//!  any that does not run ──▶ removing ──▶ gone, or dead if that failed
//! ```
//!
//! Everything that happens to a container passes through [`next`]; what is
//! not in its table is refused in Docker's words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::error::{Error, Result};

/// Docker's zero time: "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Where in its life a container is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words of `docker ps`, drawn above")]
pub enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    /// The word in the JSON and in `--filter status=`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Removing => "removing",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }

    /// The status by its word.
    pub fn parse(name: &str) -> Option<Status> {
        ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether there is a process.
    pub fn has_process(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }

    /// What the API calls "running": also what will run again by itself.
    pub fn is_up(self) -> bool {
        self.has_process() || self == Status::Restarting
    }
}

const ALL: [Status; 7] = [
    Status::Created,
    Status::Running,
    Status::Paused,
    Status::Restarting,
    Status::Removing,
    Status::Exited,
    Status::Dead,
];

/// What can happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its process runs.
    Start,
    /// It could not be started.
    StartFailed,
    /// Its processes are frozen.
    Pause,
    /// Its processes go on.
    Unpause,
    /// Its process has ended and will not be started again by itself.
    Exit,
    /// Its process has ended and the restart policy starts it again.
    ExitToRestart,
    /// Nobody waits for the next start any longer (`stop` in between).
    GiveUp,
    /// Its removal has begun.
    Remove,
    /// Its removal failed half-way.
    RemoveFailed,
}

/// The table. `id` is for the words of a refusal.
///
/// # Errors
/// Docker's sentence for what cannot happen in this state.
pub fn next(id: &str, from: Status, step: Step) -> Result<Status> {
    use Status::{
        Created, Dead, Exited, Paused, Removing, Restarting, Running,
    };
    match (from, step) {
        (Created | Exited | Restarting, Step::Start) => Ok(Running),
        (Created, Step::StartFailed) => Ok(Created),
        (Exited | Restarting, Step::StartFailed) => Ok(Exited),
        (Running, Step::Pause) => Ok(Paused),
        (Paused, Step::Unpause) => Ok(Running),
        (Running | Paused, Step::Exit) => Ok(Exited),
        (Running | Paused, Step::ExitToRestart) => Ok(Restarting),
        (Restarting, Step::GiveUp) => Ok(Exited),
        (Created | Exited | Dead, Step::Remove) => Ok(Removing),
        (Removing, Step::RemoveFailed) => Ok(Dead),
        (from, step) => Err(refusal(id, from, step)),
    }
}

/// Why `step` cannot be, as dockerd says it.
fn refusal(id: &str, from: Status, step: Step) -> Error {
    let conflict = |text: String| Error::Conflict(text);
    match (step, from) {
        (Step::Start, Status::Running) => Error::NotModified,
        (Step::Start, Status::Paused) => conflict(
            "cannot start a paused container, try unpause instead".to_owned(),
        ),
        (Step::Start, Status::Removing | Status::Dead) => conflict(
            "container is marked for removal and cannot be started".to_owned(),
        ),
        (Step::Pause, Status::Paused) => {
            conflict(format!("container {id} is already paused"))
        }
        (Step::Pause, Status::Restarting) => conflict(format!(
            "container {id} is restarting, wait until the container is running"
        )),
        (Step::Unpause, _) => {
            Error::Internal(format!("Container {id} is not paused"))
        }
        (Step::Remove, Status::Removing) => conflict(format!(
            "removal of container {id} is already in progress"
        )),
        (Step::Remove, Status::Paused) => conflict(
            "container is paused and must be unpaused first".to_owned(),
        ),
        (Step::Remove, status) => conflict(format!(
            "container is {}: stop the container before removing or force \
             remove",
            status.name()
        )),
        _ => conflict(format!("container {id} is not running")),
    }
}

/// `State` of a container, as the API shows it and as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct State {
    pub status: Status,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: i32,
    pub exit_code: i32,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl Default for State {
    fn default() -> Self {
        State {
            status: Status::Created,
            running: false,
            paused: false,
            restarting: false,
            oom_killed: false,
            dead: false,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            started_at: NEVER.to_owned(),
            finished_at: NEVER.to_owned(),
            health: None,
        }
    }
}

impl State {
    /// Moves on by `step`, keeping Docker's redundant booleans in line.
    ///
    /// # Errors
    /// As [`next`].
    pub fn advance(&mut self, id: &str, step: Step) -> Result<()> {
        self.status = next(id, self.status, step)?;
        self.running = self.status.is_up();
        self.paused = self.status == Status::Paused;
        self.restarting = self.status == Status::Restarting;
        self.dead = self.status == Status::Dead;
        if !self.status.has_process() {
            self.pid = 0;
        }
        Ok(())
    }
}

/// `State.Health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    pub failing_streak: i64,
    /// The last five probes, oldest first.
    pub log: Vec<Probe>,
}

/// One health check that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct Probe {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

/// Now, as Docker writes times: RFC 3339, nanoseconds, UTC.
pub fn now() -> String {
    let now = Timestamp::now();
    format!("{now:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 9] = [
        Step::Start,
        Step::StartFailed,
        Step::Pause,
        Step::Unpause,
        Step::Exit,
        Step::ExitToRestart,
        Step::GiveUp,
        Step::Remove,
        Step::RemoveFailed,
    ];

    #[test]
    fn the_table_is_this() {
        let mut table = String::new();
        for from in ALL {
            for step in STEPS {
                if let Ok(to) = next("ID", from, step) {
                    let (from, to) = (from.name(), to.name());
                    table += &format!("{from:10} {step:?} -> {to}\n");
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_cannot_be_is_refused_in_dockers_words() {
        let mut table = String::new();
        for step in [Step::Start, Step::Pause, Step::Unpause, Step::Remove] {
            for from in ALL {
                if let Err(error) = next("ID", from, step) {
                    let (status, from) = (error.status(), from.name());
                    table += &format!("{step:?} {from}: {status} {error}\n");
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn only_what_has_a_process_has_a_pid() {
        let mut state = State::default();
        state.advance("ID", Step::Start).unwrap();
        state.pid = 42;
        state.advance("ID", Step::Pause).unwrap();
        assert_eq!((state.pid, state.running, state.paused), (42, true, true));
        state.advance("ID", Step::ExitToRestart).unwrap();
        assert_eq!((state.pid, state.running), (0, true));
        state.advance("ID", Step::GiveUp).unwrap();
        assert!(!state.running && !state.restarting);
    }

    proptest::proptest! {
        #[test]
        fn no_sequence_of_steps_skips_the_process(
            steps in proptest::collection::vec(0usize..9, 0..40),
        ) {
            let mut state = State::default();
            let mut alive = false;
            for step in steps.into_iter().map(|at| STEPS[at]) {
                if state.advance("ID", step).is_ok() {
                    match step {
                        Step::Start => alive = true,
                        Step::Exit | Step::ExitToRestart => alive = false,
                        _ => {}
                    }
                }
                proptest::prop_assert_eq!(state.status.has_process(), alive);
            }
        }
    }
}
