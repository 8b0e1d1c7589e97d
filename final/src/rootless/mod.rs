//! The engine of an ordinary user.
//!
//! Mounts, bridges, firewalls: all of it takes rights that an ordinary user
//! does not have on this machine. But he may have a user namespace of his
//! own (user_namespaces(7)), and in there he is root, over a mount and a
//! network namespace that belong to it. So there is no second engine for
//! ordinary users. The daemon moves into such namespaces, and does there
//! what it does as root.
//!
//! ```text
//! skiff daemon ──starts──▶ skiff keeper: unshare(user, mnt, net)
//!      │ newuidmap, newgidmap: /etc/subuid      │
//!      │ pasta or slirp4netns: a way out        │
//!      └── setns(user, mnt, net) ───────────────┘
//! ```
//! The [`keeper`] stays when the daemon is killed; the next one moves in
//! again and finds mounts, bridges and ports as they were.
//!
//! What an ordinary user's engine cannot have is said where it is missed:
//! limits without a delegated cgroup, ports below 1024, devices.

mod client;
pub mod keeper;
mod namespaces;
mod outside;
mod start;
mod uplink;
mod wire;

pub use client::Keeper;
pub use start::{Rootless, enter, private_directory};
