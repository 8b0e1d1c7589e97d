//! A connection to `shim.sock`: a question, or an attacher.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use cli_api::frames::{Stream, header};

use super::protocol::{Answer, Attach};

/// What an attacher may be behind before the output of the process waits
/// for it.
const OUTPUT_LIMIT: usize = 1 << 20;

/// The longest question.
const QUESTION_LIMIT: usize = 4096;

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    socket: UnixStream,
    inbox: Vec<u8>,
    outbox: VecDeque<u8>,
    /// The other side sends no more.
    pub(super) half_closed: bool,
    pub(super) gone: bool,
    pub(super) role: Role,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It asks.
    Asks,
    /// It waits for the end.
    Waits,
    /// It has streams.
    Attached(Attach),
}

impl Peer {
    pub(super) fn new(socket: UnixStream) -> std::io::Result<Peer> {
        socket.set_nonblocking(true)?;
        Ok(Peer {
            socket,
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            half_closed: false,
            gone: false,
            role: Role::Asks,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether it has not taken yet what it was sent.
    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether the process has to wait for it.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.len() >= OUTPUT_LIMIT
    }

    /// Whether it attached to standard input.
    pub(super) fn gives_input(&self) -> bool {
        matches!(self.role, Role::Attached(it) if it.stdin)
    }

    /// Reads what it sent; what belongs to the process is returned.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self.socket.read(buffer) {
            Ok(0) => {
                self.half_closed = true;
                0
            }
            Ok(count) if self.role == Role::Asks => {
                self.inbox.extend_from_slice(&buffer[..count]);
                self.gone |= self.inbox.len() > QUESTION_LIMIT;
                0
            }
            Ok(count) => count,
            Err(error) => {
                let later = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
                self.gone |= !later.contains(&error.kind());
                0
            }
        }
    }

    /// The next whole question.
    pub(super) fn question(&mut self) -> Option<Vec<u8>> {
        let end = self.inbox.iter().position(|byte| *byte == b'\n')?;
        let rest = self.inbox.split_off(end + 1);
        Some(std::mem::replace(&mut self.inbox, rest))
    }

    /// What was sent behind the question that made it an attacher.
    pub(super) fn take_inbox(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.inbox)
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            self.send(&line);
        }
    }

    /// Output of the process, if it wants this stream.
    pub(super) fn show(&mut self, stream: Stream, bytes: &[u8], raw: bool) {
        let wanted = match self.role {
            Role::Attached(it) if stream == Stream::Stderr => it.stderr,
            Role::Attached(it) => it.stdout,
            _ => false,
        };
        if !wanted {
            return;
        }
        if !raw {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.send(&header(stream, length));
        }
        self.send(bytes);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.outbox.extend(bytes);
    }

    /// Writes what it takes now.
    pub(super) fn flush(&mut self) {
        while !self.gone {
            let (part, _) = self.outbox.as_slices();
            if part.is_empty() {
                return;
            }
            match self.socket.write(part) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(it) if it.kind() == ErrorKind::WouldBlock => return,
                Err(it) if it.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }
}
