//! The new process, from its first breath to the command.
//!
//! What is special about this file is what it must not do. It runs in a
//! copy of a process that may have had many threads, of which only one was
//! copied; a lock that one of the others held is held for ever. malloc takes
//! locks, and so do `println!`, `std::env` and `panic!`. All that happens
//! here is system calls on what [`Plan`] has laid out, fixed-size values on
//! the stack, and `_exit`.
//!
//! The free functions below are the steps, in the order of the tables in
//! `lib.rs`. Most hand on to the file that knows about the matter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior,
    set_parent_process_death_signal, umask,
};
use rustix::thread::{
    Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::clone::{Side, clone3, leave, reset_signals};
use crate::init;
use crate::plan::Plan;
use crate::stdio::{self, Stdio};
use crate::steps::Id;
use crate::wire::{Call, Clock, During, Fault, Go, Wire};

/// What a step of the child works on.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    pub(crate) plan: &'a mut Plan,
    wire: Wire,
    clock: Clock,
    /// The container's root directory, once there is one.
    root: Option<OwnedFd>,
    stdio: Stdio<'a>,
    /// The master side of the terminal, for the parent.
    terminal: Option<OwnedFd>,
}

/// A step of the child.
pub(crate) type StepFn = fn(&mut Child<'_>) -> Result<(), Fault>;

impl<'a> Child<'a> {
    /// First thing in the new process. Handlers of the caller's program must
    /// not run in this copy of it. The umask goes, since it would silently
    /// take bits from every mode that is asked for below. And what the parent's other threads had
    /// open at the moment of the clone is closed: a pipe of another
    /// container must not stay open because of us.
    pub(crate) fn new(
        plan: &'a mut Plan,
        wire: Wire,
        clock: &Clock,
        stdio: Stdio<'a>,
    ) -> Self {
        let clock = *clock;
        reset_signals();
        if let Some(title) = plan.title {
            title.replace();
        }
        close_all_but(&plan.keep);
        umask(Mode::empty());
        Child { plan, wire, clock, root: None, stdio, terminal: None }
    }

    /// Takes the steps of a table in its order; the first that fails is
    /// reported and ends the process. Nothing has to be undone: mounts,
    /// devices and names were made in namespaces that end with their last
    /// process, which is this one.
    pub(crate) fn take(&mut self, steps: &[(Id, StepFn)]) {
        for (id, step) in steps {
            if let Err(fault) = step(self) {
                self.wire.failed(*id, fault);
                leave(125);
            }
            self.clock.mark(*id);
        }
    }

    /// Ready, the gate, and the command. Never returns.
    ///
    /// Between "ready" and "start" the caller may do what needs a PID or a
    /// network namespace but no running command: connect the network,
    /// write down the PID, attach the user's terminal. Nothing of the
    /// command's first output can get lost that way.
    pub(crate) fn become_command(mut self) -> ! {
        umask(Mode::from_raw_mode(0o022));
        // Whatever is open besides 0, 1 and 2 ends with the execve
        // (CVE-2024-21626 was one that did not).
        close_range(3, i32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if self.plan.die_with_parent {
            die_with_parent();
        }
        self.clock.mark(Id::Ready);
        let terminal = self.terminal.take();
        let terminal = terminal.as_ref().map(AsFd::as_fd);
        if self.wire.ready(&self.clock, terminal).is_err()
            || self.wire.wait_for(Go::Start).is_err()
        {
            // Nobody wants this container any more, or can be told so.
            leave(125);
        }
        let fault = self.plan.command.exec();
        self.wire.failed(Id::Exec, fault);
        leave(if fault.errno == Errno::NOENT { 127 } else { 126 });
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Fault> {
        let root = self.root.as_ref().map(AsFd::as_fd);
        root.ok_or(Errno::BADF).during(Call::Open, 0)
    }

    /// PID 1 takes the same rights as the command, then only waits.
    fn stay_as_reaper(&self, command: i32) -> ! {
        let rights = &self.plan.rights;
        let taken = rights
            .drop_bounding()
            .and_then(|()| rights.become_user())
            .and_then(|()| rights.keep_capabilities());
        if taken.is_err() {
            leave(125); // the command's own attempt says why
        }
        if self.plan.die_with_parent {
            die_with_parent();
        }
        // Its own streams too: they are the maker's, and who reads from them
        // to the end would wait for the end of the container.
        close_range(0, 2, 0);
        close_all_but(&[]);
        init::reap(command)
    }

    /// The stepping stone: enters what only counts for children, makes the
    /// real child as the *parent's* own, says its PID and is gone. Returns
    /// in the real child.
    pub(crate) fn stepping_stone(mut self) -> Self {
        if self.plan.world.is_none() {
            // From here on, those inside can see this process.
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        self.take(&[(Id::Join, |child| child.plan.joins.enter())]);
        // SAFETY: both sides go on with system calls only.
        match unsafe { clone3(self.plan.joins.new, None, true) } {
            Ok(Side::Child) => {
                // Both talk to the parent by one wire now. Without this the
                // child could be faster than the stone, and report before
                // the parent has heard of it.
                if self.wire.wait_for(Go::Known).is_err() {
                    leave(125);
                }
                self
            }
            Ok(Side::Parent(pid, _)) => {
                let _ = self.wire.made(pid);
                leave(0);
            }
            Err(errno) => {
                let fault = Fault { call: Call::Fork, item: 0, errno };
                self.wire.failed(Id::Clone, fault);
                leave(125);
            }
        }
    }
}

/// Enters namespaces that exist, before anything is mounted: a new `/sys`
/// shows the network namespace of whoever mounts it.
pub(crate) fn join(child: &mut Child<'_>) -> Result<(), Fault> {
    if child.plan.joins.by_stone {
        return Ok(()); // the stepping stone has done it
    }
    child.plan.joins.enter()
}

/// Becomes root of the new user namespace. Until its maps are written every
/// ID in it is "nobody" (65534), and a process with no ID of its own may do
/// little; after that, user 0 holds all capabilities *over what belongs to
/// this namespace* and none over the host.
pub(crate) fn identity(child: &mut Child<'_>) -> Result<(), Fault> {
    if child.plan.waits_for_maps {
        child.wire.wait_for(Go::Mapped).during(Call::Gate, 0)?;
    }
    if !child.plan.waits_for_maps && !child.plan.joins.enters_user {
        return Ok(());
    }
    if child.plan.rights.may_set_groups {
        set_thread_groups(&[]).during(Call::SetGroups, 0)?;
    }
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).during(Call::SetGid, 0)?;
    set_thread_res_uid(uid, uid, uid).during(Call::SetUid, 0)
}

/// Takes hold of the host's files: see [`World::take_sources`].
///
/// [`World::take_sources`]: crate::world::World::take_sources
pub(crate) fn sources(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.world.as_mut().map_or(Ok(()), |it| it.take_sources())
}

/// The root file system in its place, private. From here on every path is
/// looked up below this descriptor and never by name.
pub(crate) fn place_root(child: &mut Child<'_>) -> Result<(), Fault> {
    if let Some(world) = &child.plan.world {
        child.root = Some(world.place_root()?);
    }
    Ok(())
}

/// All mounts but the cgroup tree.
pub(crate) fn mounts(child: &mut Child<'_>) -> Result<(), Fault> {
    let root = child.root.as_ref().map(AsFd::as_fd);
    match (&mut child.plan.world, root) {
        (Some(world), Some(root)) => world.mount_all(root),
        _ => Ok(()),
    }
}

/// The nodes and links of `/dev`; after the mounts, of which one is `/dev`.
pub(crate) fn devices(child: &mut Child<'_>) -> Result<(), Fault> {
    match &child.plan.world {
        Some(world) => world.devices.make(child.root()?),
        None => Ok(()),
    }
}

/// Until the command is executed, this process is the engine's own
/// binary, and soon others in the container can see it. Not being
/// dumpable keeps them from looking into it by `/proc/PID` (proc(5)).
/// It comes only now because the parent needed `/proc/PID` itchild.
pub(crate) fn cgroup_view(child: &mut Child<'_>) -> Result<(), Fault> {
    if child.plan.waits_for_cgroup {
        child.wire.wait_for(Go::Limited).during(Call::Gate, 0)?;
    }
    // Fails for no reason that matters on a kernel that has it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    match &child.plan.world {
        Some(world) => world.view_cgroup(child.root()?),
        None => Ok(()),
    }
}

/// The moment at which `/` means the container's root.
pub(crate) fn pivot(child: &mut Child<'_>) -> Result<(), Fault> {
    match &child.plan.world {
        Some(world) => world.pivot(child.root()?),
        None => Ok(()),
    }
}

/// The host name, in a UTS namespace that is new: it needs CAP_SYS_ADMIN,
/// which the command will not have any more.
pub(crate) fn names(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.world.as_ref().map_or(Ok(()), |it| it.set_names())
}

/// Kernel settings; before the next step makes `/proc/sys` read-only.
pub(crate) fn sysctls(child: &mut Child<'_>) -> Result<(), Fault> {
    match &child.plan.world {
        Some(world) => world.set_sysctls(child.root()?),
        None => Ok(()),
    }
}

/// The last change to the mounts: what the command must not see or write.
pub(crate) fn mask(child: &mut Child<'_>) -> Result<(), Fault> {
    match &child.plan.world {
        Some(world) => world.mask(child.root()?),
        None => Ok(()),
    }
}

/// With `--init` the command becomes PID 2 and this one stays behind as
/// PID 1. The split comes before the session, so that the terminal and
/// its signals belong to the command.
pub(crate) fn session(child: &mut Child<'_>) -> Result<(), Fault> {
    if child.plan.init {
        // SAFETY: both sides go on with system calls only.
        match unsafe { clone3(0, None, false) } {
            Ok(Side::Child) => {}
            Ok(Side::Parent(pid, _)) => child.stay_as_reaper(pid),
            Err(errno) => return Err(errno).during(Call::Fork, 0),
        }
    }
    // Someone who starts us as a session leader has done it already.
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).during(Call::SetSid, 0),
    }
    let here = current_root()?;
    let uid = child.plan.rights.who.uid;
    match child.stdio {
        Stdio::Streams { stdin, stdout, stderr } => {
            stdio::streams([stdin, stdout, stderr], uid)
        }
        Stdio::Terminal(size) => {
            let console = child.plan.world.is_some();
            let console = console.then_some(&child.plan.console);
            let master = stdio::terminal(here.as_fd(), size, uid, console)?;
            child.terminal = Some(master);
            Ok(())
        }
    }
}

/// The working directory, made if it is missing, unless for an exec. While
/// still root: a directory that the user may not enter is found by the
/// command itself, as in Docker.
pub(crate) fn work_dir(child: &mut Child<'_>) -> Result<(), Fault> {
    let root = current_root()?;
    let cwd = &child.plan.cwd;
    let dir = match child.plan.world {
        Some(_) => cwd.dir(root.as_fd(), 0)?,
        None => cwd
            .open(root.as_fd(), ResolveFlags::empty())
            .during(Call::Chdir, 0)?,
    };
    rustix::process::fchdir(&dir).during(Call::Chdir, 0)
}

/// While still root, who may raise a soft limit up to any hard one.
pub(crate) fn rlimits(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.rights.limit()
}

/// Before the user changes: lowering the set needs CAP_SETPCAP.
pub(crate) fn bounding(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.rights.drop_bounding()
}

/// Before the user changes: a filter needs CAP_SYS_ADMIN, unless nobody
/// can gain rights any more.
pub(crate) fn filter_early(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.rights.filter_early()
}

/// From here on the kernel judges this process as the command's user.
pub(crate) fn user(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.rights.become_user()
}

/// What remains of root's power.
pub(crate) fn capabilities(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.rights.keep_capabilities()
}

/// The filter of a process with `no_new_privs`.
pub(crate) fn filter_late(child: &mut Child<'_>) -> Result<(), Fault> {
    child.plan.rights.filter_late()
}

/// A change of user takes this setting away, so it comes after that. A
/// parent that is dead already shows as a closed wire at the gate.
fn die_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// The root directory of this process, as a place.
fn current_root() -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, c"/", flags, Mode::empty()).during(Call::Open, 0)
}

/// Closes every file descriptor from 3 up that is not in the sorted list.
fn close_all_but(keep: &[i32]) {
    let mut first = 3;
    for &fd in keep {
        if fd > first {
            close_range(first, fd - 1, 0);
        }
        first = first.max(fd + 1);
    }
    close_range(first, i32::MAX, 0);
}

/// close_range(2), Linux 5.9.
fn close_range(first: i32, last: i32, flags: u32) {
    // SAFETY: in this process nothing that owns one of these descriptors is
    // used again; the values of the parent live on in the parent.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, last, flags);
    }
}
