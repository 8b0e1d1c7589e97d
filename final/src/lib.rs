//! The finished engine.

pub mod api;
pub mod cli;
pub mod engine;
pub mod explain;
pub mod network;
pub mod rootless;
pub mod shim;
