//! Building images from a Dockerfile.

pub mod dockerfile;
pub mod expand;
mod glob;
pub mod ignore;

pub use dockerfile::Dockerfile;
