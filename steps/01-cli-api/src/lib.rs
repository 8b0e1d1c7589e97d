//! Step 1: a command becomes a REST call, and a daemon does the work
#![deny(missing_docs)]

pub mod client;
pub mod daemon;
mod error;
pub mod frames;
pub mod id;
pub mod jsonlog;
pub mod server;
pub mod state;
pub mod testing;

pub use error::Error;
