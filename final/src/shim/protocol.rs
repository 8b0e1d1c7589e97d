//! What the daemon and a shim say to each other.
//!
//! A connection to `shim.sock` carries one request: a line of JSON, answered
//! by a line of JSON. After `attach` was answered the connection turns into
//! a pipe: down go the process's streams, with Docker's 8-byte frame headers
//! unless it has a terminal, exactly as a client of the REST API wants them;
//! up goes its standard input, and closing that half closes the input.

use namespaces::WindowSize;
use serde::{Deserialize, Serialize};

use super::spec::{Exit, Record};

/// What the daemon may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Execute the command; answered when it runs or why it cannot.
    Start,
    /// How is it?
    Status,
    /// Send a signal to the first process.
    Kill {
        /// By number.
        signal: i32,
    },
    /// The terminal's window has changed.
    Resize(WindowSize),
    /// No more input will come.
    CloseStdin,
    /// Connect to the streams.
    Attach(Attach),
    /// Answer when the process has ended.
    Wait,
}

/// Which streams an attacher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the streams")]
pub struct Attach {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// What a shim answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Ok,
    /// Not done.
    Refused(Refusal),
    /// To `status`.
    Status(Box<Status>),
    /// To `wait`.
    Exited(Exit),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Docker's sentence where there is one.
    pub message: String,
    /// What `docker run` exits with: 127, 126 or 125.
    pub exit_code: i32,
}

/// A shim's view of its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// As `shim.json`.
    pub record: Record,
    /// As `exit.json`, once there is one.
    pub exit: Option<Exit>,
}
