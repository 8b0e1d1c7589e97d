//! Which namespaces are made, and which existing ones are entered.
//!
//! Two containers that share a network namespace reach each other at
//! 127.0.0.1 (that is a Kubernetes pod); `--pid container:web` sees the
//! processes of `web`. For the kernel both are one setns(2) on a file like
//! `/proc/1234/ns/net`. A namespace that nobody is in any more lives on as
//! long as such a file is open or bind-mounted, which is how a network can
//! be made ready before there is any process to use it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::Error;
use crate::mountfd::last_errno;
use crate::sandbox::{Kind, Namespace, Namespaces};
use crate::wire::{Call, During, Fault};

/// The choice for all kinds, laid out for system calls.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    /// `CLONE_NEW*` for clone3. The cgroup namespace comes later.
    pub(crate) new: u64,
    /// Open namespaces with the kinds that setns(2) shall find there.
    enter: Vec<(OwnedFd, i32)>,
    pub(crate) names: Vec<String>,
    /// Whether an entered namespace only counts for children, so that a
    /// process in between has to enter it: the stepping stone.
    pub(crate) by_stone: bool,
    /// A user namespace is entered: become its root there.
    pub(crate) enters_user: bool,
}

impl Joins {
    /// Opens what is entered, adds up what is made.
    pub(crate) fn prepare(namespaces: &Namespaces) -> Result<Joins, Error> {
        let mut joins = Joins::default();
        for (kind, choice) in namespaces.all() {
            match choice {
                Namespace::New if kind == Kind::Cgroup => {}
                Namespace::New => joins.new |= kind.flag(),
                Namespace::Host if kind == Kind::Mnt => {
                    return Err(Error::Invalid(
                        "a container cannot share the host's mounts: its \
                         root would replace the host's"
                            .to_owned(),
                    ));
                }
                Namespace::Host => {}
                Namespace::Join(path) => joins.add(kind, path)?,
            }
        }
        let makes_user = joins.new & Kind::User.flag() != 0;
        // Once in a new user namespace, the right to enter others is gone.
        joins.by_stone |= makes_user && !joins.enter.is_empty();
        Ok(joins)
    }

    fn add(&mut self, kind: Kind, path: &Path) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            let path = path.to_owned();
            Error::File { doing: "open the namespace", path, errno }
        })?;
        self.by_stone |= matches!(kind, Kind::Pid | Kind::User | Kind::Time);
        self.enters_user |= kind == Kind::User;
        self.enter.push((fd, kind.flag() as i32));
        self.names.push(format!("{} {}", kind.name(), path.display()));
        Ok(())
    }

    /// All namespaces of the process `pid` that are not the caller's own,
    /// entered at once by way of its pidfd (Linux 5.8). One call, and not
    /// one per kind: half-way in, a process would have the new root and the
    /// old rights, and between two lookups of `/proc/PID` the PID could be
    /// given to another process.
    pub(crate) fn of_process(pid: i32, pidfd: OwnedFd) -> Joins {
        let mut flags = 0;
        let mut kinds = Vec::new();
        for (kind, _) in Namespaces::default().all() {
            let inode = |who: &str| {
                let path = format!("/proc/{who}/ns/{}", kind.name());
                std::fs::metadata(path).ok().map(|meta| {
                    use std::os::unix::fs::MetadataExt;
                    (meta.dev(), meta.ino())
                })
            };
            // Entering one's own user namespace is an error (setns(2)), so
            // what is shared already must be left out.
            if inode(&pid.to_string()) != inode("self") {
                flags |= kind.flag() as i32;
                kinds.push(kind);
            }
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        Joins {
            new: 0,
            enters_user: kinds.contains(&Kind::User),
            names: vec![format!("{} of PID {pid}", names.join(", "))],
            enter: if flags == 0 { vec![] } else { vec![(pidfd, flags)] },
            by_stone: true,
        }
    }

    /// The open namespaces, by number.
    pub(crate) fn fds(&self) -> impl Iterator<Item = i32> {
        self.enter.iter().map(|(fd, _)| fd.as_raw_fd())
    }

    /// Child: enters them, the user namespace first.
    pub(crate) fn enter(&self) -> Result<(), Fault> {
        for (item, (fd, flags)) in self.enter.iter().enumerate() {
            setns(fd, *flags).during(Call::SetNs, item)?;
        }
        Ok(())
    }
}

/// setns(2), also with several kinds and a pidfd.
fn setns(fd: &OwnedFd, flags: i32) -> Result<(), Errno> {
    // SAFETY: setns takes no pointers; the calling process is the child of
    // a clone with nothing that relies on its old namespaces.
    let result = unsafe { libc::setns(fd.as_fd().as_raw_fd(), flags) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
