//! Lines of JSON that tell a client how a long job goes: what `docker pull`,
//! `push`, `build` and `load` print while they wait.
//!
//! The words are Docker's, because programs read them. A client that goes away
//! holds nobody up: the job is cancelled, even while it waits for a server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use layers::registry::Cancel;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How many lines may wait for a slow client before the job waits as well.
const QUEUE: usize = 256;
/// Nobody reads more than ten bars a second.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a job says how it goes.
#[derive(Debug)]
pub struct Progress {
    lines: mpsc::Sender<Bytes>,
    began: AtomicBool,
    bars: Mutex<HashMap<String, Instant>>,
    cancel: Cancel,
}

/// The client's end. Dropped, by the server when the connection ends, it
/// cancels the job.
#[derive(Debug)]
pub struct Lines {
    lines: mpsc::Receiver<Bytes>,
    cancel: Cancel,
}

impl Lines {
    /// The next line; `None` when the job is over.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.lines.recv().await
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Progress {
    /// The job's end and the client's end.
    pub fn channel() -> (Progress, Lines) {
        let (lines, receiver) = mpsc::channel(QUEUE);
        let (began, bars) = (AtomicBool::new(false), Mutex::default());
        let cancel = Cancel::default();
        let theirs = Lines { lines: receiver, cancel: cancel.clone() };
        (Progress { lines, began, bars, cancel }, theirs)
    }

    /// The job's end where nobody wants to hear of it; it can be cancelled
    /// all the same.
    pub fn unheard(cancel: Cancel) -> Progress {
        let (lines, _) = mpsc::channel(1);
        let (began, bars) = (AtomicBool::new(false), Mutex::default());
        Progress { lines, began, bars, cancel }
    }

    /// Ends what waits for a registry when the client has gone away.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Sends one object as a line. To be called outside of async code only.
    pub fn send(&self, line: &Value) {
        let mut text = line.to_string();
        text.push_str("\r\n");
        self.began.store(true, Ordering::Relaxed);
        // That nobody listens any more is for the job to ask, see `gone`.
        let _ = self.lines.blocking_send(Bytes::from(text));
    }

    /// Whether a line was sent: the answer's status can no longer change.
    pub fn began(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }

    /// Whether the client has gone away.
    pub fn gone(&self) -> bool {
        self.cancel.check().is_err()
    }

    /// A line of its own.
    pub fn status(&self, text: &str) {
        self.send(&json!({ "status": text }));
    }

    /// What is being done to a thing (a layer, a tag).
    pub fn about(&self, id: &str, status: &str) {
        if id.is_empty() {
            return self.status(status);
        }
        self.send(&json!({
            "status": status, "progressDetail": {}, "id": id
        }));
    }

    /// How far it is. Only some of these are sent, the last one always.
    pub fn bar(&self, id: &str, status: &str, current: u64, total: u64) {
        if current < total && !self.due(id) {
            return;
        }
        self.send(&json!({
            "status": status,
            "progressDetail": { "current": current, "total": total },
            "progress": bar(current, total),
            "id": id,
        }));
    }

    /// A piece of text of a build or a load.
    pub fn stream(&self, text: &str) {
        self.send(&json!({ "stream": text }));
    }

    /// A result for programs, such as an image's ID.
    pub fn aux(&self, value: &Value) {
        self.send(&json!({ "aux": value }));
    }

    /// The job failed. Clients look at `errorDetail`; the code becomes the
    /// exit status of `docker build`.
    pub fn error(&self, message: &str, code: Option<i32>) {
        let detail = match code {
            Some(code) => json!({ "code": code, "message": message }),
            None => json!({ "message": message }),
        };
        self.send(&json!({ "errorDetail": detail, "error": message }));
    }

    fn due(&self, id: &str) -> bool {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match bars.get_mut(id) {
            Some(last) if now.duration_since(*last) < PAUSE => false,
            Some(last) => {
                *last = now;
                true
            }
            None => {
                bars.insert(id.to_owned(), now);
                true
            }
        }
    }
}

/// The bar that old clients print as it comes.
fn bar(current: u64, total: u64) -> String {
    if total == 0 {
        return format!("{:>8}", human(current));
    }
    let done = usize::try_from(current.saturating_mul(50) / total)
        .unwrap_or(50)
        .min(50);
    let (done, rest) = ("=".repeat(done), " ".repeat(50 - done));
    format!("[{done}>{rest}] {:>8}/{}", human(current), human(total))
}

/// Bytes as Docker prints them: four significant digits, units of 1000.
pub fn human(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1000.0 {
        let Some(next) = units.next() else { break };
        (size, unit) = (size / 1000.0, next);
    }
    let digits = match size {
        s if s >= 999.95 => 0,
        s if s >= 99.995 => 1,
        s if s >= 9.9995 => 2,
        _ => 3,
    };
    let mut text = format!("{size:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_digits_as_in_docker() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1kB"),
            (4_096, "4.096kB"),
            (77_812_345, "77.81MB"),
            (187_654_321, "187.7MB"),
            (1_500_000_000, "1.5GB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn a_bar_is_fifty_wide() {
        let half = bar(512, 1024);
        assert_eq!(
            half,
            format!("[{}>{}]     512B/1.024kB", "=".repeat(25), " ".repeat(25))
        );
    }

    #[test]
    fn bars_of_one_thing_come_ten_times_a_second_and_the_last_always() {
        let (progress, mut lines) = Progress::channel();
        for current in 0..=100 {
            progress.bar("a", "Downloading", current, 100);
        }
        drop(progress);
        let mut last = None;
        let mut count = 0;
        while let Ok(line) = lines.lines.try_recv() {
            last = Some(line);
            count += 1;
        }
        assert!(count < 50, "{count}");
        let last: Value = serde_json::from_slice(&last.unwrap()).unwrap();
        assert_eq!(last["progressDetail"]["current"], 100);
    }

    #[test]
    fn the_lines_are_dockers() {
        let (progress, mut lines) = Progress::channel();
        progress.about("abc", "Pulling fs layer");
        progress.about("", "Digest: sha256:1");
        progress.stream("Step 1/1 : FROM scratch\n");
        progress.error("it failed", Some(7));
        let mut text = String::new();
        while let Ok(line) = lines.lines.try_recv() {
            text += &String::from_utf8_lossy(&line);
        }
        insta::assert_snapshot!(text.replace('\r', ""), @r#"
        {"status":"Pulling fs layer","progressDetail":{},"id":"abc"}
        {"status":"Digest: sha256:1"}
        {"stream":"Step 1/1 : FROM scratch\n"}
        {"errorDetail":{"code":7,"message":"it failed"},"error":"it failed"}
        "#);
    }
}
