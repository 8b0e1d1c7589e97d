//! Logs of containers: Docker's json-file format.
//!
//! One line of output is one line of JSON, so that a log can be cut, copied
//! and searched with ordinary tools and still knows which stream a line came
//! from and when:
//!
//! ```text
//! {"log":"hello\n","stream":"stdout","time":"2026-11-24T09:00:00.123456789Z"}
//! ```
//!
//! `log` has no `\n` at its end where a line was cut because it is longer
//! than [`MAX_LINE`], or where the process ended without one. When a file has
//! reached its size it is renamed to `NAME.1`, the older `NAME.1` to `NAME.2`
//! and so on; packed with gzip, it is `NAME.1.gz`.
//!
//! Nothing here needs a runtime: the shim, a single thread, writes logs.

mod read;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::frames::Stream;
pub use read::{Opened, Query, read};
pub use write::{Rotation, Writer};

/// The longest piece of output that becomes one entry, in bytes.
pub const MAX_LINE: usize = 16 << 10;

/// What a log says of its container in every line: labels, variables, a tag.
pub type Attributes = BTreeMap<String, String>;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The text with its `\n`.
    pub log: String,
    /// Where the process wrote it.
    pub stream: Stream,
    /// When the first of it was read from the process.
    pub time: Timestamp,
    /// What was asked to stand in every line; mostly nothing.
    pub attrs: Attributes,
}

impl Entry {
    /// The line as `docker logs -t` shows it: the time with nine digits, so
    /// that the columns align, then the text.
    pub fn with_time(&self) -> String {
        format!("{} {}", nanos(self.time), self.log)
    }

    /// Puts the attributes before the text, as `docker logs --details` shows
    /// them: `env=prod,tag=web`, coded as in a URL so that a comma or a space
    /// in one of them does not end it.
    pub fn show_details(&mut self) {
        let pair = |(key, value): (&String, &String)| {
            format!("{}={}", in_url(key), in_url(value))
        };
        let all: Vec<_> = self.attrs.iter().map(pair).collect();
        self.log = format!("{} {}", all.join(","), self.log);
    }
}

/// Go's `url.QueryEscape`.
fn in_url(text: &str) -> String {
    let code = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(code).collect()
}

/// RFC 3339 with all nine digits of the nanoseconds.
pub fn nanos(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// An entry as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    stream: &'a str,
    #[serde(default, skip_serializing_if = "is_none")]
    attrs: Cow<'a, Attributes>,
    /// RFC 3339, with as many digits as it needs.
    #[serde(borrow)]
    time: std::borrow::Cow<'a, str>,
}

#[allow(clippy::ptr_arg, reason = "serde hands over the field itself")]
fn is_none(attrs: &Cow<'_, Attributes>) -> bool {
    attrs.is_empty()
}

impl Entry {
    /// Parses a line of a file; `None` for one that was cut off by a crash.
    fn parse(line: &[u8]) -> Option<Entry> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        Some(Entry {
            log: line.log.into_owned(),
            stream: Stream::from_name(line.stream)?,
            time: line.time.parse().ok()?,
            attrs: line.attrs.into_owned(),
        })
    }
}

/// `PATH` for 0, else `PATH.1`, `PATH.2` …, the older the higher.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The name of a file that is packed.
fn packed(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}

/// Removes the log with all its rotated files.
///
/// # Errors
/// [`Error::Write`](crate::Error::Write); files that are gone already do
/// not count.
pub fn remove(path: &Path) -> Result<(), crate::Error> {
    for number in 0.. {
        if !remove_numbered(path, number)? && number > 0 {
            break;
        }
    }
    Ok(())
}

/// Removes one of the files, packed or not; whether there was any.
fn remove_numbered(path: &Path, number: u32) -> Result<bool, crate::Error> {
    let mut any = false;
    for file in [numbered(path, number), packed(&numbered(path, number))] {
        match std::fs::remove_file(&file) {
            Ok(()) => any = true,
            Err(it) if it.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => {
                return Err(crate::Error::write("remove", &file)(cause));
            }
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests;
