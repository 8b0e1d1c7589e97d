//! Network namespaces that are there before the container is.
//!
//! A namespace lives as long as something refers to it. Here this is first
//! an open file, then a bind mount at `<run dir>/netns/<container>`, which
//! also survives the daemon; the shim joins it by that path (setns(2)).
//!
//! Making one takes the kernel a millisecond or more, so a few are kept in
//! stock, with the loopback already up.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe,
};

use super::Error;
use super::error::errno_of;
use super::route::Route;

const OWN: &str = "/proc/thread-self/ns/net";
/// How many are kept ready.
const STOCK: usize = 6;
/// Making a namespace takes the kernel's lock on links (rtnl) for long; the
/// start that has just taken one needs that lock for its cable. So the
/// stock is filled up in the quiet after a start.
const QUIET: Duration = Duration::from_millis(50);

/// A network namespace nobody lives in yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) file: OwnedFd,
    /// An rtnetlink socket inside it, so that configuring the namespace
    /// needs no thread that enters it.
    pub(super) route: Route,
}

/// The stock of fresh namespaces and the place where used ones are pinned.
#[derive(Debug)]
pub(super) struct Nursery {
    dir: PathBuf,
    stock: Arc<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    state: Mutex<State>,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Fresh>,
    last_taken: Option<Instant>,
    closed: bool,
}

impl Nursery {
    /// Pins namespaces below `dir`, which is created.
    pub(super) fn open(dir: &Path) -> Result<Nursery, Error> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        Ok(Nursery { dir: dir.to_owned(), stock: Arc::default() })
    }

    /// Starts the thread that fills the stock. Until then, and without it,
    /// each namespace is made on demand.
    pub(super) fn fill(&self) {
        let stock = Arc::clone(&self.stock);
        // The thread ends up in the namespaces it makes, so it serves for
        // nothing else. If it cannot be had, namespaces are made on demand.
        let _ = std::thread::Builder::new()
            .name("skiff-netns".into())
            .spawn(move || stock.refill());
    }

    /// Where the namespace of `container` is pinned.
    pub(super) fn path(&self, container: &str) -> PathBuf {
        self.dir.join(container)
    }

    /// A fresh namespace, pinned for `container`.
    pub(super) fn take(
        &self,
        container: &str,
    ) -> Result<(PathBuf, Fresh), Error> {
        let fresh = match self.stock.take() {
            Some(fresh) => fresh,
            None => on_a_thread(make)?,
        };
        let path = self.path(container);
        self.release(container)?;
        File::create(&path).map_err(Error::io("create", &path))?;
        let source = format!("/proc/self/fd/{}", fresh.file.as_raw_fd());
        mount_bind(source, &path).map_err(|errno| {
            let _ = std::fs::remove_file(&path);
            Error::system("pin a network namespace at", &path)(errno)
        })?;
        Ok((path, fresh))
    }

    /// Unpins the namespace of `container`; none there is fine.
    pub(super) fn release(&self, container: &str) -> Result<(), Error> {
        let path = self.path(container);
        match unmount(&path, UnmountFlags::DETACH) {
            // EINVAL: a plain file, left by a crash or a reboot.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::system("unmount", &path)(errno)),
        }
        match std::fs::remove_file(&path) {
            Err(it) if it.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(it))
            }
            _ => Ok(()),
        }
    }

    /// Whose namespaces are pinned here, whatever made them.
    pub(super) fn pinned(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            return vec![];
        };
        entries
            .flatten()
            // Another engine's directory.
            .filter(|it| it.file_type().is_ok_and(|it| it.is_file()))
            .filter_map(|it| it.file_name().into_string().ok())
            .collect()
    }

    /// Whether the container's pin is a namespace and not a mere file.
    pub(super) fn is_alive(&self, container: &str) -> bool {
        const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;
        rustix::fs::statfs(self.path(container))
            .is_ok_and(|it| it.f_type == NSFS_MAGIC)
    }

    /// Runs `work` on a thread inside the namespace of `container`.
    pub(super) fn inside<T: Send>(
        &self,
        container: &str,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let path = self.path(container);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        inside(file.as_fd(), work)
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        let mut state = self.stock.lock();
        state.closed = true;
        state.ready.clear();
        self.stock.taken.notify_all();
    }
}

impl Stock {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(|it| it.into_inner())
    }

    fn take(&self) -> Option<Fresh> {
        let mut state = self.lock();
        state.last_taken = Some(Instant::now());
        self.taken.notify_one();
        state.ready.pop_front()
    }

    /// Makes namespaces until the stock is full, then waits for demand.
    fn refill(&self) {
        loop {
            let mut state = self.lock();
            while let Some(pause) = state.pause() {
                let waited = self.taken.wait_timeout(state, pause);
                state = waited.unwrap_or_else(|it| it.into_inner()).0;
            }
            if state.closed {
                return;
            }
            drop(state);
            // A failure is reported by whoever next makes one on demand.
            let Ok(fresh) = make() else { return };
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.ready.push_back(fresh);
        }
    }
}

impl State {
    /// How long there is nothing to make.
    fn pause(&self) -> Option<Duration> {
        const FOR_NOW: Duration = Duration::from_secs(3600);
        if self.closed {
            return None;
        }
        if self.ready.len() >= STOCK {
            return Some(FOR_NOW);
        }
        let since = self.last_taken?.elapsed();
        QUIET.checked_sub(since).filter(|it| !it.is_zero())
    }
}

/// Moves this thread into a new network namespace and prepares it.
fn make() -> Result<Fresh, Error> {
    // SAFETY: the thread is one of ours (the stock's or a short-lived one)
    // that uses no descriptors or directories that this could pull from
    // under it: a new network namespace changes neither.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(Error::system("make a network namespace for", OWN))?;
    let file = File::open(OWN).map_err(Error::io("open", OWN))?;
    let mut route = Route::open()?;
    route.up(1, "lo")?;
    // Interfaces that come later stay without IPv6 (no link-local address,
    // no router solicitations) unless their network has it; ::1 remains.
    sysctl("ipv6/conf/default/disable_ipv6", "1")?;
    // For [`Route::announce`].
    sysctl("ipv4/conf/default/arp_notify", "1")?;
    sysctl("ipv6/conf/default/ndisc_notify", "1")?;
    let_everybody_in()?;
    Ok(Fresh { file: file.into(), route })
}

/// As Docker has it: programs that are not root may listen on ports below
/// 1024, which are nobody's privilege in a network of one's own, and send
/// pings without CAP_NET_RAW (icmp(7)).
fn let_everybody_in() -> Result<(), Error> {
    sysctl("ipv4/ip_unprivileged_port_start", "0")?;
    match sysctl("ipv4/ping_group_range", "0 2147483647") {
        // Groups that an ordinary user's namespace does not have.
        Err(Error::System { errno: Errno::INVAL, .. }) => Ok(()),
        done => done,
    }
}

/// Runs `work` on a thread of its own inside a network namespace.
///
/// Entering changes the calling thread for good in ways that matter to a
/// thread pool: hence a new thread.
pub(super) fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    on_a_thread(move || enter(namespace).and_then(|()| work()))
}

/// Runs `there` inside a network namespace while `here` goes on outside.
pub(super) fn beside<T: Send, U>(
    namespace: BorrowedFd<'_>,
    there: impl FnOnce() -> Result<T, Error> + Send,
    here: impl FnOnce() -> Result<U, Error>,
) -> Result<(T, U), Error> {
    std::thread::scope(|scope| {
        let there = move || enter(namespace).and_then(|()| there());
        let thread = spawn(scope, there)?;
        let here = here();
        Ok((join(thread)?, here?))
    })
}

fn enter(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(namespace, kind)
        .map_err(Error::system("enter the network namespace", OWN))
}

fn on_a_thread<T: Send>(
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    std::thread::scope(|scope| join(spawn(scope, work)?))
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, Result<T, Error>>, Error> {
    std::thread::Builder::new()
        .name("skiff-netns-in".into())
        .spawn_scoped(scope, work)
        .map_err(Error::io("start a thread for", OWN))
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Error>>) -> Result<T, Error> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes `/proc/sys/net/<name>` of the calling thread's own namespace.
/// A missing file is fine: the kernel lacks what it would set (IPv6).
pub(super) fn sysctl(name: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys/net").join(name);
    match std::fs::write(&path, value) {
        Err(it) if errno_of(&it) != Errno::NOENT => {
            Err(Error::io("write", path)(it))
        }
        _ => Ok(()),
    }
}

/// Reads `/proc/sys/net/<name>` of the calling thread's own namespace.
pub(super) fn read_sysctl(name: &str) -> Option<String> {
    let path = Path::new("/proc/sys/net").join(name);
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}
