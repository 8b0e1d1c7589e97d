//! The shim's life: one thread that waits for whatever comes next.
//!
//! No threads and no async runtime, because this process is there once per
//! container and must be small, and because it forked: what poll(2) says is
//! ready is done at once and never blocks. Everything that could make it
//! wait is made non-blocking, and everything that must be kept is bounded:
//! an attacher may be a megabyte behind and then holds up the process, as a
//! full pipe does; the process's input may be 64 KiB.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use cli_api::jsonlog;
use cli_api::state;
use jiff::Timestamp;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::event::{PollFd, PollFlags, poll};

use super::log::Log;
use super::peer::{Peer, Role};
use super::protocol::{Answer, Request, Status};
use super::run::{self, Shim, failed, refuse};
use super::spec::{EXIT, Exit};
use super::streams::Got;

/// The signals that this process takes, as something to poll.
pub(super) type Signals = SignalFd;

/// How often 64 KiB are read from what a process has left in a pipe: as much
/// as a pipe may hold, see `pipe-max-size` in pipe(7).
const REST: usize = 16;

/// Everything that may happen to a shim. It is over when the process has
/// ended, the last word is on disk, and all attachers have taken what they
/// were sent or are gone.
#[derive(Debug)]
pub(super) struct Events {
    shim: Shim,
    /// Closed with the last word; an attacher may take what it was sent when
    /// it likes.
    listener: Option<UnixListener>,
    signals: Signals,
    peers: Vec<Peer>,
    log: Log,
    /// How the process ended, once it has.
    ended: Option<namespaces::Exit>,
    /// The last word, once it is on disk.
    exit: Option<Exit>,
    /// Why the command could not be executed.
    error: String,
}

/// Who became ready.
#[derive(Debug, Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Process,
    Output(usize),
    Input,
    Peer(usize),
}

impl Events {
    pub(super) fn new(
        shim: Shim,
        listener: UnixListener,
        signals: Signals,
    ) -> Events {
        Events {
            log: Log::open(&shim.spec.log),
            shim,
            listener: Some(listener),
            signals,
            peers: Vec::new(),
            ended: None,
            exit: None,
            error: String::new(),
        }
    }

    // ANCHOR: events
    /// Until the process has ended, all is written down and all is told.
    pub(super) fn run(mut self) {
        while !self.is_over() {
            for (source, flags) in self.wait() {
                self.handle(source, flags);
            }
            self.finish_if_ended();
            for peer in &mut self.peers {
                peer.flush();
            }
            self.forget_gone();
        }
    }
    // ANCHOR_END: events

    fn is_over(&self) -> bool {
        self.exit.is_some() && !self.peers.iter().any(Peer::has_output)
    }

    /// Sleeps until something happens.
    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let sources = self.sources();
        let mut fds: Vec<_> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        if poll(&mut fds, None).is_err() {
            return Vec::new(); // EINTR
        }
        let happened = sources.iter().zip(&fds);
        happened
            .map(|((source, ..), fd)| (*source, fd.revents()))
            .filter(|(_, flags)| !flags.is_empty())
            .collect()
    }

    /// Who may become ready now, and what for.
    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let (read, write) = (PollFlags::IN, PollFlags::OUT);
        let mut list = vec![(Source::Signals, self.signals.as_fd(), read)];
        if let Some(listener) = &self.listener {
            list.push((Source::Listener, listener.as_fd(), read));
        }
        if self.ended.is_none() {
            list.push((Source::Process, self.shim.created.pidfd(), read));
        }
        let streams = &self.shim.streams;
        // The process waits in its write(2) while somebody is too slow, as
        // Docker's does: `docker run … | less` may be read tomorrow. After
        // the last word nothing counts any more: what it left behind in the
        // background may write for ever.
        if self.exit.is_none() && !self.peers.iter().any(Peer::is_full) {
            for (index, output) in streams.outputs.iter().enumerate() {
                if let Some(fd) = &output.fd {
                    list.push((Source::Output(index), fd.as_fd(), read));
                }
            }
        }
        if let Some(input) = streams.wants_write() {
            list.push((Source::Input, input, write));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let mut flags = PollFlags::empty();
            let reads = !peer.gives_input() || streams.takes_input();
            flags.set(read, reads && !peer.half_closed);
            flags.set(write, peer.has_output());
            list.push((Source::Peer(index), peer.fd(), flags));
        }
        list
    }

    fn handle(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.take_signals(),
            Source::Process => self.collect(),
            Source::Output(index) => {
                self.take_output(index);
            }
            Source::Input => self.shim.streams.write_input(),
            Source::Peer(index) => self.hear(index, flags),
        }
    }

    /// A new connection. One that was given up meanwhile is no error.
    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        if let Ok((socket, _)) = listener.accept() {
            self.peers.extend(Peer::new(socket));
        }
    }

    /// SIGTERM comes when the machine goes down: the container is asked
    /// first. SIGCHLD also means orphans of the container, in case it has
    /// no PID namespace whose PID 1 would get them.
    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo == libc::SIGTERM.cast_unsigned() {
                let _ = self.shim.created.kill(libc::SIGTERM);
            }
        }
        // Looked at first, since the process's own end is for collect().
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let peek = look | WaitPidFlag::WNOWAIT;
        while let Ok(status) = waitid(Id::All, peek) {
            let Some(pid) = status.pid() else { return };
            let own = pid.as_raw() == self.shim.created.pid();
            if own && self.ended.is_none() {
                self.collect();
            } else if waitid(Id::Pid(pid), look).is_err() {
                return;
            }
        }
    }

    /// Takes the process off the kernel's list and remembers how it ended.
    fn collect(&mut self) {
        if self.ended.is_none() {
            let lost = namespaces::Exit { code: 255, signal: None };
            self.ended = Some(self.shim.created.wait().unwrap_or(lost));
        }
    }

    /// Passes one piece of output on; says whether there was any. First to
    /// the log, then to the attachers: what a user has seen is on disk.
    fn take_output(&mut self, index: usize) -> bool {
        let mut buffer = [0; 64 << 10];
        let stream = self.shim.streams.outputs[index].stream;
        match self.shim.streams.read(index, &mut buffer) {
            Got::Nothing => false,
            Got::End => {
                self.log.finish(stream);
                false
            }
            Got::Bytes(count) => {
                let bytes = &buffer[..count];
                self.log.push(stream, bytes);
                let raw = self.shim.spec.terminal.is_some();
                for peer in &mut self.peers {
                    peer.show(stream, bytes, raw);
                }
                true
            }
        }
    }

    /// A connection has something to say, or is gone.
    fn hear(&mut self, index: usize, flags: PollFlags) {
        let mut buffer = [0; 16 << 10];
        let once = self.shim.spec.stdin_once;
        let peer = &mut self.peers[index];
        if flags.intersects(PollFlags::IN) {
            let count = peer.read(&mut buffer);
            if peer.gives_input() {
                self.shim.streams.push_input(&buffer[..count]);
                self.shim.streams.write_input();
            }
        } else if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            peer.gone = true;
        }
        let ends = peer.half_closed || peer.gone;
        if ends && once && peer.gives_input() {
            self.shim.streams.end_input();
        }
        if peer.half_closed && peer.role == Role::Asks {
            peer.gone = true;
        }
        while let Some(question) = self.peers[index].question() {
            self.reply(index, &question);
        }
    }

    /// Answers one question. `wait` gets its answer later.
    fn reply(&mut self, index: usize, question: &[u8]) {
        let answer = match serde_json::from_slice(question) {
            Err(error) => Answer::Refused(refuse(error)),
            Ok(Request::Attach(streams)) => {
                if self.exit.is_some() {
                    Answer::Refused(refuse("the container has ended"))
                } else {
                    let peer = &mut self.peers[index];
                    peer.role = Role::Attached(streams);
                    let early = peer.take_inbox();
                    if streams.stdin {
                        self.shim.streams.push_input(&early);
                    }
                    Answer::Ok
                }
            }
            Ok(Request::Wait) => match &self.exit {
                Some(exit) => Answer::Exited(exit.clone()),
                None => {
                    self.peers[index].role = Role::Waits;
                    return;
                }
            },
            Ok(request) => self.obey(request),
        };
        self.peers[index].answer(&answer);
    }

    fn obey(&mut self, request: Request) -> Answer {
        let done = match request {
            Request::Start => return self.start(),
            Request::Kill { signal } => {
                self.shim.created.kill(signal).map_err(refuse)
            }
            Request::Resize(size) => self.shim.streams.resize(size),
            Request::CloseStdin => {
                self.shim.streams.end_input();
                Ok(())
            }
            _ => {
                return Answer::Status(Box::new(Status {
                    record: self.shim.record.clone(),
                    exit: self.exit.clone(),
                }));
            }
        };
        done.map_or_else(Answer::Refused, |()| Answer::Ok)
    }

    /// Opens the gate.
    fn start(&mut self) -> Answer {
        if self.shim.record.started || self.ended.is_some() {
            return Answer::Ok;
        }
        let record = &self.shim.record;
        let offset = record.steps.last().map_or(0, |step| step.at_us);
        if let Err(error) = self.shim.created.start() {
            let refusal = failed(&error);
            self.error = refusal.message.clone();
            self.collect();
            return Answer::Refused(refusal);
        }
        let record = &mut self.shim.record;
        record.started = true;
        record.started_at = jsonlog::nanos(Timestamp::now());
        if let Some(mut exec) = self.shim.created.timings().pop() {
            // How long the gate was shut is nobody's cost.
            exec.at_us = offset;
            exec.took_us = 0;
            record.steps.push(exec);
        }
        match self.shim.save_record() {
            Ok(()) => Answer::Ok,
            Err(error) => {
                eprintln!("{error}");
                Answer::Ok // it runs; a daemon finds it by its PID
            }
        }
    }

    /// The process has ended: takes its last output, ends what it left
    /// behind, writes the last word and tells who waits.
    fn finish_if_ended(&mut self) {
        let Some(ended) = self.ended else { return };
        if self.exit.is_some() {
            return;
        }
        self.end_the_rest();
        self.drain();
        self.log.settle();
        let exit = Exit {
            code: ended.code,
            signal: ended.signal,
            oom_killed: self.count_oom_kills() > 0,
            finished_at: jsonlog::nanos(Timestamp::now()),
            error: std::mem::take(&mut self.error),
        };
        self.remove_cgroup();
        // Before anybody can know of the end: the next shim of this container
        // is a matter of milliseconds, and makes a socket in the same place.
        run::forget_socket(&self.shim.spec.dir);
        // On disk before anybody is told: who has heard of the end may look
        // for its record at once.
        let path = self.shim.spec.dir.join(EXIT);
        if let Err(error) = state::write_json(&path, &exit) {
            eprintln!("{error}");
        }
        self.listener = None;
        for peer in &mut self.peers {
            if peer.role == Role::Waits {
                peer.answer(&Answer::Exited(exit.clone()));
            }
        }
        self.exit = Some(exit);
    }

    /// With a PID namespace the kernel has done it: nobody outlives PID 1.
    /// Without one (`--pid host`), children of the command may.
    fn end_the_rest(&self) {
        if let Some(cgroup) = &self.shim.cgroup
            && let Err(error) = cgroup.kill()
        {
            eprintln!("{error}");
        }
    }

    /// Takes what is left in the pipes, which is little enough to be kept
    /// for attachers that are behind. It does not wait for their end: a
    /// process that an exec has left in the background may hold them, and
    /// write into them, for ever.
    fn drain(&mut self) {
        for index in 0..self.shim.streams.outputs.len() {
            let mut pieces = 0;
            while pieces < REST && self.take_output(index) {
                pieces += 1;
            }
            let stream = self.shim.streams.outputs[index].stream;
            self.log.finish(stream);
        }
    }

    fn count_oom_kills(&self) -> u64 {
        let cgroup = self.shim.cgroup.as_ref();
        cgroup.and_then(|it| it.oom_kills().ok()).unwrap_or(0)
    }

    fn remove_cgroup(&mut self) {
        if let Some(cgroup) = self.shim.cgroup.take()
            && let Err(error) = cgroup.remove()
        {
            eprintln!("{error}");
        }
    }

    fn forget_gone(&mut self) {
        self.peers.retain(|peer| !peer.gone);
    }
}
