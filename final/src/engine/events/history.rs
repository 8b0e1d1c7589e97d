//! The past events, bounded by their size, and kept across daemons.
//!
//! dockerd remembers 256 events until it ends. A build of one image brings
//! as many, and "what happened before it crashed?" is asked afterwards; so
//! here they are also lines of a file. To append a line costs a few
//! microseconds and no sync: only a crash of the whole machine loses some.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Event;

/// How much is remembered: some ten thousand events.
const LIMIT: usize = 4 << 20;

/// Events in the order of time.
#[derive(Debug)]
pub(super) struct History {
    events: VecDeque<(Event, usize)>,
    /// Bytes of the events' lines.
    size: usize,
    path: PathBuf,
    /// `None` where it cannot be written; the events are in memory then.
    file: Option<File>,
    /// Bytes of the file, which may hold events that are forgotten already.
    written: usize,
}

impl History {
    /// What is in the file at `path`, if there is one.
    pub(super) fn open(path: &Path) -> History {
        let text = std::fs::read(path).unwrap_or_default();
        let mut history = History {
            events: VecDeque::new(),
            size: 0,
            path: path.to_owned(),
            file: None,
            written: 0,
        };
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // A daemon that was killed may have left half a line.
            if let Ok(event) = serde_json::from_slice(line) {
                history.remember(event, line.len());
            }
        }
        history.rewrite();
        history
    }

    pub(super) fn push(&mut self, event: Event) {
        let Ok(mut line) = serde_json::to_vec(&event) else { return };
        line.push(b'\n');
        self.remember(event, line.len());
        if self.written + line.len() > 2 * LIMIT {
            self.rewrite();
        } else if let Some(file) = &mut self.file {
            match file.write_all(&line) {
                Ok(()) => self.written += line.len(),
                Err(error) => self.give_up(&error),
            }
        }
    }

    pub(super) fn since(&self, moment: Timestamp) -> Vec<Event> {
        let first = self.events.partition_point(|(it, _)| it.at() < moment);
        self.events.iter().skip(first).map(|(it, _)| it.clone()).collect()
    }

    fn remember(&mut self, event: Event, length: usize) {
        self.events.push_back((event, length));
        self.size += length;
        while self.size > LIMIT
            && let Some((_, length)) = self.events.pop_front()
        {
            self.size -= length;
        }
    }

    /// Writes a file without what is forgotten.
    fn rewrite(&mut self) {
        match self.write_all() {
            Ok(file) => {
                self.file = Some(file);
                self.written = self.size;
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn write_all(&self) -> io::Result<File> {
        let new = self.path.with_extension("new");
        let mut file = io::BufWriter::new(File::create(&new)?);
        for (event, _) in &self.events {
            serde_json::to_writer(&mut file, event)?;
            file.write_all(b"\n")?;
        }
        let file = file.into_inner()?;
        std::fs::rename(&new, &self.path)?;
        Ok(file)
    }

    fn give_up(&mut self, error: &io::Error) {
        let path = self.path.display();
        tracing::warn!("events are no longer kept in {path}: {error}");
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attributes, Kind};
    use super::*;

    fn event(id: &str) -> Event {
        Event::new(Kind::Volume, "create", id, Attributes::new())
    }

    fn ids(history: &History) -> Vec<String> {
        let all = history.since(Timestamp::MIN);
        all.into_iter().map(|event| event.actor.id).collect()
    }

    #[test]
    fn the_next_daemon_knows_what_happened_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.json");
        let mut first = History::open(&path);
        first.push(event("a"));
        first.push(event("b"));
        drop(first);
        // It was killed in the middle of a line.
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(br#"{"Type":"vol"#).unwrap();
        let mut second = History::open(&path);
        second.push(event("c"));
        assert_eq!(ids(&second), ["a", "b", "c"]);
        assert_eq!(ids(&History::open(&path)), ["a", "b", "c"]);
    }

    #[test]
    fn the_oldest_are_forgotten_and_neither_memory_nor_file_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.json");
        let mut history = History::open(&path);
        let long = "x".repeat(LIMIT / 8);
        for number in 0..40 {
            history.push(event(&format!("{number}{long}")));
        }
        let left = ids(&history);
        assert!((6..8).contains(&left.len()), "{}", left.len());
        assert!(left.last().unwrap().starts_with("39x"));
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= 2 * LIMIT as u64, "{size}");
    }

    #[test]
    fn since_is_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(&dir.path().join("events.json"));
        history.push(event("a"));
        let now = Timestamp::now();
        history.push(event("b"));
        let late = history.since(now);
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].actor.id, "b");
    }
}
