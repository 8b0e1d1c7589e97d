//! The finished engine.

pub mod api;
pub mod engine;
pub mod network;
pub mod shim;
