//! The finished engine.

pub mod api;
pub mod buildkit;
pub mod cli;
pub mod engine;
pub mod explain;
pub mod network;
pub mod rootless;
pub mod shim;
