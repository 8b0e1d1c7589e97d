//! The road from a command to a process in its own world, step by step.
//!
//! The table is the only place that knows the order: it drives the
//! execution, names the step in every error, labels the timed record, and
//! prints as the book's overview.

use serde::{Deserialize, Serialize};

/// One step: what it is called, why it is there, where to read on.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Short name in records and errors.
    pub name: &'static str,
    /// Why a container needs it, in a sentence.
    pub reason: &'static str,
    /// The man page that describes the system call behind it.
    pub man: &'static str,
    /// The chapter of the book that builds it.
    pub chapter: &'static str,
}

/// How long one step of one start took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// [`Step::name`].
    pub step: String,
    /// When it ended, in microseconds after the start began.
    pub at_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// Declares [`Id`] and [`STEPS`] together, so that they cannot differ. The
/// number of a step is what travels from child to parent.
macro_rules! steps {
    ($($id:ident $name:literal $man:literal $chapter:literal
        $reason:literal;)*) => {
        /// A step, as an index into [`STEPS`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(clippy::enum_variant_names, reason = "IdMaps is no Id")]
        pub(crate) enum Id { $($id),* }

        impl Id {
            /// The step with this number, if there is one.
            pub(crate) fn from_number(number: u8) -> Option<Id> {
                const ALL: &[Id] = &[$(Id::$id),*];
                ALL.get(usize::from(number)).copied()
            }
        }

        /// Every step in the order in which it is taken.
        pub const STEPS: &[Step] = &[$(Step {
            name: $name, reason: $reason, man: $man, chapter: $chapter,
        }),*];
    };
}

steps! {
    Prepare "prepare" "fork(2)" "namespaces"
        "after the clone only system calls are safe: look up users, \
         compile the filter, lay out every path now";
    Clone "clone" "clone3(2)" "namespaces"
        "one call makes the process and its new namespaces";
    IdMaps "id maps" "user_namespaces(7)" "namespaces"
        "say who root inside is outside";
    Cgroup "cgroup" "cgroups(7)" "cgroups"
        "limits hold from the first instruction on";
    OomScore "oom score" "proc_pid_oom_score_adj(5)" "cgroups"
        "tell the kernel whom to kill first when memory runs out";
    Join "join" "setns(2)" "namespaces"
        "enter namespaces that exist already, such as a prepared network";
    Identity "identity" "user_namespaces(7)" "namespaces"
        "become root of the new user namespace";
    Sources "sources" "open_tree(2)" "namespaces"
        "take hold of the host's files that the container shall see, while \
         they can still be seen";
    Root "root" "mount_setattr(2)" "namespaces"
        "cut the mount table loose from the host and put the root in place";
    Mounts "mounts" "mount(2)" "namespaces"
        "/proc of the new processes, /dev, /sys, volumes";
    Devices "devices" "mknod(2)" "namespaces"
        "a /dev with a handful of harmless nodes";
    CgroupView "cgroup view" "cgroup_namespaces(7)" "cgroups"
        "the container's cgroup looks like the root of the tree";
    Pivot "pivot" "pivot_root(2)" "namespaces"
        "swap / for the container's root and let go of the host's";
    Names "names" "uts_namespaces(7)" "namespaces"
        "the container's own host name";
    Sysctls "sysctls" "proc_sys(5)" "namespaces"
        "kernel settings that belong to the new namespaces";
    Mask "mask" "mount_setattr(2)" "namespaces"
        "cover the kernel files that show or change the host";
    Session "session" "setsid(2)" "namespaces"
        "a session of its own, with a terminal if asked";
    WorkDir "working directory" "openat2(2)" "namespaces"
        "start in the right directory, and never outside the root";
    Rlimits "rlimits" "setrlimit(2)" "namespaces"
        "limits per process";
    Bounding "bounding set" "capabilities(7)" "namespaces"
        "no program may ever regain these capabilities";
    FilterEarly "seccomp" "seccomp(2)" "namespaces"
        "filter system calls, while the right to do so is still held";
    User "user" "credentials(7)" "namespaces"
        "become the user of the command";
    Capabilities "capabilities" "capabilities(7)" "namespaces"
        "keep the few capabilities that are granted";
    FilterLate "seccomp, last" "seccomp(2)" "namespaces"
        "with no_new_privs the filter can wait until nothing is left to do";
    Ready "ready" "pipe(7)" "namespaces"
        "say that all went well and wait for the start";
    Exec "exec" "execve(2)" "namespaces"
        "become the command";
}

/// How many steps there are; the child's clock has a slot for each.
pub(crate) const COUNT: usize = STEPS.len();
