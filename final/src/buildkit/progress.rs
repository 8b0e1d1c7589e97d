//! What people see of a build: lines ("vertexes") that begin, say something,
//! and end. The words are BuildKit's, because people know them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use layers::build::{BuildEvent, StepBegins, StepEnds};
use layers::registry::Progress as Step;
use layers::{Digest, Stream};

use super::job::Job;
use super::wire::Timestamp;
use super::wire::control::{
    StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};

/// How much of what a step writes is shown.
const MOST_LOG: usize = 2 << 20;

/// A line that has begun. One that is dropped without a word about its end
/// was given up.
#[derive(Debug)]
pub(super) struct Line {
    job: Arc<Job>,
    vertex: Vertex,
    /// When what goes on within it began, by name.
    begun: HashMap<String, Timestamp>,
    /// How many bytes its command wrote.
    said: AtomicUsize,
}

impl Line {
    /// Begins one.
    pub(super) fn begin(job: &Arc<Job>, name: impl Into<String>) -> Line {
        let name = name.into();
        // Any digest will do that no other line of the build has.
        let digest = Digest::of(cli_api::id::hex64().as_bytes()).to_string();
        let started = Some(Timestamp::now());
        let vertex = Vertex { digest, name, started, ..Vertex::default() };
        let (job, begun) = (job.clone(), HashMap::new());
        let line = Line { job, vertex, begun, said: AtomicUsize::new(0) };
        line.tell();
        line
    }

    fn tell(&self) {
        let vertexes = vec![self.vertex.clone()];
        self.job.tell(StatusResponse { vertexes, ..StatusResponse::default() });
    }

    /// What a command wrote. All of a build's progress is kept until it has
    /// ended, so there is an end to it, BuildKit's.
    pub(super) fn log(&self, stream: i64, bytes: &[u8]) {
        let before = self.said.fetch_add(bytes.len(), Ordering::Relaxed);
        let bytes = match before {
            before if before > MOST_LOG => return,
            before if before + bytes.len() > MOST_LOG => {
                &b"\n[output clipped, log limit 2MiB reached]\n"[..]
            }
            _ => bytes,
        };
        let log = VertexLog {
            vertex: self.vertex.digest.clone(),
            timestamp: Some(Timestamp::now()),
            stream,
            msg: bytes.to_vec(),
        };
        let logs = vec![log];
        self.job.tell(StatusResponse { logs, ..StatusResponse::default() });
    }

    /// Something that may be worth a look.
    pub(super) fn warn(&self, text: &str) {
        let warning = VertexWarning {
            vertex: self.vertex.digest.clone(),
            level: 1,
            short: text.as_bytes().to_vec(),
        };
        let warnings = vec![warning];
        self.job.tell(StatusResponse { warnings, ..StatusResponse::default() });
    }

    /// How far something within it is, in bytes.
    pub(super) fn part(
        &mut self,
        id: &str,
        (current, total): (u64, u64),
        completed: bool,
    ) {
        let now = Timestamp::now();
        let started = *self.begun.entry(id.to_owned()).or_insert(now);
        let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let status = VertexStatus {
            id: id.to_owned(),
            vertex: self.vertex.digest.clone(),
            current: number(current),
            total: number(total),
            timestamp: Some(now),
            started: Some(started),
            completed: completed.then_some(now),
        };
        let statuses = vec![status];
        self.job.tell(StatusResponse { statuses, ..StatusResponse::default() });
    }

    /// It has come to its end.
    pub(super) fn done(mut self) {
        self.complete(String::new());
    }

    /// It need not be done.
    pub(super) fn cached(mut self) {
        self.vertex.cached = true;
        self.complete(String::new());
    }

    /// It has failed.
    pub(super) fn failed(mut self, error: &str) {
        self.complete(error.to_owned());
    }

    /// Either, as the result says.
    pub(super) fn ended<T, E: std::fmt::Display>(
        self,
        result: Result<T, E>,
    ) -> Result<T, E> {
        match &result {
            Ok(_) => self.done(),
            Err(error) => self.failed(&error.to_string()),
        }
        result
    }

    fn complete(&mut self, error: String) {
        self.vertex.error = error;
        self.vertex.completed = Some(Timestamp::now());
        self.tell();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.vertex.completed.is_none() {
            self.complete("context canceled".to_owned());
        }
    }
}

/// The builder's events as lines, one at a time for each of its stages.
#[derive(Debug)]
pub(super) struct Steps {
    job: Arc<Job>,
    open: HashMap<usize, Line>,
    /// The one because of which the build fails; why, is known later.
    failed: Option<Line>,
}

impl Steps {
    pub(super) fn new(job: &Arc<Job>) -> Steps {
        Steps { job: job.clone(), open: HashMap::new(), failed: None }
    }

    /// What has happened in a stage.
    pub(super) fn hear(&mut self, stage: usize, event: BuildEvent) {
        match event {
            BuildEvent::Begin(step) => {
                let line = Line::begin(&self.job, name(&step));
                self.open.insert(stage, line);
            }
            BuildEvent::End(how) => self.end(stage, how),
            BuildEvent::Output(stream, bytes) => {
                if let Some(line) = self.open.get(&stage) {
                    let number = match stream {
                        Stream::Stdout => 1,
                        Stream::Stderr => 2,
                    };
                    line.log(number, &bytes);
                }
            }
            BuildEvent::Pull(step) => {
                if let Some(line) = self.open.get_mut(&stage) {
                    pulling(line, &step);
                }
            }
            BuildEvent::Line(text) => self.warn(stage, &text),
            BuildEvent::Image(_)
            | BuildEvent::Cache(_)
            | BuildEvent::Failed(..) => {}
        }
    }

    /// Of the classic builder's lines those that are news here too.
    fn warn(&mut self, stage: usize, text: &str) {
        let Some(text) = text.strip_prefix("[Warning] ") else { return };
        match self.open.get(&stage) {
            Some(line) => line.warn(text.trim_end()),
            None => {
                let line = Line::begin(&self.job, "[internal] check the build");
                line.warn(text.trim_end());
                line.done();
            }
        }
    }

    fn end(&mut self, stage: usize, how: StepEnds) {
        let Some(line) = self.open.remove(&stage) else { return };
        match how {
            StepEnds::Done => line.done(),
            StepEnds::Cached => line.cached(),
            StepEnds::Stopped => drop(line),
            StepEnds::Failed => {
                self.failed.get_or_insert(line);
            }
        }
    }

    /// The build has failed, and this is why.
    pub(super) fn fail(mut self, error: &str) {
        if let Some(line) = self.failed.take() {
            line.failed(error);
        }
    }
}

/// `[build 2/3] RUN make`
fn name(step: &StepBegins) -> String {
    let StepBegins { stage, place, of, text } = step;
    let stage = stage.as_ref().map(|it| format!("{it} ")).unwrap_or_default();
    let width = of.to_string().len();
    format!("[{stage}{place:>width$}/{of}] {text}")
}

/// A layer on its way; what comes without numbers is said as it is.
fn pulling(line: &mut Line, step: &Step) {
    let id = match step.id.as_str() {
        "" => return line.log(1, format!("{}\n", step.status).as_bytes()),
        id => id,
    };
    let verb = match step.status.as_str() {
        "Extracting" | "Pull complete" => "extracting",
        _ => "pulling",
    };
    let ended = matches!(step.status.as_str(), "Pull complete");
    let id = format!("{verb} {id}");
    line.part(&id, step.bytes.unwrap_or_default(), ended);
}
