//! The process's standard input and output, as the shim holds them.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cli_api::frames::Stream;
use namespaces::{Stdio, WindowSize};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use super::protocol::Refusal;
use super::run::refuse;
use super::spec::Spec;

/// So much input is kept until the process reads it; attachers wait then.
const INPUT_LIMIT: usize = 64 << 10;

/// Both sides of the process's streams.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) outputs: Vec<Output>,
    input: Option<OwnedFd>,
    pending: VecDeque<u8>,
    /// No more will be added to `pending`.
    ending: bool,
    terminal: Option<WindowSize>,
    /// The process's ends, closed once it has them.
    childs: Option<[OwnedFd; 3]>,
}

/// One stream that the process writes.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stream: Stream,
    /// None after its end.
    pub(super) fd: Option<OwnedFd>,
}

impl Streams {
    /// Makes the pipes that `spec` asks for.
    pub(super) fn open(spec: &Spec) -> Result<Streams, Refusal> {
        let mut streams = Streams {
            outputs: Vec::new(),
            input: None,
            pending: VecDeque::new(),
            ending: false,
            terminal: spec.terminal,
            childs: None,
        };
        if spec.terminal.is_some() {
            return Ok(streams); // it is made inside the container
        }
        let pipe = || {
            pipe_with(PipeFlags::CLOEXEC)
                .map_err(|errno| refuse(format!("pipe: {errno}")))
        };
        let (stdout, to_stdout) = pipe()?;
        let (stderr, to_stderr) = pipe()?;
        let stdin = if spec.open_stdin {
            let (stdin, to_stdin) = pipe()?;
            streams.input = Some(nonblocking(to_stdin)?);
            stdin
        } else {
            File::open("/dev/null").map_err(refuse)?.into()
        };
        streams.add(Stream::Stdout, stdout)?;
        streams.add(Stream::Stderr, stderr)?;
        streams.childs = Some([stdin, to_stdout, to_stderr]);
        Ok(streams)
    }

    fn add(&mut self, stream: Stream, fd: OwnedFd) -> Result<(), Refusal> {
        let fd = Some(nonblocking(fd)?);
        self.outputs.push(Output { stream, fd });
        Ok(())
    }

    /// What the new process gets.
    pub(super) fn childs(&self) -> Result<Stdio<'_>, Refusal> {
        match (&self.childs, self.terminal) {
            (_, Some(size)) => Ok(Stdio::Terminal(size)),
            (Some([stdin, stdout, stderr]), None) => Ok(Stdio::Streams {
                stdin: stdin.as_fd(),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
            }),
            (None, None) => Err(refuse("the streams are taken already")),
        }
    }

    /// The process exists: lets go of its ends, so that their end can be
    /// seen, and takes its terminal.
    pub(super) fn take_over(&mut self, master: Option<OwnedFd>) {
        self.childs = None;
        let Some(master) = master else { return };
        let _ = ioctl_fionbio(&master, true);
        self.input = master.try_clone().ok();
        let fd = Some(master);
        self.outputs.push(Output { stream: Stream::Stdout, fd });
    }

    /// Reads what is there; nothing is left to read when `closed`.
    pub(super) fn read(&mut self, index: usize, buffer: &mut [u8]) -> Got {
        let Some(Output { fd: Some(fd), .. }) = self.outputs.get(index) else {
            return Got::End;
        };
        match rustix::io::read(fd, buffer) {
            Err(Errno::INTR | Errno::AGAIN) => Got::Nothing,
            // EIO is how a terminal says that its other side is closed.
            Ok(0) | Err(_) => {
                self.outputs[index].fd = None;
                Got::End
            }
            Ok(count) => Got::Bytes(count),
        }
    }

    /// Whether attachers may send input now.
    pub(super) fn takes_input(&self) -> bool {
        self.pending.len() < INPUT_LIMIT
    }

    /// Adds input. Without an open standard input it goes nowhere, as what
    /// is typed at a program that does not read.
    pub(super) fn push_input(&mut self, bytes: &[u8]) {
        if self.input.is_some() && !self.ending {
            self.pending.extend(bytes);
        }
    }

    /// No more input. A terminal stays open: its end of input is a
    /// character (ctrl-D), not a closed descriptor.
    pub(super) fn end_input(&mut self) {
        if self.terminal.is_none() {
            self.ending = true;
            self.write_input();
        }
    }

    /// Where input can be written, while there is some.
    pub(super) fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        let input = self.input.as_ref()?;
        (!self.pending.is_empty()).then(|| input.as_fd())
    }

    /// Writes what the process takes now.
    pub(super) fn write_input(&mut self) {
        while let Some(input) = &self.input {
            let (part, _) = self.pending.as_slices();
            if part.is_empty() {
                break;
            }
            match rustix::io::write(input, part) {
                Ok(count) => {
                    self.pending.drain(..count);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // It reads no more.
                Err(_) => {
                    self.input = None;
                    self.pending.clear();
                }
            }
        }
        if self.ending && self.pending.is_empty() {
            self.input = None;
        }
    }

    /// Tells the terminal its size, and the kernel tells the program.
    pub(super) fn resize(&self, size: WindowSize) -> Result<(), Refusal> {
        let terminal = self.terminal.and(self.input.as_ref());
        let Some(terminal) = terminal else {
            return Err(refuse("the container has no terminal"));
        };
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(terminal, size)
            .map_err(|errno| refuse(format!("cannot resize: {errno}")))
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(usize),
    Nothing,
    End,
}

fn nonblocking(fd: OwnedFd) -> Result<OwnedFd, Refusal> {
    ioctl_fionbio(&fd, true)
        .map_err(|errno| refuse(format!("cannot set O_NONBLOCK: {errno}")))?;
    Ok(fd)
}
