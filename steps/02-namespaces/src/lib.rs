//! Step 2: a process in its own world, made of namespaces and pivot_root
#![deny(missing_docs)]

pub mod capabilities;
pub mod defaults;
mod process;
mod sandbox;
pub mod seccomp;

pub use capabilities::CapSet;
pub use process::{Cgroup, Process, Rlimit, Stdio, User, WindowSize};
pub use sandbox::{
    Device, IdMap, Kind, Mount, MountOptions, Namespace, Namespaces,
    Propagation, Sandbox, Source,
};
