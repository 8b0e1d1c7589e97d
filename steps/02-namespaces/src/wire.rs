//! What parent and child say to each other while the container is made.
//!
//! The two have nothing in common after the clone but a pair of sockets, and
//! the child may not allocate. So the messages are a few bytes on the stack,
//! and everything that needs words (which mount, which device, what to do
//! about it) is looked up by the parent in its own copy of the plan.
//!
//! ```text
//! parent ◀── 1: PID of the real child, from a stepping stone
//!        ── k: I know it ───────────────────────▶ child
//!        ── m: the ID maps are written ─────────▶
//!        ── l: you are in your cgroup ──────────▶
//!        ◀── 2: ready, timings, perhaps a terminal
//!        ── s: start ───────────────────────────▶
//!        ◀── end of file: the execve closed it, the command runs
//!        ◀── 3: step, call, object, errno        (instead of the last two)
//! ```
//!
//! `SOCK_SEQPACKET` keeps message boundaries, so nothing has to be framed,
//! and both ends are close-on-exec: a successful execve says so by itself,
//! which no message from the child could.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::time::{ClockId, clock_gettime};

use crate::steps::{COUNT, Id};

/// What the parent lets the child do. Each is one byte; the numbers are
/// letters so that `strace -f` shows them readably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Go {
    /// The parent knows the PID that a stepping stone told it.
    Known = b'k',
    /// The user ID maps are written.
    Mapped = b'm',
    /// The child is in its cgroup.
    Limited = b'l',
    /// The gate is open: execute the command.
    Start = b's',
}

/// The timed record of a start: twenty-some numbers that fit a stack.
///
/// When each step ended, in microseconds after the clock was started. The
/// child has a copy of the parent's, so both write into one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: u64,
    pub(crate) ends: [u32; COUNT],
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { began: now(), ends: [0; COUNT] }
    }

    pub(crate) fn mark(&mut self, step: Id) {
        let passed = now().saturating_sub(self.began);
        self.ends[step as usize] = u32::try_from(passed).unwrap_or(u32::MAX);
    }
}

/// The monotonic clock in microseconds. The vDSO answers without a system
/// call, so that measuring costs less than what is measured.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000
        + time.tv_nsec.cast_unsigned() / 1_000
}

/// A failed call in the child, small enough to be sent: an errno alone says
/// too little, and a sentence cannot be built without allocating.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// Which of the step's objects: the third mount, the first device …
    pub(crate) item: u16,
    pub(crate) errno: Errno,
}

/// Declares [`Call`] with the words that errors use for it. One list, so
/// that a call cannot be without its words.
macro_rules! calls {
    ($($name:ident $words:literal;)*) => {
        /// What the child was doing, in the words of a system call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Call { $($name),* }

        impl Call {
            const ALL: &[(Call, &str)] = &[$((Call::$name, $words)),*];

            fn from_number(number: u8) -> Call {
                let known = Self::ALL.get(usize::from(number));
                known.map_or(Call::Unknown, |(call, _)| *call)
            }

            pub(crate) fn words(self) -> &'static str {
                Self::ALL[self as usize].1
            }
        }
    };
}

calls! {
    Unknown "system call";
    Open "openat2";
    Mkdir "mkdir";
    Create "create";
    Mknod "mknod";
    Symlink "symlink";
    Owner "chown";
    Mode "chmod";
    FsOpen "fsopen";
    Configure "fsconfig";
    FsMount "fsmount";
    Clone "open_tree";
    Attributes "mount_setattr";
    Attach "move_mount";
    Pivot "pivot_root";
    Unmount "umount";
    Chdir "chdir";
    SetNs "setns";
    Unshare "unshare";
    Fork "clone3";
    SetHostname "sethostname";
    SetDomainname "setdomainname";
    Write "write";
    SetSid "setsid";
    Terminal "open /dev/pts/ptmx";
    ControllingTerminal "ioctl TIOCSCTTY";
    Dup "dup2";
    SetRlimit "setrlimit";
    NoNewPrivs "prctl PR_SET_NO_NEW_PRIVS";
    DropBounding "prctl PR_CAPBSET_DROP";
    SetGroups "setgroups";
    SetGid "setresgid";
    SetUid "setresuid";
    KeepCaps "prctl PR_SET_KEEPCAPS";
    SetCaps "capset";
    Ambient "prctl PR_CAP_AMBIENT_RAISE";
    Seccomp "seccomp";
    Gate "wait for the parent";
    Exec "execve";
    Interpreter "execve, interpreter";
}

/// Says which call and which object an errno belongs to.
pub(crate) trait During<T> {
    fn during(self, call: Call, item: usize) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, call: Call, item: usize) -> Result<T, Fault> {
        let item = u16::try_from(item).unwrap_or(u16::MAX);
        self.map_err(|errno| Fault { call, item, errno })
    }
}

/// What the child tells the parent.
#[derive(Debug)]
pub(crate) enum News {
    /// A stepping stone made the real child, which has this PID.
    Made(i32),
    /// Everything is set up; perhaps with the terminal's master side.
    Ready(Clock, Option<OwnedFd>),
    /// A step failed.
    Failed(Id, Fault),
    /// The other side is gone: executed, or dead.
    Closed,
}

/// One end of the wire.
#[derive(Debug)]
pub(crate) struct Wire(OwnedFd);

const MADE: u8 = 1;
const READY: u8 = 2;
const FAILED: u8 = 3;
/// Kind, then the largest content: the clock.
const LONGEST: usize = 1 + 4 * COUNT;

impl Wire {
    /// The two ends; each closes at an execve. The child closes its copy of
    /// the parent's end first thing: a process that holds both ends never
    /// sees the end of the other side.
    pub(crate) fn pair() -> Result<(Wire, Wire), Errno> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Wire(one), Wire(other)))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Parent: lets the child go on.
    pub(crate) fn tell(&self, go: Go) -> Result<(), Errno> {
        rustix::net::send(&self.0, &[go as u8], SendFlags::NOSIGNAL).map(|_| ())
    }

    /// Child: waits for a certain permission. A parent that is gone means
    /// that nobody wants this container any more.
    pub(crate) fn wait_for(&self, go: Go) -> Result<(), Errno> {
        let mut byte = [0_u8];
        loop {
            match rustix::io::read(&self.0, &mut byte) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) if byte[0] == go as u8 => return Ok(()),
                Ok(_) => return Err(Errno::PROTO),
            }
        }
    }

    /// Stepping stone: names the process it made, as the stone's own PID
    /// namespace counts, which is the parent's: entering another one only
    /// changes where one's children are born.
    pub(crate) fn made(&self, pid: i32) -> Result<(), Errno> {
        let mut message = [MADE; 5];
        message[1..].copy_from_slice(&pid.to_ne_bytes());
        self.send(&message, None)
    }

    /// Child: ready, with all timings and perhaps a terminal. A file
    /// descriptor travels as control data (`SCM_RIGHTS`, unix(7)): the
    /// kernel puts a copy into the parent's table.
    pub(crate) fn ready(
        &self,
        clock: &Clock,
        terminal: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        let mut message = [READY; LONGEST];
        let slots = message[1..].chunks_exact_mut(4);
        for (slot, end) in slots.zip(&clock.ends) {
            slot.copy_from_slice(&end.to_ne_bytes());
        }
        self.send(&message, terminal)
    }

    /// Child: a step failed. There is nobody left to tell if this fails.
    pub(crate) fn failed(&self, step: Id, fault: Fault) {
        let [item_low, item_high] = fault.item.to_ne_bytes();
        let mut message = [FAILED; 9];
        message[1..5].copy_from_slice(&[
            step as u8,
            fault.call as u8,
            item_low,
            item_high,
        ]);
        message[5..].copy_from_slice(&fault.errno.raw_os_error().to_ne_bytes());
        let _ = self.send(&message, None);
    }

    fn send(
        &self,
        message: &[u8],
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let parts = [IoSlice::new(message)];
        sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL).map(|_| ())
    }

    /// Parent: waits for the next message; `clock` has the parent's marks.
    pub(crate) fn hear(&self, clock: &Clock) -> Result<News, Errno> {
        let mut bytes = [0_u8; LONGEST];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&self.0, &mut parts, &mut control, flags) {
                Err(Errno::INTR) => {}
                // A child that died with unread messages resets the wire;
                // that is an end like any other.
                Err(Errno::CONNRESET) => break 0,
                Err(errno) => return Err(errno),
                Ok(message) => break message.bytes,
            }
        };
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok(decode(&bytes[..got], fd, clock))
    }
}

fn decode(bytes: &[u8], fd: Option<OwnedFd>, clock: &Clock) -> News {
    let number = |at: usize| {
        let slice = bytes.get(at..at + 4);
        let four = slice.and_then(|slice| slice.try_into().ok());
        i32::from_ne_bytes(four.unwrap_or_default())
    };
    match bytes {
        [MADE, ..] => News::Made(number(1)),
        [READY, ..] => {
            let mut merged = *clock;
            for (slot, end) in merged.ends.iter_mut().enumerate() {
                // Each side marks its own steps and leaves zero elsewhere.
                let childs = number(1 + 4 * slot).cast_unsigned();
                *end = childs.max(*end);
            }
            News::Ready(merged, fd)
        }
        [FAILED, step, call, low, high, ..] => {
            let step = Id::from_number(*step).unwrap_or(Id::Prepare);
            let fault = Fault {
                call: Call::from_number(*call),
                item: u16::from_ne_bytes([*low, *high]),
                errno: Errno::from_raw_os_error(number(5)),
            };
            News::Failed(step, fault)
        }
        _ => News::Closed,
    }
}
