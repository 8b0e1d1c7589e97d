//! Learning that the kernel killed a process for memory.
//!
//! The dead process cannot tell: its parent only sees SIGKILL, exit code
//! 137, as after `kill -9`. The group's own counter is the evidence.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::controllers::{Dir, memory};
use crate::{Cgroup, Error, Kind, file};

/// A file descriptor that becomes readable when the group may have lost a
/// process. It can be polled beside others ([`AsFd`], `POLLIN`).
///
/// Being readable is a hint: it also happens when the group is removed. The
/// count ([`Cgroup::oom_kills`]) decides.
#[derive(Debug)]
pub struct OomWatch {
    /// v1: an eventfd tied to `memory.oom_control`; the second file must
    /// stay open, or the kernel forgets the tie. v2: an inotify watch on
    /// `memory.events`, which the kernel marks as modified at each event.
    fd: OwnedFd,
    _control: Option<File>,
}

impl OomWatch {
    /// Waits for the next hint; `false` when `timeout` ms have passed (−1
    /// waits for ever).
    ///
    /// # Errors
    /// Whatever poll(2) or read(2) says, `EINTR` left out.
    pub fn wait(&self, timeout: i32) -> Result<bool, Errno> {
        let timeout =
            PollTimeout::try_from(timeout).map_err(|_| Errno::EINVAL)?;
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
                Ok(0) => return Ok(false),
                Ok(_) => break,
            }
        }
        self.clear()?;
        Ok(true)
    }

    /// Takes the hint out of the descriptor, so that it can come again.
    ///
    /// # Errors
    /// Whatever read(2) says; that there is no hint is no error.
    pub fn clear(&self) -> Result<(), Errno> {
        // An eventfd gives 8 bytes, inotify one record for each event.
        let mut buffer = [0u8; 4096];
        match nix::unistd::read(&self.fd, &mut buffer) {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// How many processes of the group the OOM killer took so far.
    ///
    /// # Errors
    /// [`Error::Read`]; without the memory controller it is zero.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        match self.dir(Kind::Memory) {
            Some(dir) => memory::oom_kills(dir),
            None => Ok(0),
        }
    }

    /// Watches for out-of-memory events; `None` without the controller.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Write`] if the watch cannot be set up.
    pub fn oom_events(&self) -> Result<Option<OomWatch>, Error> {
        match self.dir(Kind::Memory) {
            Some(Dir::V1(dir)) => watch_v1(dir).map(Some),
            Some(Dir::V2(dir)) => watch_v2(dir).map(Some),
            None => Ok(None),
        }
    }
}

/// `cgroup-v1/memory.rst`, section 10: "<event_fd> <fd of memory.oom_control>"
/// written to `cgroup.event_control` ties the two together.
fn watch_v1(dir: &Path) -> Result<OomWatch, Error> {
    let path = dir.join("memory.oom_control");
    let failed = |source| Error::Read { file: path.clone(), source };
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let event = EventFd::from_value_and_flags(0, flags).map_err(failed)?;
    let control = File::open(&path).map_err(|e| Error::read(&path, &e))?;
    let tie = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(&dir.join("cgroup.event_control"), tie)?;
    Ok(OomWatch { fd: event.into(), _control: Some(control) })
}

fn watch_v2(dir: &Path) -> Result<OomWatch, Error> {
    let path = dir.join("memory.events");
    let failed = |error: rustix::io::Errno| Error::Read {
        file: path.clone(),
        source: Errno::from_raw(error.raw_os_error()),
    };
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(failed)?;
    inotify::add_watch(&fd, &path, WatchFlags::MODIFY).map_err(failed)?;
    Ok(OomWatch { fd, _control: None })
}
