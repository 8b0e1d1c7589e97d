//! What the engine reports while it pulls, pushes, loads or builds.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::failure::Failure;

/// One line of the stream; every field may be missing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    pub(crate) stream: String,
    pub(crate) status: String,
    pub(crate) id: String,
    #[serde(rename = "progressDetail")]
    detail: Option<Detail>,
    pub(crate) aux: Option<serde_json::Value>,
    #[serde(rename = "errorDetail")]
    error: Option<ErrorDetail>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: u64,
    total: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    code: i32,
    message: String,
}

/// Where to show what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Everything on standard output.
    Output,
    /// Everything on standard error: the output belongs to the container.
    Errors,
    /// Only failures.
    Nothing,
}

/// Shows the messages of `answer` as they come, and hands each to `look`.
///
/// # Errors
/// The failure that the engine reports in the stream, with its exit code.
pub(crate) async fn follow(
    answer: Response<Incoming>,
    show: Show,
    mut look: impl FnMut(&Message),
) -> anyhow::Result<()> {
    let mut shown = Shown::new(answer, show);
    while let Some(message) = shown.next().await? {
        look(&message);
    }
    Ok(())
}

/// Messages that are shown as they are read.
pub(crate) struct Shown {
    screen: Screen,
    lines: Lines,
}

impl Shown {
    pub(crate) fn new(answer: Response<Incoming>, show: Show) -> Shown {
        Shown { screen: Screen::new(show), lines: Lines::new(answer) }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// The failure that the engine reports in the stream, with its exit code.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Message>> {
        while let Some(line) = self.lines.next().await? {
            let Ok(message) = serde_json::from_slice::<Message>(&line) else {
                continue;
            };
            if let Some(error) = message.error {
                self.screen.finish();
                let code = u8::try_from(error.code).unwrap_or(1).max(1);
                return Err(Failure::new(code, error.message).into());
            }
            self.screen.show(&message)?;
            return Ok(Some(message));
        }
        self.screen.finish();
        Ok(None)
    }
}

/// A body cut into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    pending: bytes::BytesMut,
}

impl Lines {
    pub(crate) fn new(answer: Response<Incoming>) -> Lines {
        Lines { body: answer.into_body(), pending: bytes::BytesMut::new() }
    }

    /// The next line without its end; `None` at the end of the body.
    pub(crate) async fn next(
        &mut self,
    ) -> anyhow::Result<Option<bytes::Bytes>> {
        loop {
            let end = self.pending.iter().position(|it| *it == b'\n');
            if let Some(end) = end {
                let line = self.pending.split_to(end).freeze();
                self.pending.advance(1);
                return Ok(Some(line));
            }
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame?;
                    let data = frame.data_ref().map_or(&[][..], |it| it);
                    self.pending.extend_from_slice(data);
                }
                None if self.pending.is_empty() => return Ok(None),
                None => return Ok(Some(self.pending.split().freeze())),
            }
        }
    }
}

/// Bars on a terminal, lines elsewhere.
struct Screen {
    show: Show,
    bars: Option<MultiProgress>,
    by_id: HashMap<String, ProgressBar>,
    /// The last status per layer, to print it once where there are no bars.
    last: HashMap<String, String>,
}

impl Screen {
    fn new(show: Show) -> Screen {
        let terminal = match show {
            Show::Output => std::io::stdout().is_terminal(),
            Show::Errors => std::io::stderr().is_terminal(),
            Show::Nothing => false,
        };
        Screen {
            show,
            bars: terminal.then(MultiProgress::new),
            by_id: HashMap::new(),
            last: HashMap::new(),
        }
    }

    fn show(&mut self, message: &Message) -> anyhow::Result<()> {
        if self.show == Show::Nothing {
            return Ok(());
        }
        if !message.stream.is_empty() {
            self.print(&message.stream)?;
        }
        if message.status.is_empty() {
            return Ok(());
        }
        if message.id.is_empty() {
            return self.print(&format!("{}\n", message.status));
        }
        if self.bars.is_some() {
            self.bar(message);
            return Ok(());
        }
        // Without a terminal a line for each change, not for each percent.
        let last = self.last.insert(message.id.clone(), message.status.clone());
        if last.as_ref() == Some(&message.status) {
            return Ok(());
        }
        self.print(&format!("{}: {}\n", message.id, message.status))
    }

    fn bar(&mut self, message: &Message) {
        let Some(bars) = &self.bars else { return };
        let bar = self.by_id.entry(message.id.clone()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::no_length());
            bar.set_prefix(message.id.clone());
            bar
        });
        bar.set_message(message.status.clone());
        match &message.detail {
            Some(it) if it.total > 0 => {
                bar.set_style(style(WITH_BAR));
                bar.set_length(it.total);
                bar.set_position(it.current.min(it.total));
            }
            _ => {
                bar.set_style(style(WITHOUT_BAR));
                bar.tick();
            }
        }
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        let write = || -> std::io::Result<()> {
            if self.show == Show::Errors {
                return std::io::stderr().write_all(text.as_bytes());
            }
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        };
        match &self.bars {
            Some(bars) => bars.suspend(write)?,
            None => write()?,
        }
        Ok(())
    }

    fn finish(&mut self) {
        for bar in self.by_id.values() {
            bar.abandon();
        }
    }
}

const WITH_BAR: &str = "{prefix}: {msg:12} [{bar:40}] {bytes}/{total_bytes}";
const WITHOUT_BAR: &str = "{prefix}: {msg}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
