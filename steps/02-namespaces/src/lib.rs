//! Step 2: a process in its own world, made of namespaces and pivot_root
#![deny(missing_docs)]

pub mod capabilities;
pub mod defaults;
mod error;
mod mountfd;
mod process;
mod sandbox;
pub mod seccomp;
mod steps;

pub use capabilities::CapSet;
pub use error::Error;
pub use mountfd::read_only_view;
pub use process::{CgroupEntry, Process, Rlimit, Stdio, User, WindowSize};
pub use sandbox::{
    Device, IdMap, Kind, Mount, MountOptions, Namespace, Namespaces,
    Propagation, Sandbox, Source,
};
pub use steps::{STEPS, Step, Timing};
