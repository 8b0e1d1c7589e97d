//! `skiff shim --spec FILE`: from the spec to a container at the gate.
//!
//! The order matters. The socket is bound before the daemon hears "ready",
//! so that it never has to try twice. The cgroup is made before the process,
//! which must not run an instant without its limits. The record is on disk
//! before "ready", so that a daemon that dies at that moment finds the
//! container by it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use cgroups::Hierarchy;
use cli_api::state;
use namespaces::{CgroupEntry, Created, Timing};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, fork, setsid};

use super::events::{Events, Signals};
use super::protocol::{Answer, Refusal};
use super::spec::{CgroupPlace, RECORD, Record, SOCKET, Spec, World, read};
use super::streams::Streams;
use super::{Cgroup, proc};

/// How the words of a refusal begin that Docker would have from its runtime.
pub(crate) const NOT_STARTED: &str = "unable to start container process";

/// The engine's place among the host's cgroups, unless a spec says else.
const DEFAULT_PARENT: &str = "skiff";

/// Entry point, before any thread or runtime exists.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let path = match (args.next(), args.next(), args.next()) {
        (Some(flag), Some(path), None) if flag == "--spec" => path,
        _ => {
            eprintln!("usage: skiff shim --spec FILE (the daemon does this)");
            return ExitCode::from(2);
        }
    };
    match shim(&PathBuf::from(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            eprintln!("{}", refusal.message);
            say(&Answer::Refused(refusal));
            ExitCode::FAILURE
        }
    }
}

fn shim(path: &Path) -> Result<(), Refusal> {
    let began = Instant::now();
    let mut spec: Spec = read(path).map_err(refuse)?;
    // Nobody would read its output or its exit code after us.
    spec.process.die_with_parent = true;
    go_to_background().map_err(|errno| {
        refuse(format!("the shim cannot leave the daemon: fork: {errno}"))
    })?;
    let signals = catch_signals()?;
    let listener = listen(&spec.dir)?;
    let made = make(&spec, began).inspect_err(|_| forget_socket(&spec.dir))?;
    let shim = Shim::new(spec, made)?;
    say(&Answer::Ok);
    Events::new(shim, listener, signals).run();
    Ok(())
}

/// A container with all that the shim holds of it.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) spec: Spec,
    pub(super) created: Created,
    pub(super) streams: Streams,
    pub(super) record: Record,
    /// The cgroup, if this shim made it.
    pub(super) cgroup: Option<cgroups::Cgroup>,
}

/// What [`make`] has made.
struct Made {
    created: Created,
    streams: Streams,
    cgroup: Option<cgroups::Cgroup>,
    place: Option<CgroupPlace>,
    steps: Vec<Timing>,
}

impl Shim {
    fn new(spec: Spec, made: Made) -> Result<Shim, Refusal> {
        let pid = made.created.pid();
        let mut steps = made.steps;
        let offset = steps.last().map_or(0, |step| step.at_us);
        steps.extend(made.created.timings().into_iter().map(|mut step| {
            step.at_us += offset;
            step
        }));
        let record = Record {
            shim_pid: std::process::id().cast_signed(),
            pid,
            start_ticks: proc::start_ticks(pid).unwrap_or(0),
            started: false,
            started_at: String::new(),
            cgroup: made.place,
            steps,
        };
        let shim = Shim {
            spec,
            created: made.created,
            streams: made.streams,
            record,
            cgroup: made.cgroup,
        };
        shim.save_record().map_err(refuse)?;
        Ok(shim)
    }

    pub(super) fn save_record(&self) -> Result<(), cli_api::Error> {
        state::write_json(&self.spec.dir.join(RECORD), &self.record)
    }
}

/// Makes the process, in a new world or in an existing one.
fn make(spec: &Spec, began: Instant) -> Result<Made, Refusal> {
    let mut steps = vec![timing("shim", began, 0)];
    let streams = Streams::open(spec)?;
    match &spec.world {
        World::New { sandbox, cgroup } => {
            let group = cgroup.as_ref().map(make_cgroup).transpose()?;
            let before = steps[0].at_us;
            steps.push(timing("make cgroup", began, before));
            let created = with_entry(group.as_ref(), |entry| {
                let stdio = streams.childs()?;
                namespaces::create(sandbox, &spec.process, stdio, entry)
                    .map_err(|error| failed(&error))
            });
            let created = created.inspect_err(|_| {
                // Whoever was in it has been killed and collected.
                let _ = group.as_ref().map(cgroups::Cgroup::remove);
            })?;
            let place = cgroup.as_ref().map(|it| CgroupPlace {
                parent: it.parent.clone(),
                name: it.name.clone(),
            });
            Ok(finish(created, streams, group, place, steps))
        }
        World::Join { container } => {
            let record = Record::load(container).map_err(refuse)?;
            if proc::start_ticks(record.pid) != Some(record.start_ticks) {
                return Err(refuse("the container is not running"));
            }
            let place = record.cgroup;
            let group = place.as_ref().map(open_cgroup).transpose()?;
            let created = with_entry(group.as_ref(), |entry| {
                let stdio = streams.childs()?;
                namespaces::join(record.pid, &spec.process, stdio, entry)
                    .map_err(|error| failed(&error))
            })?;
            Ok(finish(created, streams, None, place, steps))
        }
    }
}

fn finish(
    mut created: Created,
    mut streams: Streams,
    cgroup: Option<cgroups::Cgroup>,
    place: Option<CgroupPlace>,
    steps: Vec<Timing>,
) -> Made {
    streams.take_over(created.terminal());
    Made { created, streams, cgroup, place, steps }
}

/// Runs `make` with the way into `group` open.
fn with_entry<T>(
    group: Option<&cgroups::Cgroup>,
    make: impl FnOnce(CgroupEntry<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    use std::os::fd::AsFd;
    let entry = match group {
        Some(group) => group.entry().map_err(refuse)?,
        None => cgroups::Entry::default(),
    };
    make(CgroupEntry {
        into: entry.clone_into.as_ref().map(AsFd::as_fd),
        procs: &entry.procs,
    })
}

/// The container's own cgroup, with its limits.
fn make_cgroup(wanted: &Cgroup) -> Result<cgroups::Cgroup, Refusal> {
    let hierarchy = Hierarchy::detect().map_err(refuse)?;
    let path = cgroup_path(wanted.parent.as_deref(), &wanted.name);
    cgroups::Cgroup::create(&hierarchy, &path, &wanted.limits).map_err(refuse)
}

/// The cgroup of the container that an exec joins: its processes count
/// against the same limits.
fn open_cgroup(place: &CgroupPlace) -> Result<cgroups::Cgroup, Refusal> {
    let hierarchy = Hierarchy::detect().map_err(refuse)?;
    let path = cgroup_path(place.parent.as_deref(), &place.name);
    cgroups::Cgroup::open(&hierarchy, &path).map_err(refuse)
}

/// The cgroup's path as [`cgroups::Cgroup::open`] takes it.
pub fn cgroup_path(parent: Option<&str>, name: &str) -> String {
    let parent = parent.unwrap_or(DEFAULT_PARENT).trim_matches('/');
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

fn timing(step: &str, began: Instant, before: u64) -> Timing {
    let passed = began.elapsed().as_micros();
    let at_us = u64::try_from(passed).unwrap_or(u64::MAX);
    Timing { step: step.to_owned(), at_us, took_us: at_us - before }
}

/// A second fork, and a session of its own: the daemon has no child to
/// collect, and what is sent to the daemon's terminal or process group does
/// not arrive here. Orphans of the container come to us.
fn go_to_background() -> nix::Result<()> {
    // SAFETY: this process has one thread, so the child may do anything.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: _exit runs nothing that the child would run again.
        unsafe { libc::_exit(0) }
    }
    setsid()?;
    nix::sys::prctl::set_child_subreaper(true)
}

/// All signals wait in a queue that can be polled, but for those that mean
/// a bug of ours.
fn catch_signals() -> Result<Signals, Refusal> {
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGCHLD);
    wanted.add(Signal::SIGTERM);
    let mut blocked = wanted;
    blocked.add(Signal::SIGHUP);
    blocked.add(Signal::SIGINT);
    blocked.add(Signal::SIGQUIT);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)
        .and_then(|()| SignalFd::with_flags(&wanted, flags))
        .map_err(|errno| refuse(format!("signalfd: {errno}")))
}

/// Binds `shim.sock`, by way of the directory's fd: see [`super::client`].
fn listen(dir: &Path) -> Result<UnixListener, Refusal> {
    let path = dir.join(SOCKET);
    let failed = |error: std::io::Error| {
        refuse(format!("cannot listen on {}: {error}", path.display()))
    };
    forget_socket(dir);
    let handle = File::open(dir).map_err(failed)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", handle.as_raw_fd());
    let listener = UnixListener::bind(short).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

pub(super) fn forget_socket(dir: &Path) {
    // That there is none is the normal case.
    let _ = std::fs::remove_file(dir.join(SOCKET));
}

/// The one answer on standard output, which the daemon reads to its end.
fn say(answer: &Answer) {
    if let Ok(text) = serde_json::to_vec(answer) {
        // A daemon that has died meanwhile will ask again by the socket.
        let _ = std::io::stdout().write_all(&text);
        let _ = std::io::stdout().flush();
    }
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

pub(super) fn refuse(error: impl ToString) -> Refusal {
    Refusal { message: error.to_string(), exit_code: 125 }
}

/// A container that could not be made, in Docker's opening words. What
/// Docker finds out before it has a runtime start anything, it says plainly.
pub(super) fn failed(error: &namespaces::Error) -> Refusal {
    use namespaces::Error as Why;
    let message = match error {
        Why::NoSuchUser(_) | Why::NoSuchGroup(_) | Why::WorkDirIsFile(_) => {
            error.to_string()
        }
        _ => format!("{NOT_STARTED}: {error}"),
    };
    Refusal { message, exit_code: error.exit_code() }
}
