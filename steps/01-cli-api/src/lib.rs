//! Step 1: a command becomes a REST call, and a daemon does the work
#![deny(missing_docs)]

pub mod client;
mod error;
pub mod frames;
pub mod id;
pub mod server;
pub mod state;

pub use error::Error;
